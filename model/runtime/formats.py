"""Formats: what the answers of a folder can be written as, and the names that a labelling tool gives things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from data.errors import ConfigError

FolderFormat = Literal["png", "cvat", "coco", "label-studio"]


@dataclass(frozen=True)
class LabelStudioConfig:
    """How a project of Label Studio names things; see its labelling configuration and its storage.

    Attributes:
        prefix: What stands before a picture's path within the folder to make its address. For local files,
            ``/data/local-files/?d=`` and the folder's path below the document root; for a bucket ``s3://bucket/folder/``.
        image: Name of the Image tag.
        brush: Name of the BrushLabels tag.
        key: Field of a task's data that the Image tag's value names, without the dollar sign.
    """

    prefix: str = "/data/local-files/?d="
    image: str = "image"
    brush: str = "label"
    key: str = "image"

    def __post_init__(self) -> None:
        for name in ("image", "brush", "key"):
            if not getattr(self, name).strip():
                raise ConfigError(f"label_studio.{name} is empty: give the name from the labelling configuration")
        if self.key.startswith("$"):
            raise ConfigError(f"label_studio.key is {self.key!r}: give it without the dollar sign")

    def address(self, picture: str) -> str:
        """The address of a picture. What an HTTP address cannot hold is escaped; names in buckets stay as they are."""
        is_http = self.prefix.startswith(("/", "http://", "https://"))
        return self.prefix + (quote(picture, errors="surrogateescape") if is_http else picture)
