"""Licences: under what known data sets and encoder weights are given, as a model card tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from data.downloads.offers import OFFERS

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Licence:
    """What is known of a licence.

    Attributes:
        name: As people write it, such as CC BY-NC 4.0; or that it is unknown.
        meaning: What it means for who uses a network that learned from it; no legal advice.
        terms: Where it can be read; empty where nowhere.
    """

    name: str
    meaning: str = ""
    terms: str = ""


UNKNOWN: Final = Licence("unknown", "Nobody stated it: ask who made it before you pass it on.")

_INHERITED: Final = "Weights that learned from it may be bound by the same: check before you use them otherwise."

DATA_LICENCES: Final[Mapping[str, Licence]] = {
    **{name: Licence(offer.licence, _INHERITED, offer.terms) for name, offer in OFFERS.items()},
    "cityscapes": Licence(
        "the Cityscapes licence: research and other non-commercial use",
        _INHERITED,
        "https://www.cityscapes-dataset.com/license/",
    ),
    "shapes": Licence("none needed", "The pictures are drawn by this program; nobody else has rights in them."),
}
"""By the name of a source. A folder of one's own has none that could be known."""

_WHEEL: Final = Licence(
    "Apache-2.0",
    "So says the licence file of the package that holds them. They were trained on ImageNet, whose pictures are given "
    "for research: check.",
    "http://www.apache.org/licenses/LICENSE-2.0",
)


def data_licence(source: str, stated: str | None = None) -> Licence:
    """The licence of a data set: as stated, else as known for the source.

    Args:
        source: Its name in the catalogue.
        stated: What the person who exports says.
    """
    return Licence(stated) if stated else DATA_LICENCES.get(source, UNKNOWN)


def encoder_licence(weights: str) -> Licence:
    """The licence of the weights that an encoder started from.

    Args:
        weights: ``packaged``, ``imagenet``, ``none`` or the name of a file.
    """
    if weights == "packaged":
        return _WHEEL
    if weights == "none":
        return Licence("none needed", "The encoder started from random numbers.")
    if weights == "imagenet":
        return Licence("unknown", "The weights came from a model hub: the encoder's page there tells.")
    return UNKNOWN
