"""What an upsampler has learned: its kernels taken apart.

An upsampler of this project is linear, so one impulse for each class tells all of it. Kernels are kept
in one frame, 3 s x 3 s output pixels around the coarse pixel that they belong to, whatever their own size.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FREQUENCIES = 65
"""Points of a frequency response, from 0 to one cycle a coarse pixel."""


@dataclass(frozen=True)
class KernelFacts:
    """Of the kernels of one upsampler, means over its classes.

    Attributes:
        scale_factor: s.
        drift: |k - bilinear| / |bilinear|, with the Euclidean norm.
        moved: |k - start| / |start|.
        gain: Sum of the kernel over that of the bilinear one, s^2: 1 keeps the level of the scores.
        symmetry: Share of the kernel's energy that its eight turns and mirrorings have in common, 0 to 1.
        separability: Share of the energy in the first singular value, 0 to 1; 1 is an outer product.
        checkerboard: Unevenness of the phase sums: their standard deviation over their mean. The phase sums are
            the exact response to a constant map, so 0 means no checkerboard (Odena, Dumoulin and Olah, 2016).
        across: Share of the energy that goes from one class to another; 0 where kernels are one a class.
    """

    scale_factor: int
    drift: float
    moved: float
    gain: float
    symmetry: float
    separability: float
    checkerboard: float
    across: float

    def to_dict(self) -> dict[str, float]:
        """JSON-able."""
        return asdict(self)


def tent(scale_factor: int) -> NDArray[np.float64]:
    """One row of the bilinear kernel in the frame: 1 - |x| / s over 3 s pixel centres, none below 0."""
    centres = np.arange(3 * scale_factor) - (3 * scale_factor - 1) / 2
    rising: NDArray[np.float64] = np.clip(1 - np.abs(centres) / scale_factor, 0, None)
    return rising


def bilinear(scale_factor: int) -> NDArray[np.float64]:
    """The bilinear kernel in the frame, shape (3 s, 3 s)."""
    return np.outer(tent(scale_factor), tent(scale_factor))


def symmetry(kernel: NDArray[np.float64]) -> float:
    """Share of the energy in the mean of the eight turns and mirrorings; 1 for a kernel of zeros."""
    turns = [np.rot90(side, turn) for side in (kernel, kernel.T) for turn in range(4)]
    energy = float((kernel**2).sum())
    return float((np.mean(turns, axis=0) ** 2).sum()) / energy if energy else 1.0


def separability(kernel: NDArray[np.float64]) -> float:
    """Share of the energy in the first singular value; 1 for a kernel of zeros."""
    values = np.linalg.svd(kernel, compute_uv=False) ** 2
    return float(values[0] / values.sum()) if values.sum() else 1.0


def phase_sums(kernel: NDArray[np.float64], scale_factor: int) -> NDArray[np.float64]:
    """What a constant map of ones becomes, in each of the s x s phases; sides are multiples of s."""
    height, width = (side // scale_factor for side in kernel.shape)
    parts = kernel.reshape(height, scale_factor, width, scale_factor)
    sums: NDArray[np.float64] = parts.sum(axis=(0, 2))
    return sums


def checkerboard(kernel: NDArray[np.float64], scale_factor: int) -> float:
    """Standard deviation of the phase sums over the size of their mean; infinite where that is 0."""
    sums = phase_sums(kernel, scale_factor)
    mean = abs(float(sums.mean()))
    return float(sums.std()) / mean if mean else (float("inf") if sums.std() else 0.0)


def frequency_response(kernel: NDArray[np.float64], scale_factor: int) -> NDArray[np.float64]:
    """Gain along the horizontal axis.

    Args:
        kernel: In the frame or of any size, shape (h, w).
        scale_factor: s.

    Returns:
        |sum of k(y, x) exp(-2 pi i f x / s)| / s^2 at ``FREQUENCIES`` frequencies f from 0 to 1 cycle a coarse
        pixel. The ideal low-pass is 1 below one half and 0 above: beyond it lie images of the coarse map's
        spectrum. The bilinear kernel has (sin(pi f) / (s sin(pi f / s)))^2, times cos(pi f / s) for even s,
        whose taps lie half a pixel beside the centre.
    """
    profile = kernel.sum(axis=0)
    places = np.arange(len(profile)) / scale_factor
    waves = np.exp(-2j * np.pi * np.outer(frequencies(), places))
    return np.asarray(np.abs(waves @ profile) / scale_factor**2, dtype=np.float64)


def frequencies() -> NDArray[np.float64]:
    """In cycles a coarse pixel."""
    return np.linspace(0, 1, FREQUENCIES)


def kernel_facts(start: NDArray[np.float64], end: NDArray[np.float64], across: float, scale_factor: int) -> KernelFacts:
    """Take the kernels of one upsampler apart.

    Args:
        start: Of each class to itself before training, in the frame, shape (C, 3 s, 3 s).
        end: The same after it.
        across: As in ``KernelFacts``.
        scale_factor: s.
    """
    fixed = bilinear(scale_factor)
    return KernelFacts(
        scale_factor=scale_factor,
        drift=_mean([np.linalg.norm(kernel - fixed) / np.linalg.norm(fixed) for kernel in end]),
        moved=_mean(
            [np.linalg.norm(b - a) / max(float(np.linalg.norm(a)), 1e-12) for a, b in zip(start, end, strict=True)]
        ),
        gain=_mean([kernel.sum() / scale_factor**2 for kernel in end]),
        symmetry=_mean([symmetry(kernel) for kernel in end]),
        separability=_mean([separability(kernel) for kernel in end]),
        checkerboard=_mean([checkerboard(kernel, scale_factor) for kernel in end]),
        across=across,
    )


def _mean(values: list[np.floating | float]) -> float:
    return float(np.mean(np.asarray(values, dtype=np.float64)))
