"""The verdict: two plain sentences, and the arm to take."""

from __future__ import annotations

from typing import Any

from model.compare.config import BASELINE


def verdict(arms: list[dict[str, Any]], comparisons: list[dict[str, Any]], seeds: int) -> dict[str, Any]:
    """Say what was found.

    Args:
        arms: Of the report.
        comparisons: Of the report.
        seeds: Trainings of each arm that are complete.

    Returns:
        ``sentences``, two of them; ``recommended``, the name of an arm or None; ``why``.
    """
    if not seeds:
        return {
            "sentences": ["No seed is complete yet.", "There is nothing to compare."],
            "recommended": None,
            "why": "",
        }
    shown = [c for c in comparisons if c["miou"]["call"] in ("better", "worse")]
    if seeds < 2:
        first = "With one seed no difference can be told from the chance of training; two are needed, three are better."
        second = f"In this one training {_largest(comparisons)}."
    elif shown:
        first = _sentence("; ".join(_shown(shown)))
        rest = [c for c in comparisons if c not in shown]
        second = (
            _sentence(f"no difference from {BASELINE} is shown for {_list([_who(c) for c in rest])}; {_cost(rest)}")
            if rest
            else "Every difference that was looked for is shown."
        )
    else:
        names = _list(sorted({c["upsampler"] for c in comparisons}))
        strides = _list([str(s) for s in sorted({c["stride"] for c in comparisons}, reverse=True)])
        first = _sentence(
            f"no difference from {BASELINE} interpolation is shown for {names} upsampling at stride {strides}: "
            f"{_largest(comparisons)}"
        )
        second = _sentence(_cost(comparisons))
    name, why = _recommend(arms, comparisons)
    return {"sentences": [first, second], "recommended": name, "why": why}


def _shown(comparisons: list[dict[str, Any]]) -> list[str]:
    """One part of a sentence for each upsampler and direction, the strides inside it."""
    told: list[str] = []
    for upsampler in dict.fromkeys(c["upsampler"] for c in _best_first(comparisons)):
        for call in ("better", "worse"):
            found = [c for c in comparisons if c["upsampler"] == upsampler and c["miou"]["call"] == call]
            # What the numbers are is told with the first ones.
            places = [
                f"by {_amount(c, whole=not told and not index)} at stride {c['stride']}"
                for index, c in enumerate(found)
            ]
            if places:
                told.append(f"{upsampler} upsampling is {call} than {BASELINE} {_list(places)}")
    return told


def _amount(comparison: dict[str, Any], *, whole: bool) -> str:
    """``1.20 points of mIoU (95 % interval over seeds 0.80 to 1.60)``, the direction told elsewhere."""
    miou = comparison["miou"]
    ends = sorted(abs(miou["over_seeds"][end]) for end in ("low", "high"))
    low, high = (f"{100 * end:.2f}" for end in ends)
    points = f"{abs(100 * miou['mean']):.2f}"
    if whole:
        return f"{points} points of mIoU (95 % interval over seeds {low} to {high})"
    return f"{points} ({low} to {high})"


def _recommend(arms: list[dict[str, Any]], comparisons: list[dict[str, Any]]) -> tuple[str, str]:
    """The stride with the best baseline; there, the arm shown best, or the baseline."""
    baselines = [arm for arm in arms if arm["upsampler"] == BASELINE]
    best = max(baselines, key=lambda arm: arm["miou"]["mean"] or 0.0)
    better = [c for c in comparisons if c["stride"] == best["stride"] and c["miou"]["call"] == "better"]
    if better:
        chosen = max(better, key=lambda c: c["miou"]["mean"])
        return chosen["arm"], f"shown better than {BASELINE} at the stride that scores best"
    return best[
        "name"
    ], f"the stride that scores best, and nothing is shown better there than {BASELINE}, which has nothing to learn"


def _largest(comparisons: list[dict[str, Any]]) -> str:
    defined = [c for c in comparisons if c["miou"]["mean"] is not None]
    if not defined:
        return "no score is defined"
    largest = max(defined, key=lambda c: abs(c["miou"]["mean"]))
    return f"the largest one measured is {_points(largest)} for {_who(largest)}"


def _points(comparison: dict[str, Any]) -> str:
    miou = comparison["miou"]
    interval = miou["over_seeds"]
    text = f"{100 * miou['mean']:+.2f} points of mIoU".replace("-", "−")
    if interval is None:
        return text
    low, high = (f"{100 * interval[end]:+.2f}".replace("-", "−") for end in ("low", "high"))
    return f"{text} (95 % interval over seeds {low} to {high})"


def _cost(comparisons: list[dict[str, Any]]) -> str:
    counts = [c["seeds_to_see"] for c in comparisons if c["deviation"]]
    if not counts:
        return "how many seeds would show half a point cannot be told from these"
    if None in counts:
        return "to see half a point everywhere takes more than 1000 seeds"
    low, high = min(counts), max(counts)
    told = f"{low} seeds" if low == high else f"{low} to {high} seeds, depending on the stride and the upsampler"
    return f"to see a true difference of half a point (power 80 %) takes about {told}"


def _who(comparison: dict[str, Any]) -> str:
    return f"{comparison['upsampler']} at stride {comparison['stride']}"


def _best_first(comparisons: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(comparisons, key=lambda c: -c["miou"]["mean"])


def _list(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
