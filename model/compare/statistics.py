"""Is a difference more than chance? Intervals over seeds and over pictures, and the rule that decides.

Two kinds of chance stand between one comparison and the next: another training (other seeds) and other
pictures. Student's t over paired differences answers for the first, the bootstrap over pictures for the second.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL: Final = 0.95
POWER: Final = 0.8
SEEN: Final = 0.005
"""Half a point of mIoU: the difference whose cost in seeds is told."""

MOST_SEEDS: Final = 1000

Call = Literal["better", "worse", "no difference shown", "too few seeds"]

RULE: Final = (
    "An upsampler is called better or worse than bilinear at a stride when the 95 % interval of the paired mIoU "
    "difference leaves out zero twice, on the same side: over seeds (Student's t) and over pictures (bootstrap). "
    "Otherwise no difference is shown, which is not the same as none being there."
)


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval.

    Attributes:
        mean: The estimate.
        low: Lower end.
        high: Upper end.
    """

    mean: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 above zero, -1 below it, 0 where the interval holds zero."""
        if self.low > 0:
            return 1
        return -1 if self.high < 0 else 0

    def to_dict(self) -> dict[str, float]:
        """JSON-able."""
        return asdict(self)


def t_bounds(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Student's t interval of the mean, along the last axis.

    Args:
        values: Independent, roughly normal: paired differences, one a seed; shape (..., n) with n at least 2.

    Returns:
        Lower and upper ends of the 95 % interval, shape (...).
    """
    count = values.shape[-1]
    mean = values.mean(axis=-1)
    half = stats.t.ppf((1 + LEVEL) / 2, count - 1) * values.std(axis=-1, ddof=1) / math.sqrt(count)
    return mean - half, mean + half


def t_interval(values: NDArray[np.float64]) -> Interval | None:
    """The t interval of one set of paired differences, shape (n,); None where n < 2 or a value is not defined."""
    if values.shape[-1] < 2 or not np.isfinite(values).all():
        return None
    low, high = t_bounds(values)
    return Interval(float(values.mean()), float(low), float(high))


