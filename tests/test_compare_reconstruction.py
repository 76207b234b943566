"""Pictures reduced and brought back: what reduces, what learns, how it is scored, kept and told."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import resource
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from data.decoded import DecodedSplit
from data.errors import ConfigError, RunError
from data.sources.catalogue import SourceConfig
from model.compare.config import CompareConfig
from model.compare.experiment import compare
from model.compare.reconstruction.experiment import LARGEST_SIDE, bring_back, reconstruct
from model.compare.reconstruction.methods import FIXED, LINEAR, METHODS, Encoder, Method, Reduction, linear_kernel
from model.compare.reconstruction.results import keys, part_file, read_originals, read_part, read_parts
from model.compare.reconstruction.scores import psnr, ssim
from model.compare.reconstruction.section import open_section
from model.compare.reconstruction.summary import summarise_reconstruction
from model.compare.reconstruction.training import Recipe, crops, train_method
from model.compare.record import json_bytes
from model.compare.report import write_report
from model.config import TrainConfig
from model.convolution import convolution_matrix
from model.upsample import bilinear_kernel
from tests.test_compare_report import Page, make_comparison

if TYPE_CHECKING:
    from collections.abc import Iterator


LEARNED = [name for name in METHODS if name not in FIXED]
SMALL = CompareConfig(
    TrainConfig(SourceConfig("shapes")), strides=(8,), seeds=2, pictures=1, bootstrap=200, reconstruction_steps=3
)


def smooth_pictures(count: int, height: int = 40, width: int = 56) -> DecodedSplit:
    """Blurred noise in full contrast: what lies between the pixels of a summary can be told from them."""
    found = DecodedSplit()
    for index in range(count):
        noise = np.random.default_rng(index).normal(size=(height, width, 3)).astype(np.float32)
        blurred = cv2.GaussianBlur(noise, (0, 0), 2.5)
        found.names.append(f"smooth_{index}")
        found.images.append((127.5 + 45 * blurred / blurred.std()).clip(0, 255).round().astype(np.uint8))
    return found


def plain_pictures(*levels: int, size: tuple[int, int] = (24, 32)) -> DecodedSplit:
    return DecodedSplit([f"plain_{level}" for level in levels], [np.full((*size, 3), v, np.uint8) for v in levels])


def scores(root: Path, config: CompareConfig) -> dict[Any, tuple[list[float], list[float]]]:
    parts, _, missing = read_parts(root, config.to_dict())
    assert missing == []
    return {key: (part.psnr, part.ssim) for key, part in parts.items()}


@contextmanager
def small_disk(bytes_left: int) -> Iterator[None]:
    """No file may grow beyond some bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# Scores


def test_psnr_is_that_of_the_formula() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    restored = picture.copy()
    restored[0, 0, 0], restored[1, 1, 2] = 6, 12
    assert psnr(restored, picture) == pytest.approx(10 * math.log10(255**2 / ((36 + 144) / 12)))
    assert psnr(picture, picture) == math.inf


def test_ssim_is_that_of_the_formula_written_out() -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (13, 12, 3), dtype=np.uint8)
    restored = (picture * 0.8 + random.integers(0, 40, picture.shape)).astype(np.uint8)
    steps = np.arange(11) - 5
    window = np.exp(-(steps[:, None] ** 2 + steps**2) / (2 * 1.5**2))
    window /= window.sum()
    found = []
    for top in range(3):
        for left in range(2):
            for colour in range(3):
                x = restored[top : top + 11, left : left + 11, colour].astype(float)
                y = picture[top : top + 11, left : left + 11, colour].astype(float)
                mx, my = (window * x).sum(), (window * y).sum()
                vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
                cov = (window * (x - mx) * (y - my)).sum()
                c1, c2 = 2.55**2, 7.65**2
                found.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    assert ssim(restored, picture) == pytest.approx(np.mean(found), abs=1e-5)


