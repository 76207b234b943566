"""Figures as SVG inside the page, in the page's colours, light and dark."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.typing import RcKeyType

INK: Final = "#0b0c01"
FAINT: Final = "#0b0c02"
PAPER: Final = "#0b0c03"
_SERIES: Final = {
    "bilinear": "#0b0c11",
    "learned": "#0b0c12",
    "learned-dense": "#0b0c13",
    "learned-random": "#0b0c14",
    "pixel-shuffle": "#0b0c15",
    "nearest": "#0b0c16",
    "bicubic": "#0b0c17",
    "dysample": "#0b0c18",
    "learned-wide": "#0b0c19",
    "learned-decoder": "#0b0c1a",
    "autoencoder": "#0b0c1b",
}
"""Stand-ins: matplotlib draws in these, and the page's style sheet says what they look like."""

TAPS: Final = tuple(f"#0b0c2{index}" for index in range(9))
"""Stand-ins for the numbers of a kernel, in the order that they are read."""

_VARIABLES: Final = {
    INK: "var(--ink)",
    FAINT: "var(--rule)",
    PAPER: "var(--paper)",
    **{colour: f"var(--series-{index})" for index, colour in enumerate(_SERIES.values())},
    **{colour: f"var(--tap-{index})" for index, colour in enumerate(TAPS)},
}

_STYLE: Final[dict[RcKeyType, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "fcn",
    "text.parse_math": False,  # a class may be named US$ or a_b
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.7,
    "lines.markersize": 4.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}

STYLED: Final = mpl.rc_context(_STYLE)
"""Decorates what draws: matplotlib reads its settings when a title or a legend is made, not when a figure is."""


@dataclass(frozen=True)
class Drawing:
    """A figure of the report.

    Attributes:
        name: Identifier in the page.
        title: Its first words.
        caption: What is seen, in whole sentences.
        svg: The picture, as an ``<svg>`` element.
    """

    name: str
    title: str
    caption: str
    svg: str


def series_colour(upsampler: str) -> str:
    """The stand-in colour of an upsampler."""
    return _SERIES[upsampler]


def figure(width: float, height: float, rows: int = 1, columns: int = 1, **shared: Any) -> tuple[Figure, list[Axes]]:  # noqa: ANN401 - matplotlib's sharex and sharey
    """A figure with a grid of axes, row by row, sizes in inches."""
    made = Figure(figsize=(width, height), layout="constrained")
    return made, list(made.subplots(rows, columns, squeeze=False, **shared).flat)


def to_svg(drawn: Figure, name: str, description: str) -> str:
    """The figure as an element for the page.

    Args:
        drawn: In stand-in colours.
        name: Goes before every id, so that figures of one page do not take each other's clip paths.
        description: For those who cannot see it.
    """
    buffer = io.StringIO()
    drawn.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    # The page's own letters, at the size and weight that matplotlib chose.
    text = re.sub(r"font: ([^;\"']*?)(\d[\d.]*px) [^;\"]*", r"font: \1\2 var(--sans)", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    # The root's size in points would win over the page's: the view box is enough.
    head, _, rest = text.partition(">")
    head = re.sub(r'\s(width|height)="[^"]*pt"', "", head)
    return f'{head} role="img" aria-label="{_escape(description)}">{rest}'.rstrip()


def panels(strides: list[int]) -> Iterator[tuple[int, str]]:
    """Strides with the titles of their panels."""
    for stride in strides:
        yield stride, f"stride {stride} (FCN-{stride}s)"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
