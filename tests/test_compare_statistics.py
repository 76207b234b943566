"""Intervals that cover the truth as often as they say, and the rule that decides."""

import numpy as np
import pytest

from model.compare.statistics import (
    Difference,
    Interval,
    bootstrap_scores,
    chance_of_a_false_call,
    difference,
    overlap_scores,
    percentile_interval,
    resamplings,
    seeds_to_see,
    share_scores,
    t_bounds,
    t_interval,
)


def test_mean_iou_of_hand_made_counts() -> None:
    # Two classes: 3 of 4 true found, 5 predicted: 3 / 6; and 1 of 1 with 1 predicted: 1.
    counts = np.array([[3.0, 1.0], [4.0, 1.0], [5.0, 1.0]])
    assert overlap_scores(counts) == pytest.approx((0.5 + 1) / 2)


def test_a_class_that_never_occurs_is_left_out_even_where_it_is_predicted() -> None:
    occurs = np.array([[3.0, 0.0], [4.0, 0.0], [5.0, 0.0]])
    predicted = np.array([[3.0, 0.0], [4.0, 0.0], [5.0, 7.0]])
    assert overlap_scores(occurs) == overlap_scores(predicted) == 0.5
    assert np.isnan(overlap_scores(np.zeros((3, 2))))
    assert np.isnan(share_scores(np.zeros(2)))


def test_intervals_over_seeds_cover_the_true_difference_19_times_in_20() -> None:
    random = np.random.default_rng(0)
    for seeds in (2, 3, 5, 10):
        low, high = t_bounds(random.normal(0.004, 0.01, size=(20_000, seeds)))
        covered = np.mean((low <= 0.004) & (high >= 0.004))
        assert 0.94 < covered < 0.96


def simulated_counts(random: np.random.Generator, trials: int, pictures: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Counts of two arms over pictures whose content and difficulty vary, with the true difference in mIoU.

    Class c fills a share of each picture; both arms miss a part of it that depends on how hard the picture is,
    and predict somewhat too much. Expectations of the sums give the true IoU.
    """
    classes = 3
    size = random.gamma(4.0, np.array([1000.0, 400.0, 100.0]), size=(trials, pictures, classes))
    hard = random.beta(2.0, 6.0, size=(trials, pictures, 1))

    def arm(factor: float) -> np.ndarray:
        noise = random.uniform(0.7, 1.3, size=size.shape)
        both = size * (1 - factor * hard * noise)
        return np.stack([both, size, both + 0.1 * size], axis=2)

    one, other = arm(0.9), arm(1.0)
    mean_hard = 2 / 8
    truth = [(1 - f * mean_hard) / 1.1 for f in (0.9, 1.0)]  # both / (size + 0.1 size)
    return one, other, truth[0] - truth[1]


def test_intervals_over_pictures_cover_the_true_difference_19_times_in_20() -> None:
    random = np.random.default_rng(1)
    trials, pictures = 1000, 80
    one, other, truth = simulated_counts(random, trials, pictures)
    weights = resamplings(pictures, 600)
    covered = 0
    for a, b in zip(one, other, strict=True):
        replicates = bootstrap_scores(a, weights) - bootstrap_scores(b, weights)
        interval = percentile_interval(0.0, replicates)
        assert interval is not None
        covered += interval.low <= truth <= interval.high
    assert 0.93 <= covered / trials <= 0.97


def test_a_difference_is_paired_and_holds_its_own_mean() -> None:
    random = np.random.default_rng(2)
    base = [random.integers(50, 100, size=(30, 3, 4)) for _ in range(3)]
    for counts in base:
        counts[:, 1:] += 100
    better = [counts + np.array([5, 0, 0])[:, None] for counts in base]
    found = difference(better, base, resamplings(30, 500))
    assert len(found.per_seed) == 3
    assert found.over_seeds is not None
    assert found.over_pictures is not None
    assert found.mean == pytest.approx(np.mean(found.per_seed))
    assert found.over_pictures.low <= found.mean <= found.over_pictures.high
    # Every picture gains alike: pairing leaves little for chance.
    assert found.over_pictures.high - found.over_pictures.low < 0.1 * found.mean
    assert found.call == "better"
    assert difference(base, base, resamplings(30, 500)).call == "no difference shown"


def test_both_intervals_must_leave_out_zero_on_the_same_side() -> None:
    up, down, none = Interval(0.01, 0.005, 0.02), Interval(-0.01, -0.02, -0.005), Interval(0.001, -0.01, 0.02)

    def call(seeds: Interval | None, pictures: Interval | None) -> str:
        return Difference((0.0,), 0.0, seeds, pictures).call

    assert call(up, up) == "better"
    assert call(down, down) == "worse"
    assert call(up, none) == call(none, up) == call(up, down) == "no difference shown"
    assert call(None, up) == "too few seeds"


def test_one_seed_has_no_interval() -> None:
    assert t_interval(np.array([0.01])) is None
    assert t_interval(np.array([0.01, np.nan])) is None


def test_seeds_to_see_agrees_with_a_simulation() -> None:
    count = seeds_to_see(0.005, effect=0.005)
    assert count == 10  # the textbook's n for a standardised effect of 1 and power 0.8
    low, high = t_bounds(np.random.default_rng(3).normal(0.005, 0.005, size=(20_000, count)))
    assert np.mean((low > 0) | (high < 0)) == pytest.approx(0.8, abs=0.03)
    assert seeds_to_see(0.0) is None
    assert seeds_to_see(1e-9) == 2
    assert seeds_to_see(1.0) is None


def test_more_comparisons_give_chance_more_chances() -> None:
    assert chance_of_a_false_call(1) == pytest.approx(0.05)
    assert chance_of_a_false_call(3) == pytest.approx(1 - 0.95**3)
