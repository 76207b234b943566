"""A file fetched from a real server that ends, breaks off, refuses or has something else."""

from __future__ import annotations

import resource
import socket
from typing import TYPE_CHECKING

import pytest

from data.downloads.transfer import Patience, transfer
from data.errors import DataError
from tests.archives import FileServer, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUICK = Patience(attempts=3, wait=0.01, silence=5.0)
BYTES = bytes(range(256)) * 1024
LIMIT = 2 * len(BYTES)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(FileServer(files={"a.tar": BYTES})) as started:
        yield started


def fetch(server: FileServer, target: Path, limit: int = LIMIT, **options: object) -> None:
    transfer(f"{server.address}/a.tar", target, limit, patience=QUICK, **options)  # type: ignore[arg-type]


def test_a_file_is_fetched_whole_and_its_bytes_are_told(server, tmp_path):
    told = []
    fetch(server, tmp_path / "a.tar", seen=lambda done, total: told.append((done, total)))
    assert (tmp_path / "a.tar").read_bytes() == BYTES
    assert told[-1] == (len(BYTES), len(BYTES))
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"], "nothing else is left behind"


def test_what_broke_off_is_gone_on_with_where_it_ended(server, tmp_path):
    server.breaks = 2
    fetch(server, tmp_path / "a.tar")
    assert (tmp_path / "a.tar").read_bytes() == BYTES
    half, quarter = len(BYTES) // 2, 3 * len(BYTES) // 4
    assert server.asked == [
        ("/a.tar", "", ""),
        ("/a.tar", f"bytes={half}-", '"one"'),
        ("/a.tar", f"bytes={quarter}-", '"one"'),
    ]


def test_a_later_call_goes_on_with_what_an_earlier_one_left(server, tmp_path):
    server.statuses = [200, 503, 503, 503]
    server.breaks = 1
    with pytest.raises(DataError, match=rf"broke off after {len(BYTES) // 2} bytes \(HTTP 503\).* goes on from there"):
        fetch(server, tmp_path / "a.tar")
    assert not (tmp_path / "a.tar").exists()
    fetch(server, tmp_path / "a.tar")
    assert (tmp_path / "a.tar").read_bytes() == BYTES
    assert server.asked[-1][1] == f"bytes={len(BYTES) // 2}-"


def test_a_file_that_changed_meanwhile_is_begun_again(server, tmp_path):
    (tmp_path / "a.tar.part").write_bytes(b"of before" * 1000)
    (tmp_path / "a.tar.part.json").write_text(f'{{"url": "{server.address}/a.tar", "validator": "\\"zero\\""}}')
    fetch(server, tmp_path / "a.tar")
    assert server.asked == [("/a.tar", "bytes=9000-", '"zero"')]
    assert (tmp_path / "a.tar").read_bytes() == BYTES


@pytest.mark.parametrize("notes", ["", "[]", '{"url": "http://other/a.tar", "validator": "\\"one\\""}'])
def test_a_part_of_unknown_origin_is_begun_again(server, tmp_path, notes):
    (tmp_path / "a.tar.part").write_bytes(b"of elsewhere")
    (tmp_path / "a.tar.part.json").write_text(notes)
    fetch(server, tmp_path / "a.tar")
    assert (tmp_path / "a.tar").read_bytes() == BYTES


def test_a_part_that_was_whole_already_is_taken(server, tmp_path):
    (tmp_path / "a.tar.part").write_bytes(BYTES)
    (tmp_path / "a.tar.part.json").write_text(f'{{"url": "{server.address}/a.tar", "validator": "\\"one\\""}}')
    fetch(server, tmp_path / "a.tar")
    assert (tmp_path / "a.tar").read_bytes() == BYTES
    assert server.asked[0][1] == f"bytes={len(BYTES)}-"


def test_a_part_longer_than_the_file_is_begun_again(server, tmp_path):
    (tmp_path / "a.tar.part").write_bytes(BYTES + b"more")
    (tmp_path / "a.tar.part.json").write_text(f'{{"url": "{server.address}/a.tar", "validator": "\\"one\\""}}')
    fetch(server, tmp_path / "a.tar")
    assert (tmp_path / "a.tar").read_bytes() == BYTES


def test_a_server_without_ranges_sends_it_again_from_the_start(server, tmp_path):
    server.ranges = False
    server.breaks = 1
    fetch(server, tmp_path / "a.tar")
    assert (tmp_path / "a.tar").read_bytes() == BYTES


def test_a_server_that_always_breaks_off_at_the_same_place_is_given_up(server, tmp_path):
    server.ranges = False
    server.breaks = 99
    with pytest.raises(DataError, match="broke off after 131072 bytes"):
        fetch(server, tmp_path / "a.tar")
    assert len(server.asked) == 3


def test_a_server_that_tells_neither_length_nor_tag_is_read_to_its_end(server, tmp_path):
    server.told_length = False
    server.tag = ""
    fetch(server, tmp_path / "a.tar")
    assert (tmp_path / "a.tar").read_bytes() == BYTES


def test_a_passing_fault_is_tried_again_and_a_redirection_followed(server, tmp_path):
    server.statuses = [503, 429, 302]
    fetch(server, tmp_path / "a.tar")
    assert [path for path, _, _ in server.asked] == ["/a.tar", "/a.tar", "/a.tar", "/moved/a.tar"]
    assert (tmp_path / "a.tar").read_bytes() == BYTES


@pytest.mark.parametrize("status", [404, 403, 401])
def test_a_refusal_is_told_at_once(server, tmp_path, status):
    server.statuses = [status]
    with pytest.raises(DataError, match=rf"a\.tar answered HTTP {status} .*has it moved\?.*--mirror"):
        fetch(server, tmp_path / "a.tar")
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("told_length", [True, False])
def test_a_file_that_is_far_too_large_is_not_taken(server, tmp_path, told_length):
    server.told_length = told_length
    with pytest.raises(DataError, match="it is not the file that is meant"):
        fetch(server, tmp_path / "a.tar", limit=1000)
    assert not (tmp_path / "a.tar.part").exists()


def test_nobody_at_the_address_is_told_with_the_way_out(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}/a.tar"
    with pytest.raises(DataError, match=r"cannot be reached .*is this machine online\?.*--mirror"):
        transfer(address, tmp_path / "a.tar", LIMIT, patience=QUICK)


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/a.tar", "a.tar", "http://", "http://[::1"])
def test_what_is_no_address_is_told(tmp_path, address):
    with pytest.raises(DataError, match="an http or https address is needed"):
        transfer(address, tmp_path / "a.tar", LIMIT, patience=QUICK)


def test_a_silent_server_is_given_up(tmp_path):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}/a.tar"
        with pytest.raises(DataError, match=r"broke off after 0 bytes \(timed out|ReadTimeout"):
            transfer(address, tmp_path / "a.tar", LIMIT, patience=Patience(attempts=2, wait=0.01, silence=0.2))


def test_a_full_disk_is_told_and_gone_on_from_when_there_is_room(server, tmp_path):
    """The limit on the size of a file stands for the disk's end: the write fails in the same place."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(DataError, match=r"is full after 100000 bytes .*free some disk.*goes on from there"):
            fetch(server, tmp_path / "a.tar")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    fetch(server, tmp_path / "a.tar")
    assert server.asked[-1][1] == "bytes=100000-"
    assert (tmp_path / "a.tar").read_bytes() == BYTES
