"""Entity tags (RFC 9110, 8.8.3): one for every question, and whether a client has the answer already."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from model.runtime.predictor import Predictor
    from service.options import SegmentOptions

_EDITION: Final = "2"
"""Raised when the same question gets an answer of other bytes, as after a change of an encoder."""

_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')


def model_mark(predictor: Predictor) -> str:
    """What the answers of a model follow from beside the question: network, engine, precision and last step."""
    engine = predictor.engine
    return f"{_EDITION} {predictor.bundle.manifest.model_sha256} {engine.name} {engine.precision} {engine.tail}"


def answer_tag(picture: bytes, options: SegmentOptions, mark: str) -> str:
    """The tag of an answer, from all that it follows from: equal questions have equal tags.

    Args:
        picture: The file's bytes.
        options: As they are in force, defaults included.
        mark: From ``model_mark``.
    """
    return _quoted(f"{mark} {options.model_dump_json()} {hashlib.sha256(picture).hexdigest()}".encode())


def content_tag(content: bytes) -> str:
    """The tag of an answer that is at hand."""
    return _quoted(content)


def matches(if_none_match: str, tag: str) -> bool:
    """Whether an If-None-Match header names this tag; tags are compared weakly, as the header asks for."""
    return if_none_match.strip() == "*" or tag in _TAG.findall(if_none_match)


def _quoted(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'
