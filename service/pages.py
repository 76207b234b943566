"""Pages: the page at / and its files under /ui/, read once, each with the tag of its content."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.tags import content_tag, matches

INDEX: Final = "index.html"

_MEDIA_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

# Nothing but what this server sends, and pictures that the person chose; no script or style within the page. On a
# 304 as well: a browser takes its headers over to the page that it has.
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
    # The names stay the same from version to version, so a browser asks each time whether they changed.
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True)
class PageFile:
    """One file of the page.

    Attributes:
        content: Bytes.
        media_type: By its ending.
        tag: Strong ETag, quotes included.
    """

    content: bytes
    media_type: str
    tag: str

    def answer(self, known: str) -> Response:
        """The file, or 304 without it.

        Args:
            known: The request's If-None-Match, or an empty text.
        """
        headers = {**_HEADERS, "ETag": self.tag}
        if matches(known, self.tag):
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def page_files() -> dict[str, PageFile]:
    """Every file of ``service/ui``, by name."""
    found = {}
    for path in files("service").joinpath("ui").iterdir():
        ending = path.name.rpartition(".")[2]
        if ending in _MEDIA_TYPES:
            content = path.read_bytes()
            found[path.name] = PageFile(content, _MEDIA_TYPES[ending], content_tag(content))
    return found


def add_pages(app: FastAPI) -> None:
    """Add the page and its files."""
    known_files = page_files()

    @app.get("/", include_in_schema=False)
    async def index(request: Request) -> Response:
        return known_files[INDEX].answer(request.headers.get("if-none-match", ""))

    @app.get("/ui/{name}", include_in_schema=False)
    async def part(name: str, request: Request) -> Response:
        file = known_files.get(name)
        if file is None:
            raise HTTPException(404)
        return file.answer(request.headers.get("if-none-match", ""))
