"""Check a whole data set before any training and tell every fault in it, not just the first."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from data.check_findings import among_pictures, in_files, in_labels, in_layout, in_splits, sum_counts
from data.check_report import CheckReport, Finding, SplitSummary
from data.check_sights import SPLITS, Sight, looks_at_layout, looks_at_source, see_all
from data.errors import DataError
from data.labels import IGNORE_INDEX
from data.masks import remap_table
from data.sources.catalogue import SourceConfig, existing_root, open_source
from data.sources.folder import read_label_map
from data.sources.layout import survey

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from data.labels import LabelMap
    from data.sources.catalogue import SourceName
    from data.sources.pets import PetBorder, PetTarget
    from data.sources.source import Split


def run_check(
    root: Path | None,
    name: SourceName = "folder",
    *,
    val_fraction: float = 0.2,
    seed: int = 0,
    remap: Mapping[int, int] | None = None,
    target: PetTarget = "trimap",
    border: PetBorder = "ignore",
    augmented: bool | None = None,
    coarse: bool = False,
    json: bool = False,
) -> int:
    """Check a data set and print what was found on stdout; a progress bar runs on stderr if that is a terminal.

    Args:
        root: The data set's folder; shapes needs none, and a public one lies where it was fetched.
        name: As in ``SourceConfig``.
        val_fraction: As training will have it, like the next two.
        seed: Of the split.
        remap: Labels to change while masks are read, as {from: to}.
        target: As in ``SourceConfig``, like the next three.
        border: See there.
        augmented: See there.
        coarse: See there.
        json: Print JSON instead of tables.

    Returns:
        The exit code: 1 if anything must be mended, else 0.

    Raises:
        ConfigError: one of the settings cannot be.
    """
    config = SourceConfig(
        name=name,
        root=root,
        val_fraction=val_fraction,
        seed=seed,
        remap=dict(remap or {}),
        target=target,
        border=border,
        augmented=augmented,
        coarse=coarse,
    )
    report = check_source(config, progress=sys.stderr.isatty())
    if json:
        sys.stdout.write(report.to_json() + "\n")
    else:
        Console(highlight=False, soft_wrap=True).print(report.render())
    return report.exit_code


def check_source(config: SourceConfig, *, progress: bool = False) -> CheckReport:
    """Look at every file of a data set.

    Args:
        config: As training will have it.
        progress: Show a bar on stderr.

    Returns:
        The report. Faults in the data are findings in it, never exceptions.
    """
    findings: list[Finding] = []
    labels: LabelMap | None = None
    origin = f"the source {config.name}"
    sights: list[Sight] = []
    root = config.root
    try:
        if config.name != "shapes":
            root = existing_root(config)
        if config.name == "folder":
            layout = survey(existing_root(config), config.val_fraction, config.seed)
            origin = layout.division.origin
            findings += in_layout(layout)
            try:
                labels = read_label_map(layout)
            except DataError as error:
                findings.append(Finding("fault", "label-file", str(error)))
            looks = looks_at_layout(layout, labels, remap_table(config.remap))
        else:
            source = open_source(config)
            labels = source.label_map
            looks = looks_at_source(source)
        sights = see_all(looks, progress=progress)
        findings += in_files(sights)
        findings += in_splits(sights)
        findings += among_pictures(sights)
        if labels is not None:
            findings += in_labels(sights, labels)
    except DataError as error:
        findings.append(Finding("fault", "layout", str(error)))
    count = labels.num_classes if labels else 0
    splits = {split: _summarise(sights, split, count) for split in SPLITS}
    return CheckReport(
        source=config.name,
        root=str(root or ""),
        origin=origin,
        labels=labels,
        splits={split: summary for split, summary in splits.items() if summary.pictures},
        findings=tuple(sorted(findings, key=lambda finding: finding.severity)),
    )


def _summarise(sights: list[Sight], split: Split, num_classes: int) -> SplitSummary:
    chosen = [sight for sight in sights if sight.split == split]
    total = sum_counts(chosen, split)
    present = np.zeros(256, dtype=np.int64)
    for sight in chosen:
        if sight.counts is not None:
            present += sight.counts > 0
    return SplitSummary(
        pictures=len(chosen),
        sizes=tuple(Counter(sight.size for sight in chosen if sight.size).most_common()),
        class_pixels=tuple(int(count) for count in total[:num_classes]),
        class_pictures=tuple(int(count) for count in present[:num_classes]),
        ignored_pixels=int(total[IGNORE_INDEX]),
    )
