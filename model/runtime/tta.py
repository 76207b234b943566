"""Test-time augmentation: a picture looked at several times, mirrored and in other sizes, and the answers averaged.

Every pass gives the probabilities of all classes; their mean decides. One definition serves a checkpoint in torch and a
bundle, so both give the same label maps to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from data.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    Probabilities = Callable[[NDArray[np.uint8], tuple[int, int]], NDArray[np.float32]]
    """A picture (h, w, 3) and a size to the probabilities of all classes, brought to it bilinearly: (C, H, W)."""

SMALLEST_SCALE: Final = 0.25
LARGEST_SCALE: Final = 4.0
MOST_SCALES: Final = 8


@dataclass(frozen=True)
class TtaConfig:
    """How often, and how, one picture is looked at; by default once, as it is.

    Attributes:
        flip: Also look at the mirror image. Wrong where left and right are different classes.
        scales: Sizes of the picture that are looked at, such as 0.75,1,1.25.
    """

    flip: bool = False
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        told = ",".join(f"{scale:g}" for scale in self.scales)
        if not 1 <= len(self.scales) <= MOST_SCALES or len(set(self.scales)) != len(self.scales):
            raise ConfigError(f"tta.scales is [{told}]: 1 to {MOST_SCALES} different ones are expected, as 0.75,1,1.25")
        if not all(SMALLEST_SCALE <= scale <= LARGEST_SCALE for scale in self.scales):
            raise ConfigError(f"tta.scales is [{told}]: each is from {SMALLEST_SCALE:g} to {LARGEST_SCALE:g}")

    @property
    def passes(self) -> int:
        """Runs of the network a picture."""
        return len(self.scales) * (2 if self.flip else 1)

    @property
    def active(self) -> bool:
        """Whether this is anything but one look at the picture as it is."""
        return self != TtaConfig()

    @property
    def told(self) -> str:
        """In a few words, such as ``flip, scales 0.75,1,1.25``; empty for one plain look."""
        if not self.active:
            return ""
        scales = f"scales {','.join(f'{scale:g}' for scale in self.scales)}"
        return f"flip, {scales}" if self.flip else scales

    def refuse_for(self, recipe: Mapping[str, Any], owner: object) -> None:
        """Refuse mirror images of a network that was trained without them.

        Args:
            recipe: The settings it was trained with, as ``config.yaml`` has them; empty where nothing is known.
            owner: The run or bundle, for the message.

        Raises:
            ConfigError: its ``augment.flip`` is 0.
        """
        augment = recipe.get("augment")
        if self.flip and isinstance(augment, dict) and augment.get("flip") == 0:
            raise ConfigError(
                f"{owner} was trained with augment.flip 0, as one does where left and right are different classes: "
                "a mean over mirror images would mix those; leave --tta.flip off (--tta.scales can stay)"
            )


PLAIN: Final = TtaConfig()
"""One look at the picture as it is."""


def average(
    image: NDArray[np.uint8], config: TtaConfig, probabilities: Probabilities
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The label map and confidence of the mean probabilities.

    Args:
        image: RGB, shape (H, W, 3).
        config: The passes.
        probabilities: One pass of the network.

    Returns:
        Both (H, W), uint8; a confidence of 255 is a mean probability of 1.
    """
    height, width = image.shape[:2]
    total: NDArray[np.float32] | None = None
    for looked_at, flipped in _looks(image, config):
        found = probabilities(looked_at, (height, width))
        if flipped:
            found = found[..., ::-1]
        if total is None:
            total = found if config.passes == 1 else np.array(found)  # the engine's own memory may be read-only
        else:
            total += found
    if total is None:  # never: a configuration has one pass at least
        raise ConfigError("there is no pass to average")
    label_map = np.zeros((height, width), dtype=np.uint8)
    best = np.array(total[0])
    # Class by class: an argmax over the first axis reads the whole of it in strides, and is many times slower.
    for index in range(1, len(total)):
        better = total[index] > best
        label_map[better] = index
        np.maximum(best, total[index], out=best)
    best *= 255 / config.passes
    return label_map, best.round().clip(0, 255).astype(np.uint8)


def _looks(image: NDArray[np.uint8], config: TtaConfig) -> Iterator[tuple[NDArray[np.uint8], bool]]:
    """The pictures that are looked at, each with whether it is mirrored."""
    for scale in config.scales:
        scaled = _scaled(image, scale)
        yield scaled, False
        if config.flip:
            yield np.ascontiguousarray(scaled[:, ::-1]), True


def _scaled(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """The picture in another size, bilinear and without aliasing: one resizer for every engine."""
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
