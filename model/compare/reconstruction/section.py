"""The section of the report, made from the parts alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from model.compare.reconstruction.figures import draw_reconstruction, draw_restoring_kernels
from model.compare.reconstruction.gallery import show_reconstructions
from model.compare.reconstruction.results import read_originals, read_parts
from model.compare.reconstruction.summary import summarise_reconstruction

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from model.compare.reconstruction.gallery import Strip
    from model.compare.reconstruction.results import Part
    from model.compare.svg import Drawing


@dataclass(frozen=True)
class Section:
    """What is there of the experiment.

    Attributes:
        root: Folder of the comparison.
        parts: By method and seed.
        seeds: Those with every method; none where there is nothing to show.
        missing: What is not there or damaged.
        summary: For report.json; None where there is nothing to show.
    """

    root: Path
    parts: Mapping[Any, Part]
    seeds: list[int]
    missing: list[str]
    summary: dict[str, Any] | None = field(default=None)

    def drawings(self, summary: dict[str, Any] | None) -> list[Drawing | None]:
        """Figures of the section.

        Args:
            summary: As it was read back from report.json.
        """
        if summary is None:
            return []
        kernels = draw_restoring_kernels(self.parts, self.seeds[0], summary["scale_factor"])
        return [draw_reconstruction(summary), kernels]

    def strips(self, summary: dict[str, Any] | None) -> list[Strip]:
        """Pictures of the section; none where the comparison keeps its data out of the report."""
        if summary is None:
            return []
        return show_reconstructions(read_originals(self.root), self.parts, self.seeds[0], summary["scale_factor"])


def open_section(root: Path, config: Mapping[str, Any]) -> Section:
    """Read what is there.

    Args:
        root: Folder of the comparison.
        config: Of its plan.
    """
    parts, seeds, missing = read_parts(root, config)
    summary = summarise_reconstruction(config, parts, seeds) if seeds else None
    return Section(root, parts, seeds, missing, summary)
