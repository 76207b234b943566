"""FrequentShapes: which picture shapes come back often enough to be worth a network of their own."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Shape = tuple[int, ...]


class FrequentShapes:
    """Remembers the last shapes seen and judges by their share.

    A plain least-recently-used cache compiles for ever once one shape more than it holds goes round.
    Here a newcomer must have been seen twice as often, of late, as the rarest one held.

    Args:
        capacity: Shapes held at once; each holds the network's weights in the layout of its own.
        sights: Times a shape is seen before it is compiled for.
        window: How many of the last shapes are remembered.
    """

    def __init__(self, capacity: int = 4, sights: int = 3, window: int = 64) -> None:
        self._capacity = capacity
        self._sights = sights
        self._recent: deque[Shape] = deque(maxlen=window)

    def see(self, shape: Shape) -> None:
        """Note that a picture of this shape is to be run."""
        self._recent.append(shape)

    def worth_compiling(self, shape: Shape, held: Sequence[Shape]) -> bool:
        """Whether a shape that is not held should be."""
        count = self._recent.count(shape)
        if count < self._sights:
            return False
        return len(held) < self._capacity or count >= 2 * min(self._recent.count(other) for other in held)

    def to_drop(self, held: Sequence[Shape]) -> Shape | None:
        """The rarest shape held, if one more would be too many."""
        if len(held) < self._capacity:
            return None
        return min(held, key=self._recent.count)
