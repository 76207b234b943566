"""What each mode does, and what it can and cannot show, in the words of the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class ModeText:
    """Of one mode.

    Attributes:
        name: As on the command line.
        does: What is trained.
        shows: What the numbers answer.
        hides: What they do not.
    """

    name: str
    does: str
    shows: str
    hides: str


MODES: Final[Mapping[str, ModeText]] = {
    "end-to-end": ModeText(
        name="end-to-end",
        does=(
            "Every arm is trained whole, from the same starting weights, on the same crops in the same order; the "
            "last checkpoint is scored unless told otherwise, so that the pictures that score do not choose it."
        ),
        shows=(
            "It shows what a user gets who picks one upsampler or the other and trains: encoder and score heads adapt "
            "to the upsampler."
        ),
        hides=(
            "It cannot tell what the upsampler does from what the rest of the network does in answer to it, and small "
            "effects drown in the chance of training: the interval over seeds says how deep."
        ),
    ),
    "upsampler-only": ModeText(
        name="upsampler-only",
        does=(
            "One network a seed and stride is trained with bilinear interpolation. The outputs of its score heads are "
            "stored, for augmented training crops and for the pictures that score, and then just the upsamplers are "
            "trained on them, encoder and heads held fixed."
        ),
        shows=(
            "It shows the effect of the upsampler alone on given score maps, in minutes; arms of a seed differ in "
            "nothing else, so small effects are seen."
        ),
        hides=(
            "It cannot show what encoder and score heads would have made of another upsampler: they were trained with "
            "bilinear interpolation in place, which favours it, and their scores on training pictures are surer than "
            "on new ones. Learned upsamplers are trained further where the bilinear arm is not, and can raise or "
            "lower the scores of a whole class: on a network that has not finished training part of a gain is this "
            "(see the kernels' gain), and not sharper upsampling. Stored scores have 16 bits."
        ),
    ),
}
