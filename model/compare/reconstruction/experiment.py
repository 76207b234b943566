"""The experiment: reduce pictures, give them back in every way, score; done parts are not made again."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from data.errors import RunError
from model.compare.reconstruction.methods import FIXED, LINEAR, linear_kernel
from model.compare.reconstruction.results import (
    Part,
    Shown,
    identity,
    keys,
    part_file,
    read_part,
    write_originals,
    write_part,
)
from model.compare.reconstruction.scores import psnr, ssim
from model.compare.reconstruction.training import Recipe, to_tensor, train_method

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from data.decoded import DecodedSplit
    from model.compare.config import CompareConfig
    from model.compare.reconstruction.methods import Method
    from model.compare.reconstruction.results import Key

MOST_PICTURES: Final = 32
"""Of the pictures that score so many are brought back, evenly chosen."""

LARGEST_SIDE: Final = 640
"""Of a larger picture the middle is brought back."""


def reconstruct(
    config: CompareConfig, root: Path, train: DecodedSplit, scored: DecodedSplit, say: Callable[[str], None]
) -> None:
    """Make every part of the experiment that is not there yet.

    Args:
        config: Of the comparison.
        root: Its folder.
        train: Training pictures.
        scored: Pictures that score.
        say: Told what is done and what is made again.

    Raises:
        RunError: a loss is not finite, or the disk is full.
    """
    pictures = _chosen(scored)
    count = min(config.pictures, len(pictures))
    shown = [list(pictures)[int(i)] for i in np.unique(np.linspace(0, len(pictures) - 1, count).round())]
    every = keys(config.seed_values)
    expected = identity(config.to_dict())
    left = []
    for key in every:
        # Pictures are kept of one seed: they are to be looked at, not counted.
        wanted = shown if key[1] in (None, config.seed_values[0]) else []
        if not _is_done(part_file(root, key), expected, list(pictures), wanted, say):
            left.append((key, wanted))
    write_originals(root, {name: pictures[name] for name in shown})
    if not left:
        return
    say(
        f"reconstruction: {len(pictures)} pictures reduced {config.reconstruction_factor} times a side and given "
        f"back, {len(left)} of {len(every)} parts to do"
    )
    recipe = Recipe(config.reconstruction_factor, config.reconstruction_steps)
    for key, wanted in left:
        write_part(part_file(root, key), _make(key, train, pictures, wanted, recipe, expected))


def _chosen(scored: DecodedSplit) -> dict[str, NDArray[np.uint8]]:
    """Some pictures of a split by name, evenly chosen, of large ones the middle."""
    indices = np.unique(np.linspace(0, len(scored) - 1, min(len(scored), MOST_PICTURES)).round()).astype(int)
    found = {}
    for index in indices:
        image = scored.images[index]
        window = tuple(slice(max(0, side - LARGEST_SIDE) // 2, None) for side in image.shape[:2])
        found[scored.names[index]] = np.array(image[window][:LARGEST_SIDE, :LARGEST_SIDE])
    return found


def _is_done(
    path: Path, expected: dict[str, object], pictures: list[str], shown: list[str], say: Callable[[str], None]
) -> bool:
    """Whether a part is there, whole, of this recipe and these pictures; drops pictures that shall not be kept."""
    if not path.exists():
        return False
    try:
        part = read_part(path)
    except RunError as error:
        say(f"reconstruction: {error}: made again")
        return False
    if part.identity != expected or part.pictures != pictures:
        say(f"reconstruction: {path.stem} has other pictures or another recipe: made again")
        return False
    if not set(shown) <= set(part.shown):
        return False
    if set(part.shown) != set(shown):
        write_part(path, dataclasses.replace(part, shown={name: part.shown[name] for name in shown}))
    return True


def _make(
    key: Key,
    train: DecodedSplit,
    pictures: dict[str, NDArray[np.uint8]],
    shown: list[str],
    recipe: Recipe,
    expected: dict[str, object],
) -> Part:
    name, seed = key
    method, losses, seconds = train_method(name, train.images, recipe, seed or 0)
    answers = {picture: bring_back(method, image, recipe.scale_factor) for picture, image in pictures.items()}
    linear = name in FIXED or name in LINEAR
    return Part(
        method=name,
        seed=seed,
        identity=expected,
        pictures=list(pictures),
        psnr=[psnr(answers[picture].restored, image) for picture, image in pictures.items()],
        ssim=[ssim(answers[picture].restored, image) for picture, image in pictures.items()],
        parameters=method.learned_parameters(),
        seconds=seconds,
        curve=[float(np.mean(part)) for part in np.array_split(losses, 10) if len(part)],
        kernel=linear_kernel(method.restore, recipe.scale_factor) if linear else np.zeros((0, 0, 0), np.float32),
        shown={picture: answers[picture] for picture in shown},
    )


@torch.inference_mode()
def bring_back(method: Method, image: NDArray[np.uint8], scale_factor: int) -> Shown:
    """Reduce one picture and give it back, in bytes.

    Args:
        method: In evaluation mode.
        image: RGB, shape (H, W, 3). Sides that are no multiples of s are continued by the edge, and the answer is cut.
        scale_factor: s.
    """
    height, width = image.shape[:2]
    missing = [(0, -side % scale_factor) for side in (height, width)]
    summary = method.summary(to_tensor(np.pad(image, [*missing, (0, 0)], mode="edge")[None]))
    return Shown(_bytes(method.give_back(summary))[:height, :width].copy(), _bytes(summary))


def _bytes(pictures: torch.Tensor) -> NDArray[np.uint8]:
    """One picture (1, 3, H, W) to (H, W, 3), rounded as a file would hold it."""
    values: NDArray[np.uint8] = (255 * pictures[0].clamp(0, 1)).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return values
