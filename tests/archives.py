"""A server of files that behaves as it is told, well or badly, and archives to put on it."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class FileServer:
    """What is served and how, and what was asked.

    Attributes:
        files: Bytes by name.
        ranges: Whether a part of a file can be asked for.
        tag: Entity tag of every file; empty sends none.
        breaks: Answers to come that end in the middle, after half of what was asked for.
        statuses: Statuses of the answers to come; when none is left, files are served.
        told_length: Whether Content-Length is sent.
        stalls: Answers to come that stop in the middle until ``go_on``.
        asked: Path, Range and If-Range of every request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    tag: str = '"one"'
    breaks: int = 0
    statuses: list[int] = field(default_factory=list)
    told_length: bool = True
    stalls: int = 0
    go_on: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    address: str = ""

    def checksums(self, path: Path) -> Path:
        """Write what sha256sum says of the files."""
        lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in self.files.items()]
        path.write_text("".join(lines))
        return path


@contextmanager
def serving(server: FileServer) -> Iterator[FileServer]:
    """The server at 127.0.0.1 and a free port, while the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted, condition = self.headers.get("Range", ""), self.headers.get("If-Range", "")
            server.asked.append((self.path, wanted, condition))
            data = server.files.get(self.path.rpartition("/")[2])
            status = server.statuses.pop(0) if server.statuses else 200 if data is not None else 404
            if status == 302:
                self.send_response(302)
                self.send_header("Location", f"/moved{self.path}")
                self.end_headers()
                return
            if status != 200 or data is None:
                self.send_error(status)
                return
            start = 0
            if (found := re.fullmatch(r"bytes=(\d+)-", wanted)) and server.ranges and condition in ("", server.tag):
                start = int(found[1])
                if start >= len(data):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(data)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            else:
                self.send_response(200)
            if server.told_length:
                self.send_header("Content-Length", str(len(data) - start))
            if server.tag:
                self.send_header("ETag", server.tag)
            self.end_headers()
            rest = data[start:]
            if server.breaks:
                server.breaks -= 1
                rest = rest[: len(rest) // 2]
            if server.stalls:
                server.stalls -= 1
                self.wfile.write(rest[: len(rest) // 2])
                self.wfile.flush()
                server.go_on.wait(60)
                return
            self.wfile.write(rest)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.address = f"http://127.0.0.1:{httpd.server_address[1]}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        httpd.shutdown()
        thread.join(10)
        httpd.server_close()


def zipped(folder: Path, prefix: str, comment: str = "") -> bytes:
    """The files of a folder as a zip archive, below ``prefix``."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = comment.encode()
        for path in sorted(folder.rglob("*")):
            archive.write(path, f"{prefix}/{path.relative_to(folder).as_posix()}")
    return buffer.getvalue()


def tarred(folder: Path, prefix: str, mode: str = "w:gz") -> bytes:
    """The files of a folder as a tar archive, below ``prefix``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        archive.add(folder, prefix)
    return buffer.getvalue()
