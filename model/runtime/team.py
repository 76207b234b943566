"""Team: threads that share the rows of a picture in compiled code."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from model.runtime.library import address

if TYPE_CHECKING:
    from collections.abc import Callable


class Team:
    """Threads that take rows by turns. Safe to call from several threads at once.

    Args:
        threads: With the caller's own.
    """

    def __init__(self, threads: int) -> None:
        self._others = ThreadPoolExecutor(threads - 1, "tail") if threads > 1 else None
        self._others_count = threads - 1

    def share(self, part: Callable[[int], object], *, alone: bool = False) -> None:
        """Do all rows.

        Args:
            part: Given the address of the next row's number, does rows until none is left, holding no lock.
            alone: In the caller's thread: little work is done before another has woken up.
        """
        next_row = np.zeros(1, dtype=np.int_)
        if self._others is None or alone:
            part(address(next_row))
            return
        helping = [self._others.submit(part, address(next_row)) for _ in range(self._others_count)]
        part(address(next_row))
        for one in helping:
            if not one.cancel():  # it has begun
                one.result()
