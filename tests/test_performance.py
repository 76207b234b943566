"""`make bench`: each part runs from end to end at a toy's size, and the page tells its figures and verdicts."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import growth, int8, services
from benchmarks.figures import Part, Row, Table, Target
from benchmarks.performance import run_part
from benchmarks.performance_page import PERFORMANCE, lines
from benchmarks.tail import multiplications, part_of

ROOT = Path(__file__).resolve().parent.parent
RUN = {
    "command": "python -m benchmarks.engines", "commit": "abc123", "date": "2026-01-01", "bundle": "mine",
    "machine": "a processor", "load_before": 0.1, "versions": {"bentoml": "1.4"},
}  # fmt: skip
PAGE = dataclasses.replace(PERFORMANCE, parts={name: (name.title(), lines) for name in ("engines", "folder", "more")})


@pytest.fixture(autouse=True)
def _idle_threads_sleep(monkeypatch):
    """Where other tests have the processors, torch's waiting threads would take them from its working ones."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")


def run(name, out, *options):
    """A part as the driver runs it: whatever happens, no server of its own stays behind."""
    reason = run_part(name, ["--quick", "--out", str(out), *options], 200)
    assert not reason
    return PERFORMANCE.read(out)[name]


def part(*targets, tables=()):
    return Part("This beside that.", tables, targets)


def test_a_target_is_met_on_its_own_side_alone_and_at_the_bound_itself():
    assert Target("a", 0.25, 0.25, at_most=True).met
    assert Target("a", 0.2501, 0.25, at_most=True).met is False
    assert Target("a", 0.9, 0.9, at_most=False).met
    assert Target("a", 0.8999, 0.9, at_most=False).met is False
    assert Target("a", None, 0.9, at_most=False).met is None


def test_a_row_has_the_median_and_what_lies_between_a_tenth_and_nine_tenths():
    row = Row.of("a", [5, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11])
    assert (row.median, row.low, row.high) == (6, 2, 10)


def test_the_page_tells_rows_ratios_and_verdicts_and_what_all_parts_share_once():
    rows = (Row("ours", 10.0, 9.0, 11.0), Row("theirs", 40.0, 38.0, 44.0, 0.25), Row("no", None, note="no compiler"))
    first = part(
        Target("ours / theirs", 0.25, 0.3, at_most=True),
        Target("rate", 5.0, 8.0, at_most=False, unit="pictures/s"),
        Target("points", None, 0.1, at_most=True, note="no run"),
        tables=(Table("ms", rows, "ours / it"),),
    )
    parts = {name: first.figures({**RUN, "command": f"run {name}"}) for name in ("engines", "folder")}
    text = PAGE.text(parts)
    assert "| theirs | 40.0 (38.0–44.0) | 0.250 | |" in text
    assert "| no | – | | no compiler |" in text
    assert "- ours / theirs: 0.250, at most 0.3: met." in text
    assert "- rate: 5.00 pictures/s, at least 8 pictures/s: **missed**." in text
    assert "- points: at most 0.1; not measured (no run)." in text
    assert "2 of 4 measured targets are met; 2 were not measured." in text
    assert text.count("Commit `abc123`") == 1
    assert "run engines" in text
    assert text.count("Not measured yet.") == 1


def test_a_part_measured_again_takes_its_old_place_and_leaves_the_others(tmp_path):
    for found in (1.0, 2.0):
        for name in ("engines", "folder"):
            target = Target("a", found if name == "engines" else 1.0, 1.5, at_most=True)
            PAGE.add(tmp_path, name, part(target).figures(RUN))
    parts = PAGE.read(tmp_path)
    assert [figures["targets"][0]["met"] for figures in parts.values()] == [False, True]
    assert (tmp_path / "performance.md").read_text() == PAGE.text(parts)
    assert "<svg" in (tmp_path / "performance.svg").read_text()


def test_a_part_that_fails_or_takes_too_long_says_so_in_one_line(tmp_path):
    assert "no-such-run is not a training run" in run_part("folder", ["--run", str(tmp_path / "no-such-run")], 60)
    assert run_part("folder", ["--run", str(tmp_path)], 0.1) == "not done after 0 s"


