"""What every source of labelled pictures gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from data.labels import LabelMap

Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Sample:
    """One labelled picture.

    Attributes:
        name: Unique within its split; file names are made of it.
        image: RGB, shape (H, W, 3), uint8.
        label_map: Class indices, shape (H, W), uint8; 255 is ignored.
    """

    name: str
    image: NDArray[np.uint8]
    label_map: NDArray[np.uint8]


class Source(Protocol):
    """A labelled data set: names first, pixels on demand."""

    @property
    def label_map(self) -> LabelMap:
        """Names and colours of the classes."""
        ...

    def names(self, split: Split) -> list[str]:
        """Names of the samples of a split, in a fixed order; empty when there is no such split."""
        ...

    def load(self, split: Split, index: int) -> Sample:
        """Decode one sample.

        Raises:
            DataError: a file is missing, unreadable, of another size than its mask, or holds a label
                outside the label map; the message names the file and what to do.
        """
        ...
