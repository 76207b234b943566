"""A folder labelled by a cluster: Ray on this machine, real actors, real deaths."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

import psutil
import pytest
from PIL import Image

from data.errors import ClusterError
from model import cluster as cluster_module
from model.cli import main
from model.cluster import RayWorkers
from model.ray_session import connected
from model.runtime.engine import EngineConfig
from model.runtime.folder import predict_folder
from model.runtime.labelling import Labelling
from model.runtime.pictures import find_pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from model.runtime.bundle import Bundle


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One cluster for all tests here, started as the command line starts it, and gone after them."""
    before = {process.pid for process in psutil.process_iter()}
    with connected("local"):
        yield
    end = time.monotonic() + 30
    while rays := [p for p in psutil.process_iter() if p.pid not in before and is_rays(p)]:
        assert time.monotonic() < end, rays
        time.sleep(0.2)


def is_rays(process: psutil.Process) -> bool:
    try:
        return process.ppid() in {1, os.getpid()} and "ray" in " ".join(process.cmdline())
    except psutil.Error:
        return False


@pytest.fixture
def pictures(tmp_path: Path, noise: Callable[[int, int], NDArray[np.uint8]]) -> Path:
    root = tmp_path / "pictures"
    (root / "deep").mkdir(parents=True)
    for index in range(12):
        folder = root / "deep" if index % 2 else root
        Image.fromarray(noise(40 + index, 50)).save(folder / f"{index:02d}.png")
    (root / "00.png").rename(root / os.fsdecode(b"\xff00.png"))  # a name that is no UTF-8
    return root


def files(root: Path) -> dict[str, bytes]:
    """Every file but the journal, whose lines come as they are done."""
    paths = (path for path in root.rglob("*") if path.is_file() and path.name != "predictions.jsonl")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def journal(out: Path) -> list[dict[str, object]]:
    lines = (out / "predictions.jsonl").read_text().splitlines()
    return sorted((json.loads(line) for line in lines), key=lambda line: line["picture"])


def test_a_cluster_gives_the_answers_of_one_process_and_each_goes_on_where_the_other_stopped(
    cluster: None, tiny_bundle: Bundle, pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    torn = (pictures / "02.png").read_bytes()
    (pictures / "torn.png").write_bytes(torn[: len(torn) // 2])
    options = [str(tiny_bundle.root), str(pictures), "--engine.precision=f32", "--engine.threads=1"]
    assert main(["predict", *options, "--out", str(tmp_path / "plain"), "--format=coco"]) == 1
    assert main(["predict", *options, "--out", str(tmp_path / "ray"), "--format=coco", "--cluster=local"]) == 1
    told = capfd.readouterr()
    assert told.out.count("12 labelled in") == 2
    assert told.out.count("0 done before, 1 could not be read") == 2
    assert told.err.count(f"passed over: {pictures / 'torn.png'}") == 2
    assert files(tmp_path / "ray") == files(tmp_path / "plain")
    assert journal(tmp_path / "ray") == journal(tmp_path / "plain")

    Image.new("RGB", (30, 20)).save(pictures / "new.png")
    (tmp_path / "ray" / "label_maps" / "02.png").unlink()
    assert main(["predict", *options, "--out", str(tmp_path / "ray"), "--cluster=auto"]) == 1
    assert "2 labelled in" in (said := capfd.readouterr().out)
    assert "11 done before" in said
    assert main(["predict", *options, "--out", str(tmp_path / "ray")]) == 1
    assert "0 labelled in" in (said := capfd.readouterr().out)
    assert "13 done before" in said


class Killer(threading.Thread):
    """Kills processes that are labelling: so many of them, then no more."""

    def __init__(self, most: float) -> None:
        super().__init__(daemon=True)
        self.killed: list[int] = []
        self.enough = threading.Event()
        self._most = most

    def run(self) -> None:
        while len(self.killed) < self._most and not self.enough.wait(0.01):
            for process in labelling():
                if process.pid not in self.killed:
                    self.killed.append(process.pid)
                    process.kill()

    def __enter__(self) -> Killer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.enough.set()
        self.join(10)


def labelling() -> list[psutil.Process]:
    """Processes at a task of theirs, as Ray names them for that time."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "_Labeller" in (words := " ".join(process.cmdline())) and ".submit" in words:
                found.append(process)
    return found


F32 = EngineConfig(precision="f32", threads=1)


def test_who_is_killed_while_labelling_is_replaced_and_no_picture_is_lost(
    cluster: None, tiny_bundle: Bundle, pictures: Path, tmp_path: Path
) -> None:
    with Killer(1) as killer:
        summary = predict_folder(tiny_bundle.root, pictures, tmp_path / "out", F32, workers=RayWorkers("auto"))
    assert len(killer.killed) == 1
    assert (summary.written, summary.failed) == (12, ())
    assert len(list((tmp_path / "out" / "label_maps").rglob("*.png"))) == 12


def test_a_picture_that_ends_every_process_is_passed_over(
    cluster: None, tiny_bundle: Bundle, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "_ATTEMPTS", 1)
    with Killer(inf) as killer:
        summary = predict_folder(
            tiny_bundle.root, pictures / "02.png", tmp_path / "out", F32, workers=RayWorkers("auto")
        )
    assert len(killer.killed) == 2  # once with others, once by itself
    assert summary.written == 0
    ((path, reason),) = summary.failed
    assert path == pictures / "02.png"
    assert "02.png ended 1 workers" in reason


def test_a_machine_that_sees_another_folder_is_told(
    cluster: None, own_bundle: Bundle, pictures: Path, tmp_path: Path
) -> None:
    labelling = Labelling(own_bundle.manifest.labels, tmp_path / "not shared", None)
    with pytest.raises(ClusterError, match=r"not shared is not the folder .* of model version None, .* all machines"):
        list(RayWorkers("auto").label(find_pictures(pictures), own_bundle, F32, labelling))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", r"no Ray cluster at '127\.0\.0\.1:1' \(.*refused\).*ray start --head"),
        ("127.0.0.1:99999", "no Ray cluster at"),
        ("ray://head:10001", "ray job submit"),
        ("head", "give local, auto, or HOST:PORT"),
    ],
)
def test_a_cluster_that_cannot_be_reached_is_told_at_once(
    address: str, message: str, tiny_bundle: Bundle, pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(ClusterError, match=message):
        predict_folder(tiny_bundle.root, pictures, tmp_path / "out", F32, workers=RayWorkers(address))


def test_without_ray_the_command_to_install_it_is_told(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not there
    command = ["predict", str(tiny_bundle.root), str(pictures), f"--out={tmp_path / 'out'}"]
    assert main([*command, "--cluster=local"]) == 1
    assert "pip install 'fcn-segmenter[ray]'" in capsys.readouterr().err
    assert main(command) == 0
