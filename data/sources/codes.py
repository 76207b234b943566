"""The values that a known data set's masks hold, turned into labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from data.errors import LabelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


def translate(mask: NDArray[np.uint8], codes: Mapping[int, int], path: Path, meaning: str) -> NDArray[np.uint8]:
    """Labels of a mask.

    Args:
        mask: As it stands in the file.
        codes: The label of each value that the data set has.
        path: For the message.
        meaning: What values the data set has, in words.

    Returns:
        Same shape.

    Raises:
        LabelError: another value, which a remapping could not explain.
    """
    table = np.zeros(256, dtype=np.uint8)
    counts = np.bincount(mask.ravel(), minlength=256)
    for value, label in codes.items():
        table[value] = label
        counts[value] = 0
    wrong = np.flatnonzero(counts)
    if wrong.size:
        shown = ", ".join(str(int(value)) for value in wrong[:8]) + (", ..." if wrong.size > 8 else "")
        raise LabelError(
            f"mask {path} holds label {shown} ({int(counts.sum())} pixels); {meaning}: the file is damaged or not of "
            "this data set, unpack it again"
        )
    return table[mask]
