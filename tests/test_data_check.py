"""The check of a data set: each fault that a person can make is told, all of them at once."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from data.check import check_source, run_check
from data.check_report import CheckReport
from data.sources.catalogue import SourceConfig

SIZE = (64, 80)


def write_pair(root: Path, name: str, mask: NDArray[np.uint8] | None = None) -> None:
    for folder in ("images", "masks"):
        (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(list(os.fsencode(name)))
    image = np.full((*SIZE, 3), random.integers(0, 256, 3, dtype=np.uint8))
    image[:8] = random.integers(0, 256, (8, SIZE[1], 3))
    Image.fromarray(image).save(root / "images" / f"{name}.png")
    Image.fromarray(sound_mask() if mask is None else mask).save(root / "masks" / f"{name}.png")


def sound_mask() -> NDArray[np.uint8]:
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[:16] = 1
    mask[:, 70:] = 255
    return mask


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A set without a fault or warning: 20 training and 5 validation pictures."""
    names = [f"p{index:02}" for index in range(25)]
    for name in names:
        write_pair(tmp_path, name)
    (tmp_path / "labels.txt").write_text("ground\ncat\n")
    (tmp_path / "train.txt").write_text("\n".join(names[:20]))
    (tmp_path / "val.txt").write_text("\n".join(names[20:]))
    return tmp_path


def check(root: Path, **settings: object) -> CheckReport:
    return check_source(SourceConfig(root=root, **settings))  # type: ignore[arg-type]  # settings differ by test


def codes(report: CheckReport) -> tuple[list[str], list[str]]:
    return [fault.code for fault in report.faults], [warning.code for warning in report.warnings]


def message(report: CheckReport, code: str) -> str:
    return next(finding.message for finding in report.findings if finding.code == code)


def test_a_sound_set_has_no_finding_and_its_numbers_are_right(root: Path) -> None:
    report = check(root)
    assert codes(report) == ([], [])
    assert report.exit_code == 0
    train = report.splits["train"]
    assert (train.pictures, report.splits["val"].pictures) == (20, 5)
    assert train.sizes == (((80, 64), 20),)
    assert train.class_pixels == (20 * 48 * 70, 20 * 16 * 70)
    assert train.class_pictures == (20, 20)
    assert train.ignored_pixels == 20 * 64 * 10
    assert report.origin == "train.txt, val.txt"


def change_nothing_else(root: Path, change: Callable[[Path], object]) -> CheckReport:
    change(root)
    return check(root)


def remove(root: Path, name: str) -> None:
    (root / name).unlink()


def append(root: Path, name: str, line: str) -> None:
    with (root / name).open("a") as file:
        file.write(f"\n{line}\n")


def write_mask(root: Path, mask: NDArray[np.generic], name: str = "p00") -> None:
    Image.fromarray(mask).save(root / "masks" / f"{name}.png")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:80])


@pytest.mark.parametrize(
    ("code", "change", "says"),
    [
        ("mask-missing", lambda r: remove(r, "masks/p03.png"), "without a mask: 1 of 25"),
        (
            "name-twice",
            lambda r: Image.new("RGB", (80, 64)).save(r / "images" / "p03.jpg"),
            "share their name with another one of another ending: 1",
        ),
        ("split-unknown", lambda r: append(r, "train.txt", "nobody"), "that name no picture of this set: 1"),
        ("split-overlap", lambda r: append(r, "val.txt", "p03"), "in more than one split: 1"),
        ("picture-unreadable", lambda r: cut(r / "images" / "p03.png"), "p03.png: the picture is damaged"),
        ("picture-unreadable", lambda r: (r / "images" / "p03.png").write_text("hello"), "not a picture in a known"),
        ("picture-unreadable", lambda r: (r / "images" / "p03.png").write_bytes(b""), "empty (0 bytes)"),
        ("mask-unusable", lambda r: cut(r / "masks" / "p03.png"), "p03.png"),
        ("size-mismatch", lambda r: write_mask(r, sound_mask()[1:]), "is 80x64 but its mask"),
        ("label-unknown", lambda r: write_mask(r, np.full(SIZE, 42, np.uint8)), "holds label 42 (5120 pixels)"),
        ("label-unknown", lambda r: write_mask(r, np.full(SIZE, 700, np.uint16)), "holds label 700"),
        ("label-unknown", lambda r: write_mask(r, np.full((*SIZE, 3), 9, np.uint8)), "have colour (9, 9, 9)"),
        ("label-file", lambda r: remove(r, "labels.txt"), "2 lines for the labels 0..1"),
        ("label-file", lambda r: (r / "labels.txt").write_text("a\na\n"), "'a' stands twice"),
        ("one-class", lambda r: (r / "labels.txt").write_text("cat\n"), "names 'cat' alone; two classes are needed"),
    ],
)
def test_each_fault_is_told_and_is_no_exception(
    root: Path, code: str, change: Callable[[Path], object], says: str
) -> None:
    report = change_nothing_else(root, change)
    assert code in codes(report)[0]
    assert says in message(report, code)
    assert report.exit_code == 1


