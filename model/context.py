"""The context block: what the coarsest score head sees around each of its pixels."""

from __future__ import annotations

from torch import nn


class ContextBlock(nn.Sequential):
    """A 1x1 convolution, then a depthwise 7x7, each with batch normalisation and ReLU.

    The 7x7 stands where the FCN paper's classifier has its own 7x7 convolution to 4096 channels; one kernel a channel
    does it with a thousandth of the weights. No pooling over the whole picture: what a pixel gets must not depend on
    how large the picture is or into which tiles it was cut.

    Args:
        in_channels: Channels of the features.
        channels: Channels given out.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 7, padding=3, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
