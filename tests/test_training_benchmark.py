"""The training part of `make bench`: it runs from end to end at a toy's size, and its page tells what was found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.own_training import Compiled, Epoch, UpsamplerSeconds
from benchmarks.performance_page import lines
from benchmarks.plain_loop import PictureFiles
from benchmarks.training import Size, draw_files, measure, recipe
from benchmarks.training_page import OURS, PLAIN, SAME_LOSS, Found, part_of
from model.config import AugmentConfig, FitConfig, LoaderConfig, ModelConfig

TOY = Size(
    pictures=10, image_size=(40, 64), rounds=1, epochs=2, steps=1, workers=(0,), tried=1, upsampler_epochs=1, compiled=0
)


def toy_recipe(root):
    return replace(
        recipe(root),
        model=ModelConfig(encoder="mobilenet_v2", encoder_weights="none", head_channels=8),
        augment=AugmentConfig(crop_size=(32, 64)),
        loader=LoaderConfig(batch_size=4, workers=0),
        fit=FitConfig(precision="32-true", progress=False, threads=1),
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("training") / "data"
    draw_files(root, TOY.pictures, TOY.image_size)
    return root


def test_files_hold_eleven_classes(files):
    assert len(list((files / "images").glob("*.jpg"))) == TOY.pictures
    found = {label for path in (files / "masks").iterdir() for label in np.unique(np.asarray(Image.open(path)))}
    assert found == set(range(11))


def test_the_plain_loop_draws_the_same_kind_of_crop_from_the_same_files(files):
    torch.manual_seed(0)
    crops = PictureFiles(files, toy_recipe(files))
    assert len(crops) == TOY.pictures
    image, target = crops[0]
    assert (image.shape, image.dtype) == ((3, 32, 64), torch.uint8)
    assert (target.shape, target.dtype) == ((32, 64), torch.int64)
    drawn = [crops[index] for index in range(10)]
    assert {int(label) for _, target in drawn for label in target.unique()} <= {*range(11), 255}
    # Zoomed out, a picture is smaller than the crop: what lies around it is grey and ignored.
    around = [image[:, target == 255] for image, target in drawn]
    assert sum(part.numel() for part in around) > 0
    assert all(bool((part == 127).all()) for part in around)


def here(work, *arguments):
    return work(*arguments)


def test_training_is_measured_from_end_to_end(files):
    found = measure(files, toy_recipe(files), TOY, here, here)
    assert [epoch.steps for epoch in found.epochs] == [2]  # 9 of 10 pictures, 4 a step; the first epoch is left out
    assert all(0 < epoch.waiting < epoch.seconds for epoch in found.epochs)
    assert {name: len(rates) for name, rates in found.plain.items()} == {PLAIN: 1, SAME_LOSS: 1}
    assert found.upsamplers.crops == 8
    assert min(*found.plain[PLAIN], *found.plain[SAME_LOSS], found.upsamplers.caching, found.upsamplers.epoch) > 0
    rows = {row.name: row for row in part_of(found).tables[0].rows}
    assert rows[OURS].median == pytest.approx(8 / found.epochs[0].seconds)


def made_up(compiled=None):
    return Found(
        epochs=[Epoch(30, 20.0, 0.5), Epoch(30, 24.0, 0.6)],
        batch=8,
        plain={PLAIN: [5.0, 6.0], SAME_LOSS: [4.0]},
        workers=2,
        upsamplers=UpsamplerSeconds(caching=4.4, epoch=1.1, crops=240),
        compiled=compiled,
        precision="bf16-mixed",
    )


def test_ratios_and_verdicts_are_those_of_the_medians():
    part = part_of(made_up())
    faster, waiting, upsamplers = part.targets
    assert faster.found == pytest.approx(11 / 5.5)
    assert faster.met
    assert waiting.found == pytest.approx(0.025)
    assert waiting.met
    # 40 epochs of 240 / 11 s, against 6 epochs over 4 passes of 1.1 s.
    assert upsamplers.found == pytest.approx(40 * 240 / 11 / (24 * 1.1))
    assert upsamplers.met
    rows = {row.name: row for row in part.tables[1].rows}
    assert rows["the same with storing the scores"].median == pytest.approx(24 * 1.1 + 4 * 4.4)


@pytest.mark.parametrize(
    ("compiled", "told"),
    [
        (Compiled(600.0, 500.0, 50.0), "Compiling is paid back after 500 steps; the gain is above the tenth"),
        (Compiled(600.0, 590.0, 50.0), "Compiling is paid back after 5000 steps; the gain is below the tenth"),
        (Compiled(600.0, 700.0, 50.0), "Compiling is never paid back; the gain is below the tenth"),
        (Compiled(600.0, None, 0.0, "no compiler"), "It could not be compiled."),
    ],
)
def test_the_page_tells_whether_compiling_is_paid_back(compiled, told):
    text = "\n".join(lines(part_of(made_up(compiled)).figures({})))
    assert told in text
    assert ("| compiled | – | no compiler |" in text) == bool(compiled.reason)