@pytest.mark.parametrize(
    ("code", "change", "says"),
    [
        ("mask-stray", lambda r: write_mask(r, sound_mask(), "nobody"), "belong to no picture: 1"),
        ("file-unread", lambda r: (r / "images" / "p.heic").write_text("x"), "(.heic): 1"),
        ("split-repeated", lambda r: append(r, "train.txt", "p03"), "repeated lines in split files: 1"),
        ("picture-unused", lambda r: write_pair(r, "more"), "in no split: 1 of 26"),
        ("mask-kinds", lambda r: write_mask(r, np.zeros((*SIZE, 3), np.uint8)), "24 of mode L, 1 of mode RGB"),
        ("mask-blank", lambda r: write_mask(r, np.full(SIZE, 255, np.uint8)), "255 (ignored): 1"),
        ("class-absent-train", lambda r: append(r, "labels.txt", "dog"), "cannot be learnt: 1 of 3 (dog)"),
        ("class-absent-val", lambda r: append(r, "labels.txt", "dog"), "have no validation score: 1 of 3 (dog)"),
        ("split-small", lambda r: (r / "val.txt").write_text("p20"), "split val has 1 picture:"),
    ],
)
def test_each_warning_is_told_and_leaves_the_exit_code_at_nought(
    root: Path, code: str, change: Callable[[Path], object], says: str
) -> None:
    report = change_nothing_else(root, change)
    assert code in codes(report)[1]
    assert says in message(report, code)
    assert not report.faults
    assert report.exit_code == 0


def test_all_faults_are_told_at_once(root: Path) -> None:
    remove(root, "masks/p01.png")
    cut(root / "images" / "p02.png")
    write_mask(root, np.full((9, 9), 42, np.uint8), "p02")
    write_mask(root, np.full((9, 9), 42, np.uint8), "p03")
    append(root, "val.txt", "p04")
    append(root, "val.txt", "nobody")
    report = check(root)
    assert set(codes(report)[0]) == {
        "mask-missing",
        "picture-unreadable",
        "label-unknown",
        "size-mismatch",
        "split-overlap",
        "split-unknown",
    }
    labels = next(fault for fault in report.faults if fault.code == "label-unknown")
    assert len(labels.where) == 2
    assert labels.message.startswith("2 files; the first: ")


def test_a_picture_copied_under_another_name_into_another_split_is_a_leak(root: Path) -> None:
    # Compressed anew: other bytes, the same pixels.
    Image.open(root / "images" / "p00.png").save(root / "images" / "p24.png", compress_level=0)
    report = check(root)
    assert codes(report) == (["picture-leak"], [])
    assert report.faults[0].where == ("train/p00 = val/p24",)
    (root / "images" / "p01.png").write_bytes((root / "images" / "p02.png").read_bytes())
    assert codes(check(root)) == (["picture-leak"], ["picture-twice"])


def test_masks_of_nothing_but_0_and_255_are_a_fault_until_255_is_a_class(root: Path) -> None:
    white = np.where(sound_mask() == 1, 255, 0).astype(np.uint8)
    for path in (root / "masks").iterdir():
        write_mask(root, white, path.stem)
    report = check(root)
    assert codes(report)[0] == ["mask-black-white"]
    assert "--remap.255 1" in report.faults[0].message
    assert codes(check(root, remap={255: 1})) == ([], [])
    remove(root, "labels.txt")
    (root / "labelmap.txt").write_text("ground:0,0,0::\ncat:255,255,255::\n")
    assert codes(check(root)) == ([], [])


def test_a_training_split_of_one_class_is_a_fault(root: Path) -> None:
    for path in (root / "masks").iterdir():
        write_mask(root, np.zeros(SIZE, np.uint8), path.stem)
    assert "every labelled training pixel is 'ground'" in message(check(root), "train-one-class")


def test_a_split_without_a_labelled_pixel_is_a_fault(root: Path) -> None:
    for index in range(20, 25):
        write_mask(root, np.full(SIZE, 255, np.uint8), f"p{index}")
    assert codes(check(root)) == (["split-blank"], ["mask-blank"])


