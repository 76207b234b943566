"""Pieces: what is too small to be believed is given to what lies around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from service.runs import Runs, pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LABELS: Final = 256


def without_small_pieces(label_map: NDArray[np.uint8], min_area: int) -> NDArray[np.uint8]:
    """Give every small piece to the class with which it shares most of its border.

    A piece is what hangs together by pixel sides (4 neighbours). One of fewer than ``min_area`` pixels
    takes the class of those large pieces around it that share most pixel sides with it; of equal ones
    the lower id. A small piece among small ones alone waits until a neighbour has been given away, and
    then takes part in that neighbour's class. So every piece of the result is large enough, unless none
    was: then nothing changes.

    Args:
        label_map: Shape (H, W).
        min_area: Smallest piece that stays, in pixels.

    Returns:
        A new label map, or the same one when nothing changes.

    Raises:
        ServiceError: 422, the label map is noise of many megapixels.
    """
    if min_area <= 1:
        return label_map
    runs = Runs.of(label_map)
    same, different = runs.touches()
    piece = pieces(runs.starts.size, same)
    areas = np.bincount(piece, runs.lengths, minlength=piece.size)
    small = areas < min_area  # by a piece's number; numbers that no piece has are never looked at
    if small[piece].all() or not small[piece].any():
        return label_map
    labels = _given_away(small, runs.labels.copy(), piece[different.first], piece[different.second], different.length)
    return np.repeat(labels[piece], runs.lengths).reshape(label_map.shape)


def _given_away(
    small: NDArray[np.bool_],
    labels: NDArray[np.uint8],
    one: NDArray[np.int32],
    other: NDArray[np.int32],
    length: NDArray[np.int32],
) -> NDArray[np.uint8]:
    """The label of every piece once the small ones are given away, from the large ones inwards.

    Args:
        small: Pieces to be given away, by number.
        labels: Of the pieces; changed.
        one: Pieces that touch ...
        other: ... these ...
        length: ... along so many pixel sides.
    """
    giver, taker = np.concatenate((one, other)), np.concatenate((other, one))
    border = np.concatenate((length, length))
    towards_small = small[taker]
    giver, taker, border = giver[towards_small], taker[towards_small], border[towards_small]
    order = np.argsort(giver, kind="stable")
    giver, taker, border = giver[order], taker[order], border[order]
    begins = np.searchsorted(giver, np.arange(small.size + 1))
    open_pieces = small.copy()
    edges = np.flatnonzero(~small[giver])
    while edges.size:
        given, classes = _most_border(taker[edges], labels[giver[edges]], border[edges])
        labels[given] = classes
        open_pieces[given] = False
        # Only what touches the pieces just given away can go in the next round.
        edges = _ranges(begins[given], begins[given + 1])
        edges = edges[open_pieces[taker[edges]]]
    return labels


def _most_border(
    takers: NDArray[np.int32], classes: NDArray[np.uint8], border: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """For each of the pieces that stand among ``takers``, the class with the longest border in all."""
    pairs, where = np.unique(takers.astype(np.int64) * _LABELS + classes, return_inverse=True)
    totals = np.bincount(where, border)
    order = np.lexsort((-totals, pairs // _LABELS))  # stable: of equal borders the lower class stays first
    winners = pairs[order]
    pieces_in_order = winners // _LABELS
    first = np.flatnonzero(np.diff(pieces_in_order, prepend=-1))
    return pieces_in_order[first], (winners[first] % _LABELS).astype(np.uint8)


def _ranges(begins: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """All whole numbers from each begin up to its end, one range after the other."""
    sizes = ends - begins
    before = np.cumsum(sizes) - sizes
    return np.repeat(begins - before, sizes) + np.arange(int(sizes.sum()))
