"""A project of Label Studio: what its labelling configuration calls the picture, the brush and the classes."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from service.document import kind_of
from service.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from xml.etree.ElementTree import Element

_MOST_CHARACTERS: Final = 100_000
_EXAMPLE: Final = (
    'For example: <View><Image name="image" value="$image"/><BrushLabels name="label" toName="image">'
    '<Label value="road"/></BrushLabels></View>.'
)


@dataclass(frozen=True)
class LabelConfig:
    """What is needed of a labelling configuration.

    Attributes:
        from_name: Name of the BrushLabels tag.
        to_name: Name of the Image tag.
        key: Field of a task's data that holds the picture.
        values: Values of the brush's labels; None takes the classes' own names.
    """

    from_name: str = "label"
    to_name: str = "image"
    key: str = "image"
    values: tuple[str, ...] | None = None

    def labels(self, names: Sequence[str]) -> Mapping[int, str]:
        """What the project calls each class of a model, by id; classes that it has no label for are left out.

        Raises:
            ServiceError: 422, it has a label for none of them.
        """
        if self.values is None:
            return dict(enumerate(names))
        exact = set(self.values)
        by_folded = {value.casefold(): value for value in reversed(self.values)}
        found = {
            index: name if name in exact else by_folded[name.casefold()]
            for index, name in enumerate(names)
            if name in exact or name.casefold() in by_folded
        }
        if not found:
            known = ", ".join(ascii(name[:40]) for name in names[:20])
            raise _unusable(
                "The brush has a label for none of the model's classes.", f"Name labels as they are: {known}."
            )
        return found


def read_label_config(text: object) -> LabelConfig:
    """Read a labelling configuration; without one, the names are those of the default.

    Raises:
        ServiceError: 422, it is no XML, or has no BrushLabels of an Image.
    """
    if text is None or text == "":
        return LabelConfig()
    if not isinstance(text, str):
        raise _unusable(f"The labelling configuration is {kind_of(text)}.", _EXAMPLE)
    # Entities can make a short document long, and only a document type defines them.
    if len(text) > _MOST_CHARACTERS or "<!" in text.replace("<!--", ""):
        raise _unusable(
            f"The labelling configuration has more than {_MOST_CHARACTERS} characters or a document type.", _EXAMPLE
        )
    try:
        root = ET.fromstring(text)  # noqa: S314 - no entities, see above, and nothing outside is ever loaded
    except (ET.ParseError, ValueError):  # ValueError: a text that is no UTF-8
        raise _unusable("The labelling configuration is no XML.", _EXAMPLE) from None
    images = {_attribute(tag, "name"): _attribute(tag, "value") for tag in root.iter() if tag.tag.lower() == "image"}
    for tag in root.iter():
        to_name = _attribute(tag, "toName")
        if tag.tag.lower() != "brushlabels" or to_name not in images:
            continue
        value = images[to_name]
        key = value.removeprefix("$")
        if not value.startswith("$") or not key:
            raise _unusable(f"The Image tag has the value {value[:40]!a}; one such as $image is needed.", _EXAMPLE)
        values = tuple(_attribute(label, "value") for label in tag.iter() if label.tag.lower() == "label")
        return LabelConfig(_attribute(tag, "name"), to_name, key, values or None)
    raise _unusable("The labelling configuration has no BrushLabels for an Image.", _EXAMPLE)


def _attribute(tag: Element, name: str) -> str:
    """An attribute, whatever the case of its name: Label Studio takes both."""
    return next((value for key, value in tag.attrib.items() if key.lower() == name.lower()), "")


def _unusable(message: str, hint: str) -> ServiceError:
    return ServiceError(422, "unusable_label_config", message, hint)
