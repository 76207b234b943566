"""FCN: score heads on an encoder's strides, fused stage by stage, upsampled to the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from segmentation_models_pytorch.base import SegmentationModel
from segmentation_models_pytorch.base import initialization as smp_initialization
from segmentation_models_pytorch.base.hub_mixin import supports_config_loading
from torch import nn
from torch.nn import functional

from data.errors import ConfigError
from model.context import ContextBlock
from model.encoders import make_encoder
from model.upsample import make_upsampler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.config import ModelConfig, UpsamplerName

COARSEST_STRIDE: Final = 32
FINEST_STRIDES: Final = (32, 16, 8, 4)


class ScoreHead(nn.Sequential):
    """Features to scores, one map a class.

    Linear (a 1x1 convolution, as the skip heads of the FCN paper) when ``hidden_channels`` is 0; else a 3x3
    convolution, batch normalisation, ReLU and dropout before it, as the paper's coarsest classifier in small.

    Args:
        in_channels: Channels of the features.
        num_classes: Channels of the scores.
        hidden_channels: Width of the hidden layer; 0 for a linear head.
        dropout: Share of hidden channels dropped in training.
    """

    def __init__(self, in_channels: int, num_classes: int, hidden_channels: int, dropout: float) -> None:
        layers: list[nn.Module] = []
        if hidden_channels:
            layers = [
                nn.Conv2d(in_channels, hidden_channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(hidden_channels),
                nn.ReLU(inplace=True),
                nn.Dropout2d(dropout),
            ]
        super().__init__(*layers, nn.Conv2d(hidden_channels or in_channels, num_classes, 1))

    def start(self, *, at_zero: bool) -> None:
        """Initialise; the scores of a head that starts at zero add nothing at first."""
        smp_initialization.initialize_decoder(self)
        weight = list(self.parameters())[-2]
        if at_zero:
            nn.init.zeros_(weight)
        else:
            nn.init.normal_(weight, std=0.01)


class FCNDecoder(nn.Module):
    """Score heads from stride 32 to the finest stride; each stage doubles the scores and adds the next head's.

    Args:
        encoder_channels: Channels of the encoder's features at strides 1, 2, 4, 8, 16, 32.
        num_classes: Number of score maps.
        finest_stride: 32, 16, 8 or 4: the stride of the finest head, so of FCN-32s, 16s, 8s, 4s.
        upsampler: Between the stages.
        head_channels: Hidden width of the score heads, 0 for linear ones.
        dropout: In the hidden layers.
        context_channels: Width of the context block before the coarsest head; 0 for none.
    """

    def __init__(
        self,
        encoder_channels: Sequence[int],
        num_classes: int,
        finest_stride: int,
        upsampler: UpsamplerName,
        head_channels: int,
        dropout: float,
        context_channels: int,
    ) -> None:
        super().__init__()
        # Feature i of an encoder has stride 2 ** i: 5 is stride 32.
        self.levels = list(range(5, finest_stride.bit_length() - 2, -1))
        channels = list(encoder_channels)
        self.context = ContextBlock(channels[5], context_channels) if context_channels else None
        if self.context is not None:
            channels[5] = context_channels
        heads = [ScoreHead(channels[n], num_classes, head_channels, dropout) for n in self.levels]
        for index, head in enumerate(heads):
            # Skip heads start at zero, as the paper's do: the network starts as its FCN-32s.
            head.start(at_zero=index > 0)
        self.score_heads = nn.ModuleList(heads)
        self.upsamplers = nn.ModuleList(make_upsampler(upsampler, num_classes, 2) for _ in self.levels[1:])

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Features of every stride to scores (N, C, H / finest, W / finest)."""
        coarsest = features[5] if self.context is None else self.context(features[5])
        scores: torch.Tensor = self.score_heads[0](coarsest)
        for level, head, upsampler in zip(self.levels[1:], list(self.score_heads)[1:], self.upsamplers, strict=True):
            scores = upsampler(scores) + head(features[level])
        return scores


