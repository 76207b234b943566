"""A folder of pictures to a folder of answers: names, skipping, faults, and runs that were broken off."""

from __future__ import annotations

import io
import json
import time
from threading import Barrier, Event
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from data.errors import BundleError, ConfigError, DataError
from data.pixels import ENDINGS
from model.runtime.bundle import write_bundle
from model.runtime.engine import EngineConfig
from model.runtime.folder import FolderSummary, predict_folder
from model.runtime.labelling import Labelling
from model.runtime.pictures import find_pictures
from model.runtime.predictor import Predictor

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from model.runtime.bundle import Bundle

F32 = EngineConfig(precision="f32", threads=1)


def save(path: Path, image: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def predict(bundle: Bundle, pictures: Path, out: Path, **settings: Any) -> FolderSummary:
    settings.setdefault("console", Console(file=io.StringIO()))
    return predict_folder(bundle.root, pictures, out, F32, **settings)


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


@pytest.fixture
def pictures(tmp_path: Path, picture: NDArray[np.uint8]) -> Path:
    root = tmp_path / "pictures"
    save(root / "a.png", picture)
    save(root / "deep" / "er" / "b.BMP", picture[:20, :30])
    save(root / ".hidden.png", picture)
    save(root / ".thumbs" / "c.png", picture)
    (root / "notes.txt").write_text("no picture")
    return root


def test_every_picture_gets_a_palette_label_map_and_an_overlay_of_its_own_size(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path, picture_labels: NDArray[np.uint8]
) -> None:
    out = tmp_path / "out"
    summary = predict(tiny_bundle, pictures, out)
    assert (summary.written, summary.skipped, summary.failed) == (2, 0, ())
    assert files(out) == [
        "label_maps/a.png",
        "label_maps/deep/er/b.png",
        "manifest.json",
        "overlays/a.jpg",
        "overlays/deep/er/b.jpg",
        "predictions.jsonl",
    ]
    with Image.open(out / "label_maps" / "a.png") as label_map:
        assert label_map.mode == "P"
        assert label_map.getpalette()[3:6] == [255, 0, 0]
        assert (np.asarray(label_map) == picture_labels).all()
    with Image.open(out / "overlays" / "deep" / "er" / "b.jpg") as overlay:
        assert overlay.size == (30, 20)


def test_the_journal_tells_the_share_of_each_class(tiny_bundle: Bundle, pictures: Path, tmp_path: Path) -> None:
    predict(tiny_bundle, pictures, tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert lines[0]["picture"] == "a.png"
    assert lines[0]["classes"] == {"background": 0.25, "red": 0.25, "green": 0.25, "blue": 0.25}


def test_a_second_run_does_nothing_and_a_changed_picture_is_done_again(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    out = tmp_path / "out"
    predict(tiny_bundle, pictures, out)
    summary = predict(tiny_bundle, pictures, out)
    assert (summary.written, summary.skipped) == (0, 2)
    save(pictures / "a.png", picture[:, :40])
    summary = predict(tiny_bundle, pictures, out)
    assert (summary.written, summary.skipped) == (1, 1)
    with Image.open(out / "label_maps" / "a.png") as label_map:
        assert label_map.size == (40, 50)


def test_a_picture_whose_answer_is_gone_or_was_never_noted_is_done_again(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict(tiny_bundle, pictures, out)
    (out / "overlays" / "a.jpg").unlink()
    assert predict(tiny_bundle, pictures, out).written == 1
    journal = out / "predictions.jsonl"
    journal.write_text(journal.read_text().splitlines()[1][:40])  # killed within a line
    assert predict(tiny_bundle, pictures, out).written == 2
    assert predict(tiny_bundle, pictures, out).skipped == 2


def test_overlays_are_made_when_they_are_asked_for_later_or_with_another_opacity(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict(tiny_bundle, pictures, out, overlay=False)
    assert not (out / "overlays").exists()
    assert predict(tiny_bundle, pictures, out).written == 2
    assert predict(tiny_bundle, pictures, out, opacity=0.2).written == 2
    assert predict(tiny_bundle, pictures, out, overlay=False).skipped == 2


def test_a_bad_picture_is_reported_and_passed_over(tiny_bundle: Bundle, pictures: Path, tmp_path: Path) -> None:
    whole = (pictures / "a.png").read_bytes()
    (pictures / "[red]torn.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "text.jpg").write_text("not a picture")
    (pictures / "gone.jpg").symlink_to(pictures / "nowhere.jpg")
    shown = io.StringIO()
    summary = predict(tiny_bundle, pictures, tmp_path / "out", console=Console(file=shown))
    assert summary.written == 2
    assert sorted(path.name for path, _ in summary.failed) == ["[red]torn.png", "gone.jpg", "text.jpg"]
    assert all(str(path) in reason for path, reason in summary.failed)
    assert "[red]torn.png" in shown.getvalue()
    assert predict(tiny_bundle, pictures, tmp_path / "out").skipped == 2


def test_pictures_that_differ_in_their_ending_alone_keep_it(
    tiny_bundle: Bundle, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    for name in ("a.bmp", "a.png", "b.png"):
        save(tmp_path / "in" / name, picture)
    predict(tiny_bundle, tmp_path / "in", tmp_path / "out")
    assert files(tmp_path / "out" / "label_maps") == ["a.bmp.png", "a.png.png", "b.png"]


def test_a_twin_that_is_added_later_leaves_no_stale_answer(
    tiny_bundle: Bundle, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    save(tmp_path / "in" / "a.png", picture)
    predict(tiny_bundle, tmp_path / "in", tmp_path / "out")
    save(tmp_path / "in" / "a.bmp", picture)
    predict(tiny_bundle, tmp_path / "in", tmp_path / "out")
    assert files(tmp_path / "out" / "label_maps") == ["a.bmp.png", "a.png.png"]
    assert files(tmp_path / "out" / "overlays") == ["a.bmp.jpg", "a.png.jpg"]


def test_no_two_answers_share_a_name(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    for name in ("a.jpg", "a.png", "a.jpg.tif", "A.bmp", "d/a.png", "D/a.bmp", "D/e/x.png", "d/E/x.bmp", "e/x.png"):
        save(tmp_path / name, picture)
    stems = [found.stem for found in find_pictures(tmp_path)]
    assert len({stem.casefold() for stem in stems}) == 9
    assert {"D/a.bmp", "d/a.png", "D/e/x.png", "d/E/x.bmp", "e/x"} < set(stems)


def test_pictures_come_in_the_order_of_their_names_folder_by_folder(tmp_path: Path) -> None:
    names = ["B.png", "a/b/1.png", "a/b/10.png", "a/b.png", "a/c.png", "a-1.png", "b.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [found.path for found in find_pictures(tmp_path)] == sorted(tmp_path / name for name in names)


def test_answers_within_the_folder_of_pictures_are_not_segmented(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path
) -> None:
    assert predict(tiny_bundle, pictures, pictures / "out").written == 2
    again = predict(tiny_bundle, pictures, pictures / "out")
    assert (again.written, again.skipped) == (0, 2)
    assert predict(tiny_bundle, pictures, pictures / "other").written == 2
    assert predict(tiny_bundle, pictures, pictures).written == 2
    assert predict(tiny_bundle, pictures, pictures).skipped == 2


def test_a_link_that_goes_round_is_followed_once(pictures: Path, tmp_path: Path) -> None:
    (pictures / "round").symlink_to(pictures)
    (tmp_path / "elsewhere").mkdir()
    (pictures / "a.png").rename(tmp_path / "elsewhere" / "z.png")
    (pictures / "linked").symlink_to(tmp_path / "elsewhere")
    assert [found.name for found in find_pictures(pictures)] == ["deep/er/b.BMP", "linked/z.png"]


def test_one_file_is_segmented_by_itself(tiny_bundle: Bundle, pictures: Path, tmp_path: Path) -> None:
    predict(tiny_bundle, pictures / "a.png", tmp_path / "out")
    assert files(tmp_path / "out" / "label_maps") == ["a.png"]


def other_model(bundle: Bundle, root: Path) -> Bundle:
    """The same network under another graph name, so with another sha256."""
    import onnx

    model = onnx.load(bundle.model_path)
    model.graph.name = "other"
    return write_bundle(root, model.SerializeToString(), bundle.manifest)


def test_answers_of_two_models_are_never_mixed(tiny_bundle: Bundle, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(tiny_bundle, pictures, out)
    other = other_model(tiny_bundle, tmp_path / "other")
    with pytest.raises(ConfigError, match=f"{tiny_bundle.manifest.version}.*{other.manifest.version}.*--overwrite"):
        predict(other, pictures, out)
    assert predict(tiny_bundle, pictures, out).skipped == 2
    (pictures / "a.png").unlink()
    assert predict(other, pictures, out, overwrite=True).written == 1
    assert files(out / "label_maps") == ["deep/er/b.png"]
    assert json.loads((out / "manifest.json").read_text())["model_sha256"] == other.manifest.model_sha256


def test_overwrite_does_the_pictures_again_and_leaves_the_rest(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict(tiny_bundle, pictures, out)
    assert predict(tiny_bundle, pictures / "a.png", out, overwrite=True).written == 1
    assert files(out / "label_maps") == ["a.png", "deep/er/b.png"]


def test_a_folder_that_is_not_ours_is_refused(tiny_bundle: Bundle, pictures: Path, tmp_path: Path) -> None:
    save(tmp_path / "theirs" / "label_maps" / "a.png", np.zeros((2, 2), dtype=np.uint8))
    with pytest.raises(ConfigError, match="not made here"):
        predict(tiny_bundle, pictures, tmp_path / "theirs", overwrite=True)
    with pytest.raises(ConfigError, match="is a bundle"):
        predict(tiny_bundle, pictures, tiny_bundle.root)
    with pytest.raises(ConfigError, match="is a file"):
        predict(tiny_bundle, pictures, pictures / "notes.txt")


def test_a_journal_never_removes_files_outside_its_folder(tiny_bundle: Bundle, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(tiny_bundle, pictures, out)
    journal = out / "predictions.jsonl"
    journal.write_text(journal.read_text().replace("label_maps/a.png", "../pictures/a.png"))
    predict(other_model(tiny_bundle, tmp_path / "other"), pictures, out, overwrite=True)
    assert (pictures / "a.png").exists()


def test_what_cannot_be_segmented_is_refused_before_anything_is_written(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no picture"):
        predict(tiny_bundle, tmp_path / "empty", tmp_path / "out")
    with pytest.raises(DataError, match="does not exist"):
        predict(tiny_bundle, tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(ConfigError, match=r"opacity is 1\.5"):
        predict(tiny_bundle, pictures, tmp_path / "out", opacity=1.5)
    with pytest.raises(BundleError, match="is not a bundle"):
        predict_folder(pictures, pictures, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_partial_file_is_left(tiny_bundle: Bundle, pictures: Path, tmp_path: Path) -> None:
    predict(tiny_bundle, pictures, tmp_path / "out")
    assert not [name for name in files(tmp_path / "out") if "partial" in name]


def test_an_output_folder_that_cannot_be_written_is_a_clear_error(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "label_maps").write_text("a file where a folder belongs")
    with pytest.raises(ConfigError, match="cannot be written"):
        predict(tiny_bundle, pictures, tmp_path / "out")


def test_every_ending_that_a_data_set_may_have_is_found(tmp_path: Path) -> None:
    for ending in (*ENDINGS, ".txt", ".svg"):
        (tmp_path / f"picture{ending.upper()}").touch()
    assert {found.path.suffix.lower() for found in find_pictures(tmp_path)} == ENDINGS


class Slow:
    """A predictor that answers with the real one's answers, and watches how it is called."""

    def __init__(self, predictor: Predictor, together: int, tiles: int = 1) -> None:
        self._predictor = predictor
        self._barrier = Barrier(together)
        self._tiles = tiles
        self.begun = Event()
        self.tiles_done = 0

    def predict(self, image: NDArray[np.uint8], before_tile: Any) -> Any:
        self.begun.set()
        self._barrier.wait(timeout=20)  # broken, and so an error, where fewer come
        for _ in range(self._tiles):
            before_tile()
            time.sleep(0.01)
            self.tiles_done += 1
        return self._predictor.predict(image)


def test_as_many_pictures_are_in_the_network_at_once_as_the_engine_has_streams(
    tiny_bundle: Bundle, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    for index in range(6):
        save(tmp_path / "pictures" / f"{index}.png", np.roll(picture, index, axis=1))
    found = list(find_pictures(tmp_path / "pictures"))
    predictor = Predictor(tiny_bundle, F32)
    answers = []
    for out, used, at_once in (("one", predictor, 1), ("two", Slow(predictor, together=2), 2)):
        labelling = Labelling(tiny_bundle.manifest.labels, tmp_path / out, 0.5)
        assert [entry.picture for entry in labelling.run(found, used, at_once)] == [each.name for each in found]
        answers.append({name: (tmp_path / out / name).read_bytes() for name in files(tmp_path / out)})
    assert answers[0] == answers[1]
    assert len(answers[0]) == 12


def test_a_run_that_is_broken_off_leaves_a_large_picture_at_its_next_tile(
    tiny_bundle: Bundle, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    for name in "abc":
        save(tmp_path / "pictures" / f"{name}.png", picture)
    slow = Slow(Predictor(tiny_bundle, F32), together=1, tiles=2000)
    running = Labelling(tiny_bundle.manifest.labels, tmp_path / "out", None)

    def interrupted() -> Any:
        yield from find_pictures(tmp_path / "pictures")
        assert slow.begun.wait(20)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(running.run(interrupted(), slow))
    assert slow.tiles_done < 2000
    assert not files(tmp_path / "out")
