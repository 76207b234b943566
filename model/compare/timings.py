"""Timings: the files of a comparison's folder that a quiet machine fills in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from data.errors import FcnError
from model.compare.forms import measure_forms
from model.compare.latency import measure_latency
from model.compare.record import json_bytes, write_whole
from model.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from model.compare.config import CompareConfig
    from model.compare.folder import ComparisonFolder


def time_arms(
    config: CompareConfig, folder: ComparisonFolder, picture: tuple[int, int], say: Callable[[str], None]
) -> None:
    """Write latency.json, unless it has every arm: one network of each is exported, timed and weighed.

    A failure is told and leaves the report without these numbers: they are not what was asked.

    Args:
        config: Names the arms, their mode and checkpoint.
        folder: Holds their trained networks.
        picture: Height and width of what is labelled.
        say: Told what is done.
    """
    names = [arm.name for arm in config.arms]
    measured = folder.latency()
    if set(names) <= set(measured.get("milliseconds", {})):
        return
    say(f"timing {len(names)} arms in OpenVINO")
    seed = config.seed_values[0]
    which = config.checkpoint if config.mode == "end-to-end" else "best"
    try:
        runs = {name: Run.open(folder.run_root(name, seed)) for name in names}
        found: dict[str, Any] = measure_latency(runs, which, picture)
    except FcnError as error:
        say(f"no times in the serving engine: {error}")
        return
    write_whole(folder.latency_file, json_bytes(found))


def time_forms(folder: ComparisonFolder, say: Callable[[str], None]) -> None:
    """Write forms.json, unless it is there: times of the forms of a transposed convolution.

    Args:
        folder: Of the comparison.
        say: Told what is done.
    """
    if folder.forms():
        return
    say("timing the forms of a transposed convolution")
    try:
        found = measure_forms()
    except FcnError as error:
        say(f"no times of the forms: {error}")
        return
    write_whole(folder.forms_file, json_bytes(found))
