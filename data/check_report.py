"""What a check of a data set found, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from data.labels import LabelMap
    from data.sources.source import Split

SCHEMA_VERSION: Final = 1

_SHOWN: Final = 5


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be.

    Attributes:
        severity: A fault spoils the training or its scores; a warning is worth a look.
        code: Short and stable, for programs.
        message: What was found, what is expected and what to do.
        where: Files or names concerned, all of them; may be empty.
    """

    severity: Literal["fault", "warning"]
    code: str
    message: str
    where: tuple[str, ...] = ()


@dataclass(frozen=True)
class SplitSummary:
    """Numbers of one split; pictures that could not be read are counted in ``pictures`` only.

    Attributes:
        pictures: Number of pictures.
        sizes: How many pictures have each (width, height), the most frequent first.
        class_pixels: Pixels of each class.
        class_pictures: Pictures in which each class is present.
        ignored_pixels: Pixels with label 255.
    """

    pictures: int
    sizes: tuple[tuple[tuple[int, int], int], ...]
    class_pixels: tuple[int, ...]
    class_pictures: tuple[int, ...]
    ignored_pixels: int

    @property
    def labelled_pixels(self) -> int:
        """Pixels of all classes together."""
        return sum(self.class_pixels)


@dataclass(frozen=True)
class CheckReport:
    """Everything that a check found.

    Attributes:
        source: Name of the source.
        root: The folder, or an empty text.
        origin: Where the splits come from, in words.
        labels: None when the label file cannot be read.
        splits: Summary of each split that has a picture; train, val, test in this order.
        findings: Faults first.
    """

    source: str
    root: str
    origin: str
    labels: LabelMap | None
    splits: dict[Split, SplitSummary]
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        """Findings that must be mended."""
        return tuple(finding for finding in self.findings if finding.severity == "fault")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings worth a look."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    @property
    def exit_code(self) -> int:
        """0 when nothing must be mended, else 1."""
        return 1 if self.faults else 0

    def to_json(self) -> str:
        """One JSON object; keys are only ever added within a schema version."""
        labels = self.labels
        names = labels.names if labels else ()
        data: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "ok": not self.faults,
            "source": self.source,
            "root": self.root,
            "split_origin": self.origin,
            "labels": [
                {"index": index, "name": name, "colour": list(labels.palette[index])}
                for index, name in enumerate(names)
            ]
            if labels
            else None,
            "splits": {split: _split_json(summary, names) for split, summary in self.splits.items()},
            "faults": [_finding_json(finding) for finding in self.faults],
            "warnings": [_finding_json(finding) for finding in self.warnings],
        }
        return json.dumps(data, indent=2)

    def render(self) -> RenderableType:
        """Tables and sentences for ``rich.console.Console.print``."""
        parts: list[RenderableType] = [Text(_printable(f"{self.source} {self.root}".strip()), style="bold")]
        if self.splits:
            parts += [self._split_table(), Text(f"splits from {self.origin}", style="dim")]
        if self.labels and any(summary.labelled_pixels for summary in self.splits.values()):
            parts.append(self._class_table(self.labels))
        parts += [_finding_text(finding) for finding in self.findings]
        faults, warnings = len(self.faults), len(self.warnings)
        counted = f"{faults} {_plural('fault', faults)}, {warnings} {_plural('warning', warnings)}"
        verdict = "mend the faults before training" if faults else "ready to train"
        parts.append(Text(f"{counted}: {verdict}", style="bold red" if faults else "bold green"))
        return Group(*parts)

    def _split_table(self) -> Table:
        table = Table("split", "pictures", "width x height (pictures)", "ignored")
        for split, summary in self.splits.items():
            sizes = ", ".join(f"{width}x{height} ({count})" for (width, height), count in summary.sizes[:4])
            if len(summary.sizes) > 4:
                sizes += f", and {len(summary.sizes) - 4} more sizes"
            pixels = summary.labelled_pixels + summary.ignored_pixels
            table.add_row(split, str(summary.pictures), sizes, _percent(summary.ignored_pixels, pixels))
        return table

    def _class_table(self, labels: LabelMap) -> Table:
        table = Table("", "class")
        for split in self.splits:
            table.add_column(f"{split}: pixels, pictures", justify="right")
        for index, name in enumerate(labels.names):
            shares = [
                f"{_percent(summary.class_pixels[index], summary.labelled_pixels)} {summary.class_pictures[index]:>6}"
                for summary in self.splits.values()
            ]
            table.add_row(str(index), Text(_printable(name)), *shares)
        return table


def _split_json(summary: SplitSummary, names: tuple[str, ...]) -> dict[str, Any]:
    labelled = summary.labelled_pixels
    return {
        "pictures": summary.pictures,
        "sizes": [{"width": width, "height": height, "pictures": count} for (width, height), count in summary.sizes],
        "labelled_pixels": labelled,
        "ignored_pixels": summary.ignored_pixels,
        "classes": [
            {
                "index": index,
                "name": name,
                "pixels": summary.class_pixels[index],
                "pixel_share": summary.class_pixels[index] / labelled if labelled else 0.0,
                "pictures": summary.class_pictures[index],
            }
            for index, name in enumerate(names)
        ],
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {"code": finding.code, "message": finding.message, "where": list(finding.where)}


def _finding_text(finding: Finding) -> Text:
    style = "bold red" if finding.severity == "fault" else "bold yellow"
    text = Text.assemble((f"{finding.severity} ", style), (finding.code, "bold"), f" {_printable(finding.message)}")
    # One file is named already in most messages that are of one.
    if len(finding.where) > 1 or any(place not in finding.message for place in finding.where):
        more = f", and {len(finding.where) - _SHOWN} more" if len(finding.where) > _SHOWN else ""
        text.append(_printable(f"\n    {', '.join(finding.where[:_SHOWN])}{more}"), style="dim")
    return text


def _printable(text: str) -> str:
    """File names that are not valid Unicode reach Python as lone surrogates, which no terminal takes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "-"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
