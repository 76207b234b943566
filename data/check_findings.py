"""What a check makes of the things it saw: faults to mend and warnings to look into."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

import numpy as np

from data.check_report import Finding
from data.check_sights import SPLITS, Sight
from data.errors import LabelError
from data.labels import IGNORE_INDEX
from data.masks import refuse_black_and_white, refuse_one_class

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from data.labels import LabelMap
    from data.sources.layout import Layout
    from data.sources.source import Split

FEW_PICTURES: Final[dict[Split, int]] = {"train": 20, "val": 5}
"""Below these a score says little."""

RARE: Final = 0.001
"""Share of the labelled training pixels below which a class is called rare."""

SMALL_SIDE: Final = 64
"""Two cells of the coarsest feature map, which has stride 32."""


def in_layout(layout: Layout) -> Iterator[Finding]:
    """Pairs and split files."""
    division = layout.division
    if layout.missing:
        yield Finding(
            "fault",
            "mask-missing",
            f"pictures without a mask: {len(layout.missing)} of {len(layout.images)}; add one of the same name to the "
            "mask folder, or take the picture away",
            tuple(str(layout.images[name]) for name in layout.missing),
        )
    if layout.twins:
        yield Finding(
            "fault",
            "name-twice",
            f"files that share their name with another one of another ending: {len(layout.twins)}; what belongs "
            "to what is not clear: rename or remove them",
            tuple(map(str, layout.twins)),
        )
    if division.unknown:
        yield Finding(
            "fault",
            "split-unknown",
            f"lines of split files that name no picture of this set: {len(division.unknown)}; correct them or add "
            "the pictures",
            tuple(f"{path.name}: {line}" for path, line in division.unknown),
        )
    if division.overlap:
        yield Finding(
            "fault",
            "split-overlap",
            f"pictures in more than one split: {len(division.overlap)}; keep each in one, or scores are of pictures "
            "that were trained on",
            tuple(division.overlap),
        )
    if division.repeated:
        yield Finding(
            "warning",
            "split-repeated",
            f"repeated lines in split files: {len(division.repeated)}; each picture is used once: remove one",
            tuple(division.repeated),
        )
    listed = set().union(*division.splits.values())
    unused = tuple(name for name in layout.images if name not in listed)
    if unused:
        yield Finding(
            "warning",
            "picture-unused",
            f"pictures in no split: {len(unused)} of {len(layout.images)}; they will not be used: list them if they "
            "should be",
            unused,
        )
    if layout.strays:
        yield Finding(
            "warning",
            "mask-stray",
            f"masks that belong to no picture: {len(layout.strays)}; they will not be used: name them as "
            "their pictures",
            tuple(map(str, layout.strays)),
        )
    if layout.unread:
        endings = ", ".join(sorted({path.suffix or path.name for path in layout.unread}))
        yield Finding(
            "warning",
            "file-unread",
            f"files of other kinds beside pictures and masks ({endings}): {len(layout.unread)}; they are not read: "
            "convert them if they are pictures",
            tuple(map(str, layout.unread)),
        )


def in_files(sights: list[Sight]) -> Iterator[Finding]:
    """What is wrong with single files, gathered by kind."""
    gathered: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for sight in sights:
        for code, message, place in sight.faults:
            gathered[code].append((message, place))
    for code, faults in gathered.items():
        first = faults[0][0]
        message = first if len(faults) == 1 else f"{len(faults)} files; the first: {first}"
        yield Finding("fault", code, message, tuple(place for _, place in faults))
    kinds = Counter(sight.mask_kind for sight in sights if sight.mask_kind)
    if len({"grey" if kind in ("1", "L", "LA", "I") or kind.startswith("I;") else kind[:3] for kind in kinds}) > 1:
        shown = ", ".join(f"{count} of mode {kind}" for kind, count in kinds.most_common())
        yield Finding(
            "warning", "mask-kinds", f"the masks are of different kinds ({shown}): make sure that all mean the same"
        )


def in_splits(sights: list[Sight]) -> Iterator[Finding]:
    """Splits that are empty or too small to tell anything."""
    for split, few in FEW_PICTURES.items():
        count = sum(sight.split == split for sight in sights)
        if not count:
            yield Finding(
                "fault",
                "split-empty",
                f"split {split} has no picture: training needs at least one in train and one in val",
            )
        elif count < few:
            yield Finding(
                "warning",
                "split-small",
                f"split {split} has {count} picture{'s' * (count > 1)}: with fewer than {few}, scores say little",
            )
    small = tuple(sight.name for sight in sights if sight.size and min(sight.size) < SMALL_SIDE)
    if small:
        yield Finding(
            "warning",
            "picture-small",
            f"pictures with a side under {SMALL_SIDE} pixels: {len(small)}; the network sees them in at most two cells",
            small,
        )


def among_pictures(sights: list[Sight]) -> Iterator[Finding]:
    """Equal pictures under different names."""
    groups: dict[bytes, list[Sight]] = defaultdict(list)
    for sight in sights:
        if sight.digest:
            groups[sight.digest].append(sight)
    same = [group for group in groups.values() if len({sight.name for sight in group}) > 1]
    across = [group for group in same if len({sight.split for sight in group}) > 1]
    within = [group for group in same if len({sight.split for sight in group}) == 1]
    for severity, code, found, todo in (
        (
            "fault",
            "picture-leak",
            across,
            f"in different splits: {len(across)}; keep them in one, or scores are of known pictures",
        ),
        ("warning", "picture-twice", within, f"within a split: {len(within)}; remove the copies unless they are meant"),
    ):
        if found:
            yield Finding(
                "fault" if severity == "fault" else "warning",
                code,
                f"equal pictures under several names {todo}",
                tuple(" = ".join(f"{sight.split}/{sight.name}" for sight in group) for group in found),
            )


def in_labels(sights: list[Sight], labels: LabelMap) -> Iterator[Finding]:
    """Shares of the classes, and masks that teach nothing."""
    try:
        refuse_one_class(labels)
    except LabelError as error:
        yield Finding("fault", "one-class", str(error))
    readable = [(sight, sight.counts) for sight in sights if sight.counts is not None]
    if not readable:
        return
    total = np.sum([counts for _, counts in readable], axis=0)
    try:
        refuse_black_and_white(total, labels)
    except LabelError as error:
        yield Finding("fault", "mask-black-white", str(error))
        return
    blank = tuple(sight.name for sight, counts in readable if not counts[:IGNORE_INDEX].any())
    if blank:
        yield Finding(
            "warning",
            "mask-blank",
            f"masks without a labelled pixel, all is 255 (ignored): {len(blank)}; label them or leave them out",
            blank,
        )
    counted = {split: sum_counts(sights, split) for split in SPLITS if any(s.split == split for s in sights)}
    for split, counts in counted.items():
        if not counts[:IGNORE_INDEX].any() and counts[IGNORE_INDEX]:
            yield Finding(
                "fault", "split-blank", f"split {split} has not one labelled pixel, all is 255 (ignored): label it"
            )
    train = counted.get("train", np.zeros(256, dtype=np.int64))[: labels.num_classes]
    if labels.num_classes > 1 and np.count_nonzero(train) == 1:
        only = labels.names[int(np.argmax(train))]
        yield Finding(
            "fault",
            "train-one-class",
            f"every labelled training pixel is {only!r}: nothing can be told apart; are the masks written as intended?",
        )
    for split in ("train", "val"):
        if split in counted and counted[split][:IGNORE_INDEX].any():
            absent = tuple(name for name, pixels in zip(labels.names, counted[split], strict=False) if not pixels)
            if absent:
                what = "cannot be learnt" if split == "train" else "have no validation score"
                yield Finding(
                    "warning",
                    f"class-absent-{split}",
                    f"classes without a pixel in {split}, which {what}: {len(absent)} of {labels.num_classes} "
                    f"({', '.join(absent[:5])}{', ...' * (len(absent) > 5)}); add pictures that show them, or choose "
                    "another split",
                    absent,
                )
    shares = train / max(int(train.sum()), 1)
    rare = tuple(name for name, share in zip(labels.names, shares, strict=True) if 0 < share < RARE)
    if rare:
        yield Finding(
            "warning",
            "class-rare",
            f"classes with less than {RARE:.1%} of the labelled training pixels: {len(rare)} ({', '.join(rare[:5])}); "
            "class weights help",
            rare,
        )


def sum_counts(sights: list[Sight], split: Split) -> NDArray[np.int64]:
    """Pixels of each label 0 to 255 in a split, shape (256,)."""
    total = np.zeros(256, dtype=np.int64)
    for sight in sights:
        if sight.split == split and sight.counts is not None:
            total += sight.counts
    return total