def test_scores_are_those_of_torchmetrics() -> None:
    picture = smooth_pictures(1).images[0]
    noise = np.random.default_rng(1).normal(0, 9, picture.shape)
    restored = (picture + noise).clip(0, 255).round().astype(np.uint8)
    one, other = (torch.from_numpy(p.astype(np.float64)).permute(2, 0, 1)[None] for p in (restored, picture))
    _, everywhere = structural_similarity_index_measure(one, other, data_range=255.0, return_full_image=True)
    assert ssim(restored, picture) == pytest.approx(float(everywhere[..., 5:-5, 5:-5].mean()), abs=1e-5)
    assert psnr(restored, picture) == pytest.approx(float(peak_signal_noise_ratio(one, other, data_range=255.0)))
    assert ssim(picture, picture) == pytest.approx(1)


def test_a_picture_below_the_window_has_no_ssim() -> None:
    assert math.isnan(ssim(np.zeros((10, 40, 3), np.uint8), np.zeros((10, 40, 3), np.uint8)))


# What reduces and what brings back


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_the_reduction_is_a_strided_convolution_matrix(factor: int) -> None:
    height, width = 3 * factor, 4 * factor
    image = torch.rand(1, 3, height, width)
    found = Reduction(factor)(image)[0].numpy()
    kernel = bilinear_kernel(factor).double().numpy() / factor**2
    edge = factor // 2
    for colour in range(3):
        padded = np.pad(image[0, colour].double().numpy(), edge, mode="edge")
        matrix = convolution_matrix(kernel, padded.shape, stride=factor)  # type: ignore[arg-type]
        expected = (matrix @ padded.ravel()).reshape(3, 4)
        assert found[colour] == pytest.approx(expected, abs=1e-6)


def test_the_reduction_is_that_of_a_picture_library_away_from_the_border() -> None:
    image = smooth_pictures(1).images[0]
    expected = np.asarray(Image.fromarray(image).resize((14, 10), Image.Resampling.BILINEAR)).astype(int)
    found = bring_back(Method("nearest", 4), image, 4).summary.astype(int)
    assert np.abs(found - expected)[1:-1, 1:-1].max() <= 1


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("name", LEARNED)
def test_everything_that_learns_begins_as_bilinear_interpolation(name: Any, factor: int) -> None:
    image = smooth_pictures(1, 37, 51).images[0]  # no multiples of a factor
    untrained, _, _ = train_method(name, [image], Recipe(factor, 0), 3)
    ours = bring_back(untrained, image, factor)
    theirs = bring_back(Method("bilinear", factor), image, factor)
    assert ours.restored.shape == image.shape
    # A value that lies between two bytes may be rounded to either.
    assert np.abs(ours.restored.astype(int) - theirs.restored).max() <= 1
    assert np.array_equal(ours.summary, theirs.summary)
    assert psnr(ours.restored, image) == pytest.approx(psnr(theirs.restored, image), abs=0.01)
    assert ssim(ours.restored, image) == pytest.approx(ssim(theirs.restored, image), abs=1e-4)


def test_every_summary_has_one_byte_for_each_colour_of_each_square() -> None:
    images = torch.rand(1, 3, 32, 48)
    for name in METHODS:
        method = Method(name, 4)
        if isinstance(method.reduce, Encoder):
            with torch.no_grad():
                method.reduce.added[-1].weight.normal_()  # type: ignore[operator, union-attr]
        summary = method.summary(images).detach()
        assert summary.shape == (1, 3, 8, 12)
        assert 255 * summary == pytest.approx((255 * summary).round(), abs=1e-4)
        assert 0 <= summary.min() <= summary.max() <= 1


