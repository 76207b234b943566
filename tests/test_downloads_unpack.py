"""Archives that are well made, damaged, or built to write where they should not."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile

import pytest

from data.archive import zip_comment
from data.downloads.unpack import unpack
from data.errors import DataError
from tests.archives import tarred, zipped


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "made"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"a" * 1000)
    (root / "deep" / "er" / "b.txt").write_bytes(b"b" * 2000)
    (root / "deep" / "._b.txt").write_bytes(b"of macOS")
    return root


def written(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", ["zip", "w:gz", "w:xz", "w:bz2", "w"])
def test_the_files_below_a_folder_are_written_and_nothing_else(folder, tmp_path, kind):
    archive = tmp_path / "archive"
    prefix = "repository-abc/data"
    archive.write_bytes(zipped(folder, prefix) if kind == "zip" else tarred(folder, prefix, kind))
    seen = []
    count = unpack(archive, tmp_path / "out", "*/data", seen=seen.append)
    assert (count, sum(seen)) == (2, 3000)
    assert written(tmp_path / "out") == ["a.txt", "deep/er/b.txt"]
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"a" * 1000
    assert unpack(archive, tmp_path / "less", "repository-abc/data", left=("deep",)) == 1
    with pytest.raises(DataError, match="holds no file below elsewhere/"):
        unpack(archive, tmp_path / "none", "elsewhere")


@pytest.mark.parametrize(
    "name", ["top/../../evil.txt", "/top/evil.txt", "../top/evil.txt", "top/..\\evil.txt", "top/C:evil"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_leads_out_is_refused(tmp_path, name, kind):
    archive = tmp_path / "archive"
    with archive.open("wb") as file:
        if kind == "zip":
            with zipfile.ZipFile(file, "w") as made:
                made.writestr(name, b"evil")
        else:
            with tarfile.open(fileobj=file, mode="w") as made:
                entry = tarfile.TarInfo(name)
                entry.size = 4
                made.addfile(entry, io.BytesIO(b"evil"))
    with pytest.raises(DataError, match="which leads out of it: it is not unpacked"):
        unpack(archive, tmp_path / "in" / "out", "top")
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    archive = tmp_path / "archive"
    with tarfile.open(archive, "w") as made:
        entry = tarfile.TarInfo("top/link")
        entry.type, entry.linkname = kind, "/etc/passwd"
        made.addfile(entry)
    with pytest.raises(DataError, match=r"'top/link', which is a link or device and no file"):
        unpack(archive, tmp_path / "out", "top")


def test_links_in_a_zip_are_refused(tmp_path):
    archive = tmp_path / "archive"
    with zipfile.ZipFile(archive, "w") as made:
        info = zipfile.ZipInfo("top/link")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        made.writestr(info, "/etc")
    with pytest.raises(DataError, match="a link or device and no file"):
        unpack(archive, tmp_path / "out", "top")


def test_more_bytes_than_expected_are_refused_whatever_the_headers_say(folder, tmp_path):
    (folder / "bomb").write_bytes(bytes(5_000_000))
    archive = tmp_path / "archive"
    for data in (zipped(folder, "top"), tarred(folder, "top")):
        archive.write_bytes(data)
        assert len(data) < 50_000
        with pytest.raises(DataError, match="holds more than 1000000 bytes"):
            unpack(archive, tmp_path / f"out{len(data)}", "top", limit=1_000_000)


@pytest.mark.parametrize("kind", ["zip", "w:gz", "w:xz", "w:bz2", "w"])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_archive_is_told(folder, tmp_path, kind, damage):
    """Of a plain tar, which has no checksum of its data, only what is missing can be seen."""
    archive = tmp_path / "archive"
    data = zipped(folder, "top") if kind == "zip" else tarred(folder, "top", kind)
    if damage == "flipped" and kind != "w":
        middle = len(data) // 3
        data = data[:middle] + bytes(byte ^ 0xFF for byte in data[middle : middle + 8]) + data[middle + 8 :]
    else:
        data = data[: data.rindex(b"b" * 1000) + 500] if kind == "w" else data[: 2 * len(data) // 3]
    archive.write_bytes(data)
    with pytest.raises(DataError, match=r"is damaged|neither a zip nor a tar"):
        unpack(archive, tmp_path / "out", "top")


def test_a_page_that_came_instead_of_an_archive_is_shown_by_its_beginning(tmp_path):
    archive = tmp_path / "archive.zip"
    archive.write_bytes(b"<!DOCTYPE html><html>please log in</html>")
    with pytest.raises(DataError, match=r"neither a zip nor a tar archive; it begins with b'<!DOCTYPE html>"):
        unpack(archive, tmp_path / "out", "top")
    assert zip_comment(archive) == ""


def test_the_comment_of_a_zip_is_read(folder, tmp_path):
    archive = tmp_path / "archive.zip"
    archive.write_bytes(zipped(folder, "top", "fcaf7c4978"))
    assert zip_comment(archive) == "fcaf7c4978"


def test_an_encrypted_zip_is_told(folder, tmp_path):
    archive = tmp_path / "archive.zip"
    data = bytearray(zipped(folder, "top"))
    for at in [i for i in range(len(data)) if data[i : i + 4] in (b"PK\1\2", b"PK\3\4")]:
        data[at + (8 if data[at + 2] == 1 else 6)] |= 1
    archive.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"cannot be unpacked .*password"):
        unpack(archive, tmp_path / "out", "top")