def test_the_driver_goes_on_after_a_part_that_failed_and_the_page_says_so(tiny_bundle, tmp_path):
    command = [sys.executable, "-m", "benchmarks.performance", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(
        [*command, "--bundle", str(tiny_bundle.root), "--parts", "engines", "folder"],
        cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Did not run: engines." in (tmp_path / "performance.md").read_text()
    parts = PERFORMANCE.read(tmp_path)
    assert "add --run RUN" in parts["engines"]["failed"]
    # The second part ran, and what it found is what its rows give.
    (table,) = parts["folder"]["tables"]
    engine, _, *forms, _ = table["rows"]
    assert [form["ratio"] for form in forms] == [pytest.approx(form["median"] / engine["median"]) for form in forms]
    assert [target["found"] for target in parts["folder"]["targets"]] == [form["ratio"] for form in forms]
    assert tiny_bundle.manifest.name in parts["folder"]["run"]["bundle"]
    assert str(tiny_bundle.root) not in (tmp_path / "performance.json").read_text()


def test_growth_tells_times_memory_and_clients(tiny_bundle, tmp_path, monkeypatch):
    sizes, numbers = ["--megapixels", "0.1", "0.3"], ["--clients", "1", "4", "--seconds", "0.5"]
    words = ["--quick", "--bundle", str(tiny_bundle.root), "--out", str(tmp_path), *sizes, *numbers]
    monkeypatch.setattr("sys.argv", ["growth", *words])
    growth.main()
    found = PERFORMANCE.read(tmp_path)["growth"]
    times, peaks, clients = (table["rows"] for table in found["tables"])
    assert [row["name"] for row in times] == ["0.1 megapixels", "0.3 megapixels"]
    assert [row["name"] for row in peaks] == ["0.3 megapixels"]  # the largest alone, as it is quick
    assert [row["name"] for row in clients] == ["1 client", "4 clients"]
    assert all(row["median"] > 0 for row in (*times, *peaks, *clients))
    assert found["targets"][1]["found"] == peaks[0]["median"]


def test_throughput_is_judged_from_its_best_on_and_time_by_the_size_that_is_furthest_away():
    rates = {1: [20.0], 2: [40.0, 41.0, 25.0], 8: [38.0], 64: [35.0, 70.0, 20.0]}
    assert growth.kept_share(rates) == 35 / 40
    times = {1.0: [10.0, 10.0], 4.0: [12.0, 12.0], 100.0: [16.0, 16.0]}
    peaks = [{"megapixels": 100.0, "peak_mb": 1300.0}, {"megapixels": 1.0, "peak_mb": 300.0}]
    targets = growth.part_of(times, peaks, rates).targets
    assert targets[0].found == pytest.approx(1 / 3)
    assert targets[0].note == "100 megapixels"
    assert targets[1].found == 1300
    assert [target.met for target in targets] == [False, False, False]


def test_the_service_is_measured_beside_peers_that_answer_with_the_same_classes(exported_run, tmp_path):
    found = run(
        "services", tmp_path, "--run", str(exported_run.root), "--rounds", "1", "--seconds", "1", "--clients", "2"
    )
    rows = {row["name"]: row for row in found["tables"][0]["rows"]}
    assert list(rows)[:2] == [services.OURS, services.WITHOUT]
    assert list(rows)[2:] == list(services.PEERS)
    for name in services.PEERS:
        same = float(rows[name]["note"].split(", ")[1].split("%")[0])
        assert same > 90, rows[name]
        ratio = rows[services.OURS]["median"] / rows[name]["median"]
        assert rows[name]["ratio"] == pytest.approx(ratio)
    targets = {target["what"]: target for target in found["targets"]}
    assert targets["start until ready"]["found"] > 0
    assert targets["idle memory of the worker"]["found"] <= targets["idle memory of all processes"]["found"]


def test_a_server_that_answered_nothing_is_no_row_of_zeros():
    with pytest.raises(RuntimeError, match="no answer in time from a peer: give --seconds more"):
        services.part_of(
            {services.OURS: [5.0], services.WITHOUT: [5.0], "a peer": [0.0]}, {}, {}, 8, {}, 1.0, (1.0, 1.0)
        )


def test_engines_are_measured_side_by_side_and_say_where_torch_cannot_compile(exported_run, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    small = ["--rounds", "2", "--size", "64", "96", "--compile"]
    found = run("engines", tmp_path, "--run", str(exported_run.root), *small)
    rows = {row["name"]: row for row in found["tables"][0]["rows"]}
    own = next(name for name in rows if name.startswith("ours"))
    assert rows["torch.compile f32"]["median"] is None
    assert "cannot be compiled here" in rows["torch.compile f32"]["note"]
    ratio = rows[own]["median"] / rows["torch eager f32"]["median"]
    assert rows["torch eager f32"]["ratio"] == pytest.approx(ratio)
    targets = {target["what"]: target for target in found["targets"]}
    assert targets["ours / torch eager f32"]["found"] == pytest.approx(ratio)
    miou = targets["mIoU: f32 and default precision differ by"]
    assert miou["found"] is not None
    assert miou["found"] < 100
    assert found["run"]["command"].startswith("python -m benchmarks.engines --quick --run RUN")


def test_the_tail_is_held_against_the_encoder_and_its_own_multiplications():
    times = {"encoder alone": [10.0]}
    times |= {f"{name}, 11 classes": [found] for name, found in (("bilinear", 11.0), ("learned", 12.0))}
    times["learned-dense, 11 classes"] = [14.0]
    facts = {
        "classes": [11], "size": [64, 96], "features": [(1, 40, 8, 12), (1, 112, 4, 6), (1, 320, 2, 3)],
        "precision": "f32", "tail": "fused", "copy_rate": 1e9,
        # So that the multiplications take two milliseconds.
        "peak": multiplications(11, 64, 96) / 2e-3,
        "memory": {"learned": {"classes": 11, "side": 1000, "peak_mb": 22.0, "before_mb": 9.0}},
    }  # fmt: skip
    found = part_of(times, facts)
    assert [round(row.ratio, 3) for row in found.tables[0].rows] == [1, 1.1, 1.2, 1.4]
    assert [(round(target.found, 3), target.met) for target in found.targets] == [
        (1.1, True), (1.2, False), (round(14 / 12, 3), True), (0.5, False),
    ]  # fmt: skip


def test_multiplications_of_dense_kernels_are_counted_at_every_stage():
    assert multiplications(11, 64, 96) == 4 * 11**2 * (4 * 6 + 8 * 12 + 64 * 96)


def test_int8_is_held_against_the_float_network_and_its_miou_is_told():
    facts = {"miou": {"fall_points": 0.6, "pictures": 101}}
    found = int8.part_of(int8.Found({"float, bf16": [10.0], "int8": [7.0]}, 0.99, facts))
    assert [(target.found, target.met) for target in found.targets] == [(0.7, True), (0.6, False)]
    assert "not worth it" not in found.targets[0].note
    seeded = int8.part_of(int8.Found({"float, bf16": [10.0], "int8": [9.0]}, 0.99, {}))
    assert [(target.found, target.met) for target in seeded.targets] == [(0.9, False), (None, None)]
    assert "not worth it" in seeded.targets[0].note