def test_the_kernel_of_a_linear_method_is_what_its_weights_say() -> None:
    frame = np.pad(bilinear_kernel(4).numpy(), 4)
    for name in ("bilinear", *LINEAR):
        assert linear_kernel(Method(name, 4).restore, 4)[1] == pytest.approx(frame, abs=1e-6)
    method = Method("learned-wide", 4)
    with torch.no_grad():
        method.restore.weight.normal_()  # type: ignore[operator, union-attr]
    assert linear_kernel(method.restore, 4) == pytest.approx(method.restore.weight.detach().numpy()[:, 0], abs=1e-6)  # type: ignore[union-attr, operator]
    bicubic = linear_kernel(Method("bicubic", 4).restore, 4)[0]
    assert bicubic.sum() == pytest.approx(16, abs=1e-4)  # all of it: nothing is cut
    assert bicubic.min() < -0.01


# Training


@pytest.mark.parametrize("name", ["learned-wide", "learned-decoder"])
def test_training_improves_on_interpolation_on_pictures_made_for_it(name: Any) -> None:
    recipe = Recipe(4, 80)
    method, losses, _ = train_method(name, smooth_pictures(4, 80, 80).images, recipe, 0)
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])
    picture = smooth_pictures(6).images[-1]
    found = {
        n: psnr(bring_back(m, picture, 4).restored, picture)
        for n, m in ((name, method), ("bicubic", Method("bicubic", 4)))
    }
    assert found[name] > found["bicubic"] + 1


def test_crops_follow_from_seed_and_step_and_fit_small_pictures() -> None:
    images = [smooth_pictures(1, 20, 90).images[0], smooth_pictures(1, 100, 5).images[0]]
    recipe = Recipe(4, 1)
    first = crops(images, recipe, 0, 7)
    assert first.shape == (4, 64, 64, 3)
    assert np.array_equal(first, crops(images, recipe, 0, 7))
    assert not np.array_equal(first, crops(images, recipe, 1, 7))


def test_a_loss_that_is_not_finite_is_told() -> None:
    with pytest.raises(RunError, match=r"the loss of learned, seed 4, is .* --reconstruction false"):
        train_method("learned", smooth_pictures(1).images, Recipe(4, 40, linear_rate=1e30), 4)


# What is kept


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reconstruction")
    reconstruct(SMALL, root, smooth_pictures(3), smooth_pictures(5), lambda _: None)
    return root


def test_the_same_seed_gives_the_same_scores_and_leaves_torchs_randomness_alone(done: Path, tmp_path: Path) -> None:
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    reconstruct(SMALL, tmp_path, smooth_pictures(3), smooth_pictures(5), lambda _: None)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert scores(tmp_path, SMALL) == scores(done, SMALL)
    for key in keys(SMALL.seed_values):
        one, other = (part_file(root, key).with_suffix(".npz").read_bytes() for root in (done, tmp_path))
        assert one == other
    found = scores(done, SMALL)
    assert found["autoencoder", 0] != found["autoencoder", 1]


def test_done_parts_are_kept_and_what_is_missing_or_damaged_is_made_again(done: Path, tmp_path: Path) -> None:
    root = tmp_path / "c"
    _copy(done, root)
    gone, damaged = part_file(root, ("learned", 1)), part_file(root, ("bicubic", None))
    gone.unlink()
    damaged.write_bytes(damaged.read_bytes()[:99])
    stamps = {p: p.stat().st_mtime_ns for p in (root / "reconstruction").glob("*.json") if p not in (gone, damaged)}
    told: list[str] = []
    reconstruct(SMALL, root, smooth_pictures(3), smooth_pictures(5), told.append)
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    assert any("bicubic.json is damaged" in line for line in told)
    assert any("2 of 13 parts" in line for line in told)
    assert scores(root, SMALL) == scores(done, SMALL)
    told.clear()
    reconstruct(SMALL, root, smooth_pictures(3), smooth_pictures(5), told.append)
    assert told == []