def test_a_rare_class_is_told(root: Path) -> None:
    for path in (root / "masks").iterdir():
        mask = np.zeros(SIZE, np.uint8)
        mask[0, :4] = 1
        write_mask(root, mask, path.stem)
    assert "less than 0.1% of the labelled training pixels: 1 (cat)" in message(check(root), "class-rare")


def test_one_picture_is_too_few(tmp_path: Path) -> None:
    write_pair(tmp_path, "only")
    (tmp_path / "labels.txt").write_text("ground\ncat\n")
    assert codes(check(tmp_path)) == (["split-empty"], ["split-small"])


def test_a_folder_that_is_no_data_set_is_a_fault_and_no_exception(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert codes(check(folder))[0] == ["layout"]
    assert codes(check_source(SourceConfig(root=None)))[0] == ["layout"]


def test_camvid_is_checked_and_recognised(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 2)):
        for folder in (split, f"{split}annot"):
            (tmp_path / folder).mkdir()
        for index in range(count):
            picture = np.random.default_rng(index + 10 * count).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / split / f"{index}.png")
            Image.fromarray(picture[..., 0] % 12).save(tmp_path / f"{split}annot" / f"{index}.png")
    report = check_source(SourceConfig(name="camvid", root=tmp_path))
    assert codes(report) == ([], ["split-small", "split-small"])
    remove(tmp_path, "trainannot/1.png")
    cut(tmp_path / "val" / "0.png")
    write = Image.fromarray(np.full(SIZE, 40, np.uint8))
    write.save(tmp_path / "trainannot" / "0.png")
    report = check_source(SourceConfig(name="camvid", root=tmp_path))
    assert set(codes(report)[0]) == {"mask-unusable", "picture-unreadable", "label-unknown"}
    assert "--source camvid" in check(tmp_path).faults[0].message


def test_shapes_are_without_a_fault() -> None:
    report = check_source(SourceConfig(name="shapes", train_size=20, val_size=5, image_size=(96, 128)))
    assert codes(report) == ([], [])


def test_json_has_stable_keys(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    append(root, "val.txt", "p03")
    assert run_check(root, json=True) == 1
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert not captured.err
    assert list(report) == [
        "schema_version",
        "ok",
        "source",
        "root",
        "split_origin",
        "labels",
        "splits",
        "faults",
        "warnings",
    ]
    assert report["ok"] is False
    assert report["labels"][1] == {"index": 1, "name": "cat", "colour": [128, 0, 0]}
    assert report["splits"]["train"]["sizes"] == [{"width": 80, "height": 64, "pictures": 20}]
    assert report["splits"]["train"]["classes"][1] == {
        "index": 1,
        "name": "cat",
        "pixels": 22400,
        "pixel_share": 0.25,
        "pictures": 20,
    }
    assert report["faults"] == [{"code": "split-overlap", "message": report["faults"][0]["message"], "where": ["p03"]}]


def test_people_get_tables_and_sentences(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remove(root, "labels.txt")
    (root / "labels.txt").write_text("[bold]ground\ncat\n")
    for index in range(8):
        remove(root, f"masks/p0{index}.png")
    assert run_check(root) == 1
    out = capsys.readouterr().out
    for text in (
        "[bold]ground",
        "80x64 (20)",
        "75.00%",
        "fault mask-missing pictures without a mask: 8 of 25",
        "and 3 more",
        "1 fault, 0 warnings",
    ):
        assert text in out


def test_one_picture_without_a_mask_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remove(root, "masks/p03.png")
    run_check(root)
    assert "p03.png" in capsys.readouterr().out


def test_labels_may_be_changed(root: Path) -> None:
    write_mask(root, np.full(SIZE, 42, np.uint8))
    assert run_check(root) == 1
    assert run_check(root, remap={42: 0}) == 0


def test_names_that_are_not_unicode_are_printed_and_not_a_crash(root: Path) -> None:
    try:
        write_pair(root, os.fsdecode(b"\xff\xfe bad"), np.full(SIZE, 9, np.uint8))
    except OSError:
        return  # this file system holds Unicode names only
    (root / "train.txt").unlink()
    for arguments in ("", ", json=True"):
        code = f"import sys, pathlib, data.check as c; sys.exit(c.run_check(pathlib.Path(sys.argv[1]){arguments}))"
        done = run_python(["-c", code, str(root)])
        assert done.returncode == 1
        assert "label 9" in done.stdout
        assert "Traceback" not in done.stderr


def run_python(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[1],
    )
