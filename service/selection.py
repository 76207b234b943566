"""Selection: the classes that an answer keeps, and what becomes of the pixels of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from data.bands import bands
from data.labels import IGNORE_INDEX
from service.errors import invalid_option, shown
from service.options import near

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from data.labels import LabelMap
    from model.runtime.predictor import Segmentation


def chosen_classes(wishes: Sequence[str], labels: LabelMap) -> NDArray[np.bool_] | None:
    """Which labels are kept.

    Args:
        wishes: Names or ids, several in one text when commas part them. A name goes before an id.
        labels: The model's.

    Returns:
        Shape (256,), 255 left out; None, without a wish, keeps all.

    Raises:
        ServiceError: 422, a name or id that no class has.
    """
    texts: list[str] = []
    for wish in wishes:
        # A name may hold a comma itself.
        texts += [wish] if wish in labels.names else [part.strip() for part in wish.split(",")]
    texts = [text for text in texts if text]
    kept = np.zeros(256, dtype=np.bool_)
    unknown = []
    for text in texts:
        if text in labels.names:
            kept[labels.names.index(text)] = True
        elif text.isascii() and text.isdigit() and len(text) <= 3 and int(text) < labels.num_classes:
            kept[int(text)] = True
        else:
            unknown.append(text)
    if unknown:
        faults = [f"'classes' has {shown(text)}, which is no class{near(text, labels.names)}" for text in unknown]
        raise invalid_option(faults, f"Classes: {_listed(labels.names)}, or their ids, 0 to {labels.num_classes - 1}.")
    return kept if texts else None


def keep_only(kept: NDArray[np.bool_], segmentation: Segmentation) -> None:
    """Set labels that are not kept to 255, and their confidence to 0, in place.

    Args:
        kept: Shape (256,).
        segmentation: Its arrays are changed.
    """
    new_labels = np.where(kept, np.arange(256), IGNORE_INDEX).astype(np.uint8)
    for top, bottom in bands(segmentation.label_map.shape):
        band = segmentation.label_map[top:bottom]
        segmentation.confidence[top:bottom] *= kept[band]
        band[...] = new_labels[band]


def _listed(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more (GET /v1/labels)" if len(names) > most else ""
    return ", ".join(names[:most]) + more