def test_a_seed_may_be_added_and_another_recipe_is_made_again(done: Path, tmp_path: Path) -> None:
    root = tmp_path / "c"
    _copy(done, root)
    told: list[str] = []
    more = dataclasses.replace(SMALL, seeds=3)
    reconstruct(more, root, smooth_pictures(3), smooth_pictures(5), told.append)
    assert any("5 of 18 parts" in line for line in told)
    other = dataclasses.replace(SMALL, reconstruction_factor=2)
    reconstruct(other, root, smooth_pictures(3), smooth_pictures(5), told.append)
    assert any("bicubic has other pictures or another recipe" in line for line in told)
    assert read_parts(root, other.to_dict())[1] == [0, 1]
    parts, complete, missing = read_parts(root, more.to_dict())
    assert complete == []
    assert set(parts) == {(name, 2) for name in LEARNED}  # what was not made again is still of the first recipe
    assert len(missing) == 13


def test_no_pictures_are_kept_where_none_are_shown(done: Path, tmp_path: Path) -> None:
    root = tmp_path / "c"
    _copy(done, root)
    assert list(read_originals(root)) == ["smooth_0"]
    assert read_part(part_file(root, ("learned", 0))).shown["smooth_0"].summary.shape == (10, 14, 3)
    assert read_part(part_file(root, ("learned", 1))).shown == {}
    none = dataclasses.replace(SMALL, pictures=0)
    reconstruct(none, root, smooth_pictures(3), smooth_pictures(5), lambda _: None)
    assert read_originals(root) == {}
    for path in (root / "reconstruction").glob("*.npz"):
        with np.load(path) as arrays:
            assert set(arrays.files) <= {"kernel", "names"}
    assert scores(root, none) == scores(done, SMALL)
    more = dataclasses.replace(SMALL, pictures=2)
    reconstruct(more, root, smooth_pictures(3), smooth_pictures(5), lambda _: None)
    assert list(read_originals(root)) == ["smooth_0", "smooth_4"]
    assert list(read_part(part_file(root, ("autoencoder", 0))).shown) == ["smooth_0", "smooth_4"]


def test_many_and_large_pictures_are_cut_to_some(tmp_path: Path) -> None:
    many = smooth_pictures(40, 12, 12)
    many.images[0] = np.zeros((16, LARGEST_SIDE + 60, 3), np.uint8)
    many.images[0][:, 30] = 255  # the first column that is kept
    config = dataclasses.replace(SMALL, seeds=1)
    reconstruct(config, tmp_path, smooth_pictures(1), many, lambda _: None)
    part = read_part(part_file(tmp_path, ("nearest", None)))
    assert len(part.pictures) == 32
    assert (part.pictures[0], part.pictures[-1]) == ("smooth_0", "smooth_39")
    original = read_originals(tmp_path)["smooth_0"]
    assert original.shape == (16, LARGEST_SIDE, 3)
    assert original[0, 0, 0] == 255


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with small_disk(600), pytest.raises(RunError, match="free some disk"):
        reconstruct(SMALL, tmp_path, smooth_pictures(1), smooth_pictures(1), lambda _: None)
    assert not list(tmp_path.rglob("*.part"))


def _copy(done: Path, root: Path) -> None:
    (root / "reconstruction").mkdir(parents=True)
    for path in (done / "reconstruction").iterdir():
        (root / "reconstruction" / path.name).write_bytes(path.read_bytes())


# What is told


def summary(root: Path, config: CompareConfig) -> dict[str, Any]:
    parts, seeds, _ = read_parts(root, config.to_dict())
    found: dict[str, Any] = json.loads(json_bytes(summarise_reconstruction(config.to_dict(), parts, seeds)))
    return found


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_comparison(tmp_path_factory.mktemp("told") / "c", SMALL, {"bilinear": 0.5, "learned": 0.4})
    reconstruct(SMALL, folder.root, smooth_pictures(3), smooth_pictures(5), lambda _: None)
    write_report(folder)
    return folder.root


