"""The two sentences that the section begins with."""

from __future__ import annotations

from typing import Any


def sentences(methods: list[dict[str, Any]], lead: dict[str, Any] | None) -> list[str]:
    """Say which way back wins, and what the plain transposed convolution is worth.

    Args:
        methods: Of the section.
        lead: Of the best before the next; None where no PSNR is defined.

    Returns:
        Two sentences.
    """
    if lead is None:
        return [
            "No difference can be told: some method gives back every one of these pictures exactly.",
            "Their PSNR is infinite; pictures that hold more than one plain colour are needed.",
        ]
    by_name = {method["name"]: method for method in methods}
    return [_first(by_name, lead), _second(by_name)]


def _first(by_name: dict[str, dict[str, Any]], lead: dict[str, Any]) -> str:
    best = by_name[lead["method"]]
    found = best["psnr_from_bicubic"]
    if found is None:
        return (
            f"Nothing brings pictures back better than bicubic interpolation on average; its lead over "
            f"{_the(lead['next'])}, the next, is {_amount(lead['psnr'])}{_not_shown(lead['psnr'])}."
        )
    if found["call"] == "better":
        text = f"{_capital(_the(best['name']))} brings pictures back best: {_amount(found)} more PSNR than bicubic "
        text += "interpolation"
    elif found["call"] in ("too few seeds", "too few pictures"):
        what = "training" if found["call"] == "too few seeds" else "picture"
        text = (
            f"In this one {what} {_the(best['name'])} brings pictures back best, with {_amount(found)} more PSNR than "
            f"bicubic interpolation; one {what} is too few to say whether another would agree"
        )
        return text + "."
    else:
        return (
            "No method is shown to bring pictures back better than bicubic interpolation: the largest difference "
            f"measured is {_amount(found)} of PSNR for {_the(best['name'])}."
        )
    behind = lead["psnr"]
    if behind["call"] == "better":
        return f"{text}, and {_amount(behind)} more than {_the(lead['next'])}, the next."
    return f"{text}; a difference from {_the(lead['next'])}, the next, is not shown."


def _second(by_name: dict[str, dict[str, Any]]) -> str:
    plain, wide = (by_name[name]["psnr_from_bicubic"] for name in ("learned", "learned-wide"))
    return (
        "From the fixed reduction, a transposed convolution with the kernel that an FCN has "
        f"{_told(plain)}; with a kernel that reaches as far as bicubic's it {_told(wide)}."
    )


def _told(found: dict[str, Any]) -> str:
    interval = found["over_pictures"]
    amount = f"{abs(found['mean']):.2f} dB"
    if interval is not None:
        low, high = sorted(abs(interval[end]) for end in ("low", "high"))
        amount += f" (over pictures {low:.2f} to {high:.2f})"
    match found["call"]:
        case "better":
            return f"gains {amount} on bicubic"
        case "worse":
            return f"loses {amount} to bicubic"
        case "no difference shown":
            return f"is not shown to differ from bicubic ({_signed(found)})"
        case _:
            return f"measures {_signed(found)} from bicubic"


def _amount(found: dict[str, Any]) -> str:
    """``0.42 dB (95 % interval over seeds 0.40 to 0.44, over pictures 0.31 to 0.52)``, the direction told elsewhere."""
    ends = []
    for over in ("over_seeds", "over_pictures"):
        interval = found[over]
        if interval is not None:
            turned = found["mean"] < 0
            low, high = (-interval["high"], -interval["low"]) if turned else (interval["low"], interval["high"])
            ends.append(f"{over.replace('_', ' ')} {_number(low)} to {_number(high)}")
    return f"{abs(found['mean']):.2f} dB" + (f" (95 % interval {', '.join(ends)})" if ends else "")


def _signed(found: dict[str, Any]) -> str:
    interval = found["over_pictures"]
    text = f"{found['mean']:+.2f} dB"
    if interval is not None:
        text += f", 95 % over pictures {interval['low']:+.2f} to {interval['high']:+.2f}"
    return text.replace("-", "−")


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _not_shown(found: dict[str, Any]) -> str:
    return "" if found["call"] == "better" else ", which is not shown to be more than chance"


def _the(name: str) -> str:
    return {
        "nearest": "nearest neighbour",
        "bilinear": "bilinear interpolation",
        "bicubic": "bicubic interpolation",
        "learned": "the learned transposed convolution",
        "learned-dense": "the transposed convolution across colours",
        "learned-wide": "the wide transposed convolution",
        "learned-decoder": "the decoder with feature maps",
        "autoencoder": "the autoencoder",
    }[name]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
