"""The forms of a transposed convolution that are timed are one and the same map; their times are kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from model.compare import forms as module
from model.compare.folder import ComparisonFolder
from model.compare.forms import FORMS, kernel_size, measure_forms, prepare_forms
from model.compare.record import json_bytes
from model.transposed import count_multiplications, transposed_by_phases


@pytest.fixture(scope="module")
def measured() -> dict:
    return measure_forms(factors=(2, 32), rounds=5)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 8, 16])
@pytest.mark.parametrize("side", [1, 5])
def test_every_form_that_is_timed_gives_what_the_plain_one_gives(factor: int, side: int) -> None:
    random = np.random.default_rng(factor)
    kernel = random.normal(size=(kernel_size(factor), kernel_size(factor)))
    coarse = random.normal(size=(side, side))
    expected = transposed_by_phases(coarse, kernel, factor, factor // 2)
    assert expected.shape == (factor * side, factor * side)
    torchs = functional.conv_transpose2d(
        torch.tensor(coarse)[None, None], torch.tensor(kernel)[None, None], stride=factor, padding=factor // 2
    )
    assert np.allclose(torchs[0, 0].numpy(), expected)
    forms = prepare_forms(factor, side)
    assert set(forms) == set(FORMS)
    with torch.inference_mode():
        for name, form in forms.items():
            for _ in range(2):  # the second time as the first
                assert np.allclose(form(), expected, atol=1e-5 * np.abs(expected).max()), name


def test_rows_hold_counts_and_times_of_every_form_and_factor(measured: dict) -> None:
    rows = measured["rows"]
    assert [(row["scale_factor"], row["form"]) for row in rows] == [(f, name) for f in (2, 32) for name in _order(rows)]
    assert json.loads(json_bytes(measured)) == measured
    for row in rows:
        low, high = row["spread"]
        assert 0 < low <= row["milliseconds"] <= high
        counts = count_multiplications((8, 8), 2 * row["scale_factor"], row["scale_factor"], row["scale_factor"] // 2)
        assert row["multiplications"] == getattr(counts, row["form"], None)
    assert {row["form"] for row in rows if row["multiplications"] is None} == {"torch", "openvino"}


def _order(rows: list[dict]) -> list[str]:
    found = [row["form"] for row in rows[: len(FORMS)]]
    assert set(found) == set(FORMS)
    return found


def test_inserting_zeros_takes_longer_than_phases_where_it_multiplies_1024_times_as_much(measured: dict) -> None:
    times = {row["form"]: row["milliseconds"] for row in measured["rows"] if row["scale_factor"] == 32}
    assert times["zero_insertion"] > times["phases"]


def test_the_number_of_threads_is_as_before(measured: dict) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        measure_forms(factors=(2,), rounds=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert measured["threads"] == 1


def test_a_form_that_gives_another_answer_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare_forms(2)
    wrong = {**prepared, "phases": lambda: prepared["phases"]() + 1}
    monkeypatch.setattr(module, "prepare_forms", lambda factor, side: wrong)
    with pytest.raises(module.RunError, match="phases gives another answer than torch at ×2"):
        measure_forms(factors=(2,), rounds=1)


def test_the_benchmark_makes_a_table_with_a_row_for_every_form_and_factor(tmp_path: Path) -> None:
    page, data = tmp_path / "forms.md", tmp_path / "forms.json"
    benchmark = Path(__file__).resolve().parent.parent / "benchmarks" / "forms.py"
    command = [sys.executable, benchmark, "--quick", "--side", "2", "--page", page, "--out", data]
    done = subprocess.run(
        command, cwd=benchmark.parent.parent, env={**os.environ, "PYTHONPATH": "."}, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert text in done.stdout
    assert text.count("\n| ×") == len(json.loads(data.read_text())["rows"]) == 30
    assert "`python benchmarks/forms.py --quick --side 2`, commit `" in text
    assert "| ×8 | zeros inserted, direct | 65 536 | 64.0 |" in text


def test_times_that_are_missing_or_damaged_are_none(measured: dict, tmp_path: Path) -> None:
    folder = ComparisonFolder(tmp_path)
    assert folder.forms() == {}
    folder.forms_file.write_bytes(json_bytes(measured))
    assert folder.forms() == measured
    folder.forms_file.write_text("[1")
    assert folder.forms() == {}
    for damaged in ([1], {}, {**measured, "rows": 5}, {**measured, "rows": [5]}, {**measured, "rows": [{"form": "a"}]}):
        folder.forms_file.write_bytes(json_bytes(damaged))
        assert folder.forms() == {}
    folder.forms_file.write_bytes(json_bytes({name: value for name, value in measured.items() if name != "rounds"}))
    assert folder.forms() == {}