def test_the_report_holds_the_means_and_paired_differences_of_the_scores(page_folder: Path) -> None:
    report = json.loads((page_folder / "report.json").read_text(encoding="utf-8"))
    found = report["reconstruction"]
    kept = scores(page_folder, SMALL)
    assert report["missing"] == []
    assert found["psnr_pictures"] == found["ssim_pictures"] == found["scored_pictures"] == 5
    random = np.random.default_rng([0, 5])
    drawn = random.multinomial(5, [0.2] * 5, size=200)
    for method in found["methods"]:
        seeds = [None, None] if method["name"] in FIXED else [0, 1]
        for index, score in enumerate(("psnr", "ssim")):
            mine = np.array([kept[method["name"], seed][index] for seed in seeds])
            base = np.array(kept["bicubic", None][index])
            assert method[score]["mean"] == pytest.approx(mine.mean())
            if method["name"] == "bicubic":
                assert method[f"{score}_from_bicubic"] is None
                continue
            difference = method[f"{score}_from_bicubic"]
            assert difference["mean"] == pytest.approx((mine - base).mean())
            replicates = drawn @ (mine - base).mean(axis=0) / 5
            low, high = np.quantile(replicates, [0.025, 0.975])
            assert difference["over_pictures"]["low"] == pytest.approx(low)
            assert difference["over_pictures"]["high"] == pytest.approx(high)
            if method["name"] not in FIXED:
                one, other = (mine - base).mean(axis=1)
                half = 12.7062 * abs(one - other) / 2  # t of one degree of freedom; s / sqrt 2 of two values
                assert difference["over_seeds"]["high"] == pytest.approx((one + other) / 2 + half, rel=1e-4)


