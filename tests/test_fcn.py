"""FCN: sizes, strides, encoders, saving, and what training moves."""

from __future__ import annotations

import pytest
import torch
from segmentation_models_pytorch.base import SegmentationModel

from data.errors import ConfigError
from model.fcn import FCN


def small(**options) -> FCN:
    """A network on the smallest encoder, without weights."""
    settings = {"encoder_name": "mobilenet_v2", "encoder_weights": "none", "classes": 3, "head_channels": 8}
    return FCN(**{**settings, **options}).eval()


@pytest.fixture(scope="module")
def network() -> FCN:
    torch.manual_seed(0)
    return small()


@pytest.mark.parametrize("size", [(1, 1), (1, 33), (31, 2), (32, 32), (47, 65), (100, 37)])
def test_logits_have_the_size_of_the_picture(network, size):
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, *size, dtype=torch.uint8)).shape == (1, 3, *size)


def test_padding_leaves_the_pixels_of_a_fitting_picture_alone(network):
    picture = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    replicated = torch.cat([picture, picture[..., -1:].expand(-1, -1, -1, 32)], dim=-1)
    with torch.inference_mode():
        torch.testing.assert_close(network(replicated)[..., :40], network(replicated[..., :70])[..., :40])


def test_uint8_and_floating_pictures_give_the_same_logits(network):
    picture = torch.randint(0, 256, (2, 3, 32, 64), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(network(picture), network(picture.float()))


@pytest.mark.parametrize(("finest_stride", "heads"), [(32, 1), (16, 2), (8, 3), (4, 4)])
def test_finest_stride_decides_the_score_heads(finest_stride, heads):
    network = small(finest_stride=finest_stride)
    assert len(network.decoder.score_heads) == heads
    assert len(network.upsampler_modules()) == heads
    assert network.segmentation_head.scale_factor == finest_stride
    with torch.inference_mode():
        features = network.encoder(torch.zeros(1, 3, 64, 96))
        assert network.decoder(features).shape == (1, 3, 64 // finest_stride, 96 // finest_stride)


def test_the_context_block_stands_before_the_coarsest_head_and_sees_beyond_it():
    torch.manual_seed(0)
    network = small(context_channels=16)
    picture = torch.randint(0, 256, (1, 3, 256, 256)).float().requires_grad_()
    features = [torch.zeros(1), *network.encoder(picture.detach())[1:]]
    features[5] = features[5].detach().requires_grad_()
    network.decoder.context(features[5])[0, :, 4, 4].sum().backward()
    seen = features[5].grad.abs().sum(dim=(0, 1)) > 0
    assert seen[1:8, 1:8].all()
    assert not seen[0].any()
    assert network(picture).shape == (1, 3, 256, 256)


@pytest.mark.parametrize(
    "upsampler", ["nearest", "bicubic", "learned-dense", "learned-random", "pixel-shuffle", "dysample"]
)
def test_every_upsampler_fits_the_network(upsampler):
    with torch.inference_mode():
        assert small(upsampler=upsampler)(torch.zeros(1, 3, 40, 50)).shape == (1, 3, 40, 50)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "encoder_name",
    [
        "resnet18",
        "dpn68",
        "vgg11_bn",
        "se_resnet50",
        "densenet121",
        "inceptionv4",
        "efficientnet-b0",
        "xception",
        "timm-efficientnet-b0",
        "timm-tf_efficientnet_lite0",
        "timm-skresnet18",
        "mit_b0",
        "mobileone_s0",
        "tu-mobilenetv3_small_050",
    ],
)
def test_every_family_of_encoders_fits(encoder_name):
    network = FCN(encoder_name, "none", classes=2, finest_stride=4, head_channels=4).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 65, 40)).shape == (1, 2, 65, 40)


def test_learned_and_bilinear_networks_start_as_one_function():
    networks = []
    for upsampler in ("bilinear", "learned", "learned-dense"):
        torch.manual_seed(3)
        # Weights of a trained encoder: the features of a random one are next to nothing, and so would the test be.
        networks.append(FCN(classes=3, upsampler=upsampler).eval())
    picture = torch.randint(0, 256, (1, 3, 50, 70), dtype=torch.uint8)
    with torch.inference_mode():
        logits = [network(picture) for network in networks]
    assert logits[0].abs().max() > 1e-3
    torch.testing.assert_close(logits[1], logits[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits[2], logits[0], atol=1e-5, rtol=1e-5)


def test_it_is_one_of_smps_models_and_saves_as_they_do(network, tmp_path):
    assert isinstance(network, SegmentationModel)
    network.save_pretrained(tmp_path)
    again = FCN.from_pretrained(tmp_path).eval()
    picture = torch.randint(0, 256, (1, 3, 40, 40), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(again(picture), network(picture))
    assert again.config["finest_stride"] == 8


def test_freezing_the_encoder_works_as_in_smp():
    network = small()
    network.freeze_encoder()
    network.train()
    network(torch.zeros(2, 3, 64, 64)).sum().backward()
    assert all(parameter.grad is None for parameter in network.encoder.parameters())
    assert network.segmentation_head.weight.grad is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"finest_stride": 2}, "finest_stride is 2"),
        ({"classes": 0}, "classes is 0"),
        ({"upsampler": "magic"}, "no upsampler is named 'magic'"),
        ({"encoder_name": "resnet17"}, "knows no encoder 'resnet17'"),
    ],
)
def test_values_that_cannot_work_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        small(**options)