class FCN(SegmentationModel):  # type: ignore[misc]  # smp ships no types
    """Fully convolutional network (Shelhamer, Long and Darrell, 2017) on any encoder of smp.

    Takes pictures on the 0 to 255 scale, of any size, and normalises them itself, so that training,
    evaluation, export and service cannot disagree about it. Sides are padded by replication to multiples
    of 32 and the result is cropped back. It loads, saves and pushes as smp's own models do
    (``save_pretrained``, ``from_pretrained``, ``push_to_hub``).

    Args:
        encoder_name: An encoder of segmentation-models-pytorch.
        encoder_weights: ``packaged``, ``imagenet``, ``none`` or a file: see ``make_encoder``.
        classes: Number of classes.
        finest_stride: 32, 16, 8 or 4: FCN-32s, FCN-16s, FCN-8s, FCN-4s.
        upsampler: See ``UpsamplerName``; used between the stages and for the last step to the picture.
        head_channels: Hidden width of the score heads; 0 for the paper's linear heads.
        dropout: In the hidden layers of the score heads.
        context_channels: Width of a context block before the coarsest score head; 0 for none.

    Raises:
        ConfigError: a value that is not as above, or an encoder without features at one of the strides.
    """

    requires_divisible_input_shape = False

    @supports_config_loading  # type: ignore[untyped-decorator]  # smp ships no types
    def __init__(
        self,
        encoder_name: str = "timm-tf_efficientnet_lite0",
        encoder_weights: str = "packaged",
        classes: int = 2,
        finest_stride: int = 8,
        upsampler: UpsamplerName = "learned",
        head_channels: int = 128,
        dropout: float = 0.1,
        context_channels: int = 0,
    ) -> None:
        super().__init__()
        if finest_stride not in FINEST_STRIDES:
            raise ConfigError(f"finest_stride is {finest_stride}: choose one of {FINEST_STRIDES}")
        if classes < 1:
            raise ConfigError(f"classes is {classes}: a label map has one at least")
        encoder = make_encoder(encoder_name, encoder_weights)
        body: Any = encoder.module  # smp ships no types
        self.encoder = body
        channels, strides = list(body.out_channels), body.output_stride
        if len(channels) != 6 or strides != COARSEST_STRIDE or not all(channels[finest_stride.bit_length() - 1 :]):
            raise ConfigError(
                f"encoder {encoder_name!r} gives features of {channels} channels down to stride {strides}; "
                f"an FCN-{finest_stride}s needs some at every stride from {finest_stride} to {COARSEST_STRIDE}"
            )
        # Score heads come first: for one seed they are the same whichever upsampler follows them.
        self.decoder = FCNDecoder(channels, classes, finest_stride, upsampler, head_channels, dropout, context_channels)
        self.segmentation_head = make_upsampler(upsampler, classes, finest_stride)
        self.classification_head = None
        self.name = f"fcn{finest_stride}s-{encoder_name}"
        self.register_buffer("mean", torch.tensor(encoder.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(encoder.std).view(1, 3, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Scores of every pixel.

        Args:
            image: RGB on the 0 to 255 scale, shape (N, 3, H, W), uint8 or floating.

        Returns:
            Logits, shape (N, C, H, W).
        """
        height, width = image.shape[-2:]
        below, right = -height % COARSEST_STRIDE, -width % COARSEST_STRIDE
        normalised = (image.to(self.mean.dtype) - self.mean) / self.std
        if below or right:
            normalised = functional.pad(normalised, (0, right, 0, below), mode="replicate")
        logits: torch.Tensor = self.segmentation_head(self.decoder(self.encoder(normalised)))
        return logits[..., :height, :width]

    def upsampler_modules(self) -> list[nn.Module]:
        """Every upsampler, from the coarsest to the last."""
        return [*self.decoder.upsamplers, self.segmentation_head]

    @classmethod
    def _from_pretrained(cls, **kwargs: object) -> FCN:
        # The saved weights replace the encoder's: do not ask a hub or a wheel for them first.
        kwargs["encoder_weights"] = "none"
        model: FCN = super()._from_pretrained(**kwargs)
        return model


def make_network(config: ModelConfig, num_classes: int) -> FCN:
    """The network that a configuration describes.

    Raises:
        ConfigError: the encoder or its weights are not to be had.
    """
    network: FCN = FCN(
        encoder_name=config.encoder,
        encoder_weights=config.encoder_weights,
        classes=num_classes,
        finest_stride=config.finest_stride,
        upsampler=config.upsampler,
        head_channels=config.head_channels,
        dropout=config.dropout,
        context_channels=config.context_channels,
    )
    return network
