"""Tiles: how a side that is too long for one run is cut into equal, overlapping pieces."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Tile:
    """One piece of one side of a picture.

    Attributes:
        source: What the network is given, in pixels of the picture.
        kept: What is kept of its answer, in pixels of the tile.
        target: Where that goes, in pixels of the picture.
    """

    source: slice
    kept: slice
    target: slice


def tile_axis(length: int, longest: int, overlap: int, stride: int) -> list[Tile]:
    """Cut one side into tiles of one length that overlap; every pixel is kept from one tile.

    Neighbours meet in the middle of their overlap, so each pixel comes from the tile in which it lies
    deepest and no tile's edge, where the network sees least, reaches the answer. Tiles begin at
    multiples of the stride, so the network's grid lies as it would without tiles; they are all of one
    length, as an engine is fastest on a shape that it has seen, and no longer than they need to be.

    Args:
        length: The side, in pixels.
        longest: Longest tile; a multiple of ``stride``.
        overlap: Pixels shared by neighbours, at least; half a tile at most.
        stride: The network's stride.

    Returns:
        The tiles in order. The last one's source may end less than a stride short of the tile's length.
    """
    padded = length + -length % stride
    if padded <= longest:
        return [Tile(slice(0, length), slice(0, length), slice(0, length))]
    shared = min(overlap, longest // 2) // stride * stride
    count = -(-(padded - shared) // (longest - shared))
    size = -(-(padded + (count - 1) * shared) // count)
    size += -size % stride
    starts = [(padded - size) * index // (count - 1) // stride * stride for index in range(count)]
    seams = [(start + size + following) // 2 for start, following in pairwise(starts)]
    return [
        Tile(slice(start, min(start + size, length)), slice(first - start, last - start), slice(first, last))
        for start, first, last in zip(starts, [0, *seams], [*seams, length], strict=True)
    ]