def overlap_scores(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean IoU over the classes that occur.

    A class without a true pixel is left out whatever was predicted, so that both sides of a difference
    are means over the same classes.

    Args:
        counts: Pixels in both, true and predicted, shape (..., 3, C).

    Returns:
        Shape (...); NaN where no class occurs.
    """
    both, true, predicted = counts[..., 0, :], counts[..., 1, :], counts[..., 2, :]
    occurs = true > 0
    union = true + predicted - both
    iou = np.divide(both, union, out=np.zeros(both.shape), where=union > 0)
    number = occurs.sum(axis=-1)
    total = (iou * occurs).sum(axis=-1)
    mean: NDArray[np.float64] = np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
    return mean


def share_scores(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correct over all.

    Args:
        counts: Correct and all pixels, shape (..., 2).

    Returns:
        Shape (...); NaN where there is no pixel.
    """
    correct, total = counts[..., 0], counts[..., 1]
    share: NDArray[np.float64] = np.divide(correct, total, out=np.full(total.shape, np.nan), where=total > 0)
    return share


def resamplings(pictures: int, replicates: int, seed: int = 0) -> NDArray[np.float64]:
    """How often each picture is drawn in each bootstrap replicate.

    Args:
        pictures: Number of pictures, at least 1.
        replicates: Number of replicates.
        seed: Of the draws: the same for both arms and for all seeds, so that differences stay paired.

    Returns:
        Shape (replicates, pictures); rows sum to ``pictures``.
    """
    random = np.random.default_rng([seed, pictures])
    return random.multinomial(pictures, np.full(pictures, 1 / pictures), size=replicates).astype(np.float64)


def bootstrap_scores(
    counts: NDArray[np.int64], weights: NDArray[np.float64], *, shares: bool = False
) -> NDArray[np.float64]:
    """A score of every resample: counts are summed over the drawn pictures first, then divided.

    Args:
        counts: Of each picture, shape (P, 3, C), or (P, 2) where ``shares``.
        weights: From ``resamplings``, shape (B, P).
        shares: Score with ``share_scores`` and not with ``overlap_scores``.

    Returns:
        Shape (B,).
    """
    flat = counts.reshape(len(counts), -1).astype(np.float64)
    summed = (weights @ flat).reshape(len(weights), *counts.shape[1:])
    return share_scores(summed) if shares else overlap_scores(summed)


def percentile_interval(estimate: float, replicates: NDArray[np.float64]) -> Interval | None:
    """The percentile interval (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).

    Args:
        estimate: From all pictures once.
        replicates: The same of every resample, shape (B,); those that are not defined are left out.

    Returns:
        None where nothing is defined.
    """
    defined = replicates[np.isfinite(replicates)]
    if not len(defined) or not math.isfinite(estimate):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(estimate, float(low), float(high))


@dataclass(frozen=True)
class Difference:
    """A paired difference between two arms, in the score's own unit (0.01 is a point).

    Attributes:
        per_seed: One a seed.
        mean: Over seeds.
        over_seeds: Its t interval; None with fewer than two seeds.
        over_pictures: Its bootstrap interval with these trainings held fixed; None where it is not defined.
    """

    per_seed: tuple[float, ...]
    mean: float
    over_seeds: Interval | None
    over_pictures: Interval | None

    @property
    def call(self) -> Call:
        """What the rule says."""
        if self.over_seeds is None or self.over_pictures is None:
            return "too few seeds"
        if self.over_seeds.sign == self.over_pictures.sign != 0:
            return "better" if self.over_seeds.sign > 0 else "worse"
        return "no difference shown"

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the paired differences over seeds."""
        return float(np.std(self.per_seed, ddof=1)) if len(self.per_seed) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "per_seed": [_defined(value) for value in self.per_seed],
            "mean": _defined(self.mean),
            "over_seeds": self.over_seeds.to_dict() if self.over_seeds else None,
            "over_pictures": self.over_pictures.to_dict() if self.over_pictures else None,
            "call": self.call,
        }


def difference(
    arm: list[NDArray[np.int64]],
    baseline: list[NDArray[np.int64]],
    weights: NDArray[np.float64],
    *,
    shares: bool = False,
) -> Difference:
    """The paired difference of a score between an arm and the baseline.

    Args:
        arm: Counts of each picture, one array a seed, as in ``bootstrap_scores``.
        baseline: The same of the baseline, seeds and pictures in the same order.
        weights: From ``resamplings``.
        shares: As in ``bootstrap_scores``.
    """
    once = np.ones((1, weights.shape[1]))

    def score(counts: NDArray[np.int64], over: NDArray[np.float64]) -> NDArray[np.float64]:
        return bootstrap_scores(counts, over, shares=shares)

    pairs = list(zip(arm, baseline, strict=True))
    per_seed = np.array([(score(a, once) - score(b, once))[0] for a, b in pairs])
    replicates = np.mean([score(a, weights) - score(b, weights) for a, b in pairs], axis=0)
    mean = float(per_seed.mean())
    return Difference(tuple(map(float, per_seed)), mean, t_interval(per_seed), percentile_interval(mean, replicates))


def plain_difference(per_seed: NDArray[np.float64]) -> Difference:
    """The paired difference of a score that is not made of counts of pictures, such as the calibration error."""
    return Difference(tuple(map(float, per_seed)), float(per_seed.mean()), t_interval(per_seed), None)


def seeds_to_see(deviation: float, effect: float = SEEN, power: float = POWER) -> int | None:
    """How many seeds a paired t test needs to find an effect.

    Args:
        deviation: Standard deviation of the paired differences.
        effect: True mean difference.
        power: Chance to find it.

    Returns:
        The smallest n, at least 2, whose two-sided test at 5 % has that power (noncentral t); None above 1000, and
        where the differences do not vary at all, which says that something is wrong with the arms.
    """
    if deviation <= 0:
        return None
    count = 2
    while count <= MOST_SEEDS:
        bound = stats.t.ppf((1 + LEVEL) / 2, count - 1)
        shift = effect / deviation * math.sqrt(count)
        # The far tail adds nothing that matters, and scipy's is not stable there. So does a huge shift: its power is 1.
        if shift > bound + 10 or stats.nct.sf(bound, count - 1, shift) >= power:
            return count
        count += 1
    return None


def chance_of_a_false_call(comparisons: int) -> float:
    """Chance that at least one of so many independent comparisons is called though nothing differs, at most."""
    return float(1 - LEVEL**comparisons)


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None