def test_the_pages_say_what_the_numbers_say(page_folder: Path) -> None:
    found = json.loads((page_folder / "report.json").read_text(encoding="utf-8"))["reconstruction"]
    text = (page_folder / "report.html").read_text(encoding="utf-8")
    parsed = Page()
    parsed.feed(text)
    assert not parsed.open
    assert {"reconstruction", "reconstructed", "restoring"} <= set(parsed.ids)
    assert len(set(parsed.ids)) == len(parsed.ids)
    section = text.split('<section id="reconstruction">')[1].split("</section>")[0]
    assert section.count("<img") == 3 + 8 + 8
    assert found["sentences"][0].split("(")[0].replace("'", "&#39;") in section
    plain = (page_folder / "report.md").read_text(encoding="utf-8").split("## Reconstruction")[1].split("\n## ")[0]
    rows = [line for line in plain.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(METHODS)
    assert all(line.endswith("|") and line.count("|") == 11 for line in rows)
    for method in found["methods"]:
        assert f"| {method['name']} | " in plain
        assert f"{method['psnr']['mean']:.2f}" in section
        assert f"{method['psnr']['mean']:.2f}" in plain
    css = (Path(__file__).parent.parent / "model/compare/report.css").read_text(encoding="utf-8")
    assert all(f"{variable}:" in css for variable in set(re.findall(r"var\((--[\w-]+)\)", section)))
    assert "#0b0c" not in section


def test_the_report_is_made_again_from_what_was_kept(page_folder: Path) -> None:
    before = {name: (page_folder / name).read_bytes() for name in ("report.json", "report.md", "report.html")}
    compare(CompareConfig(), page_folder, report_only=True)
    assert {name: (page_folder / name).read_bytes() for name in before} == before


def test_every_field_is_documented(page_folder: Path) -> None:
    found = json.loads((page_folder / "report.json").read_text(encoding="utf-8"))["reconstruction"]
    schema = (
        (Path(__file__).parent.parent / "docs/comparison.md").read_text(encoding="utf-8").split("## report.json")[1]
    )
    names = {*found, *found["methods"][0], *found["lead"], *found["methods"][0]["psnr"]}
    assert {name for name in names if f"`{name}" not in schema} == set()


def test_the_sentences_call_what_differs_and_what_does_not(page_folder: Path) -> None:
    parts, seeds, _ = read_parts(page_folder, SMALL.to_dict())
    base = parts["bicubic", None]

    def told(**shifts: tuple[float, float]) -> list[str]:
        """Every learned method is bicubic but for a shift of its PSNR, one a seed."""
        changed = dict(parts)
        for name in LEARNED:
            for seed in seeds:
                shift = shifts.get(name.replace("-", "_"), (-0.2, 0.1))[seed]
                noise = 0.01 * np.arange(5)
                changed[name, seed] = dataclasses.replace(
                    parts[name, seed], psnr=[p + shift + n for p, n in zip(base.psnr, noise, strict=True)]
                )
        found: list[str] = summarise_reconstruction(SMALL.to_dict(), changed, seeds)["sentences"]
        return found

    first, second = told(autoencoder=(2.0, 2.01), learned=(-0.5, -0.51), learned_wide=(0.4, 0.41))
    assert first.startswith("The autoencoder brings pictures back best: 2.0")
    assert "dB more PSNR" not in first
    assert "than the wide transposed convolution, the next." in first
    assert "loses 0.4" in second
    assert "gains 0.4" in second
    first, second = told(learned=(0.3, 0.0))
    assert first.startswith("No method is shown to bring pictures back better than bicubic")
    assert second.count("is not shown to differ from bicubic") == 2
    first, _ = told(autoencoder=(1.0, 1.01), learned_decoder=(1.0, 0.99))
    assert "a difference from the decoder with feature maps, the next, is not shown" in first
    first, _ = told(**{name.replace("-", "_"): (-1.0, -1.01) for name in LEARNED})
    assert first.startswith("Nothing brings pictures back better than bicubic interpolation")


def test_one_seed_and_one_picture_give_no_call(tmp_path: Path) -> None:
    one = dataclasses.replace(SMALL, seeds=1)
    reconstruct(one, tmp_path / "a", smooth_pictures(1), smooth_pictures(4), lambda _: None)
    found = summary(tmp_path / "a", one)
    calls = {m["name"]: m["psnr_from_bicubic"]["call"] for m in found["methods"] if m["psnr_from_bicubic"]}
    assert all(calls[name] == "too few seeds" for name in LEARNED)
    assert calls["nearest"] == "worse"  # nothing is trained there
    reconstruct(SMALL, tmp_path / "b", smooth_pictures(1), smooth_pictures(1), lambda _: None)
    found = summary(tmp_path / "b", SMALL)
    for method in found["methods"]:
        assert method["psnr"]["over_pictures"] is None
        assert method["psnr_from_bilinear"] is None or method["psnr_from_bilinear"]["call"] == "too few pictures"


def test_pictures_that_come_back_exactly_are_left_out_of_every_psnr(tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, seeds=1)
    mixed = smooth_pictures(3, 24, 32)
    mixed.names += plain_pictures(0, 90).names
    mixed.images += plain_pictures(0, 90).images
    reconstruct(config, tmp_path / "a", plain_pictures(7), mixed, lambda _: None)
    assert scores(tmp_path / "a", config)["bicubic", None][0][3] == math.inf
    found = summary(tmp_path / "a", config)
    assert (found["scored_pictures"], found["psnr_pictures"], found["ssim_pictures"]) == (5, 3, 5)
    bicubic = scores(tmp_path / "a", config)["bicubic", None][0]
    assert found["methods"][2]["psnr"]["mean"] == pytest.approx(np.mean(bicubic[:3]))

    folder = make_comparison(tmp_path / "b", config, {"bilinear": 0.5, "learned": 0.4})
    reconstruct(config, folder.root, plain_pictures(7), plain_pictures(0, 90, 255), lambda _: None)
    write_report(folder)
    report = json.loads((folder.root / "report.json").read_text(encoding="utf-8"))["reconstruction"]
    assert report["lead"] is None
    assert "brings back" not in report["sentences"][0]
    assert "gives back every one of these pictures exactly" in report["sentences"][0]
    assert all(m["psnr"]["mean"] is None for m in report["methods"])
    assert "3 of the pictures came back exactly" in (folder.root / "report.html").read_text(encoding="utf-8")


def test_tiny_pictures_are_brought_back_without_an_ssim(tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, reconstruction_factor=8, seeds=1)
    folder = make_comparison(tmp_path / "c", config, {"bilinear": 0.5, "learned": 0.4})
    reconstruct(config, folder.root, smooth_pictures(2, 3, 5), smooth_pictures(3, 5, 1), lambda _: None)
    write_report(folder)
    report = json.loads((folder.root / "report.json").read_text(encoding="utf-8"))["reconstruction"]
    assert (report["psnr_pictures"], report["ssim_pictures"]) == (3, 0)
    assert "have a side below 11 pixels" in (folder.root / "report.html").read_text(encoding="utf-8")


def test_without_pictures_the_section_shows_none(page_folder: Path, tmp_path: Path) -> None:
    none = dataclasses.replace(SMALL, pictures=0)
    folder = make_comparison(tmp_path / "c", none, {"bilinear": 0.5, "learned": 0.4})
    _copy(page_folder, folder.root)
    reconstruct(none, folder.root, smooth_pictures(3), smooth_pictures(5), lambda _: None)
    write_report(folder)
    text = (folder.root / "report.html").read_text(encoding="utf-8")
    section = text.split('<section id="reconstruction">')[1].split("</section>")[0]
    assert "<img" not in section
    assert "smooth_" not in section


def test_left_out_there_is_no_section(page_folder: Path, tmp_path: Path) -> None:
    off = dataclasses.replace(SMALL, reconstruction=False, seeds=1)
    folder = make_comparison(tmp_path / "c", off, {"bilinear": 0.5, "learned": 0.4})
    _copy(page_folder, folder.root)
    write_report(folder)
    report = json.loads((folder.root / "report.json").read_text(encoding="utf-8"))
    assert report["reconstruction"] is None
    assert report["missing"] == []
    assert 'id="reconstruction"' not in (folder.root / "report.html").read_text(encoding="utf-8")
    assert "## Reconstruction" not in (folder.root / "report.md").read_text(encoding="utf-8")


def test_what_is_missing_or_of_older_versions_does_not_hold_up_the_report(done: Path, tmp_path: Path) -> None:
    _copy(done, tmp_path)
    (tmp_path / "reconstruction" / "learned-seed1.npz").unlink()
    half = open_section(tmp_path, SMALL.to_dict())
    assert half.seeds == [0]
    assert half.summary is not None
    assert half.missing == ["reconstruction: learned-seed1.json or its arrays are missing"]
    (tmp_path / "reconstruction" / "bicubic.json").write_text("[]", encoding="utf-8")
    nothing = open_section(tmp_path, SMALL.to_dict())
    assert nothing.summary is None
    assert "bicubic.json is damaged" in nothing.missing[0]
    assert nothing.drawings(None) == nothing.strips(None) == []
    older = {name: value for name, value in SMALL.to_dict().items() if not name.startswith("reconstruction")}
    assert open_section(tmp_path, older).missing == []
    assert open_section(tmp_path / "elsewhere", SMALL.to_dict()).missing == []


def test_settings_that_cannot_work_are_told() -> None:
    with pytest.raises(ConfigError, match=r"reconstruction_factor is 3: choose from \(2, 4, 8\)"):
        dataclasses.replace(SMALL, reconstruction_factor=3)
    with pytest.raises(ConfigError, match="reconstruction_steps is 0"):
        dataclasses.replace(SMALL, reconstruction_steps=0)
    assert dataclasses.replace(SMALL, reconstruction=False, reconstruction_factor=8).identity() == SMALL.identity()
