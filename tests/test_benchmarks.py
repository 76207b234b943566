"""The benchmarks of the service: each runs from end to end on a small bundle, and its page tells what was found."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.clients import Answer, Answers
from benchmarks.load import overload
from benchmarks.performance_page import PERFORMANCE
from benchmarks.record import given
from benchmarks.service_page import SERVICE

ROOT = Path(__file__).resolve().parent.parent


def servers(bundle):
    """Numbers of the processes that serve a bundle: workers have no more of it than the variable."""
    wanted = str(bundle.root.absolute())
    running = psutil.process_iter(["pid", "environ"])
    return {one.info["pid"] for one in running if (one.info["environ"] or {}).get("FCN_BUNDLE") == wanted}


def run(name, bundle, out, *options):
    command = [sys.executable, "-m", f"benchmarks.{name}", str(bundle.root), "--quick", "--out", str(out), *options]
    before = servers(bundle)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert servers(bundle) <= before
    return json.loads((out / "service.json").read_text())[name]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


def test_load_finds_what_a_server_bears_and_offers_four_times_that(tiny_bundle, out):
    found = run("load", tiny_bundle, out, "--clients", "4", "--seconds", "0.5", "--overload-seconds", "1")
    assert [row["clients"] for row in found["closed"]] == [1, 4]
    assert found["best_throughput"] == max(row["throughput"] for row in found["closed"]) > 0
    over = found["overload"]
    assert over["offered"] == 4 * found["best_throughput"]
    assert over["only_200_and_503"], over["statuses"]
    # As many as arrive by chance at that rate, within a sixth of them or six deviations.
    expected = over["offered"] * over["seconds"]
    assert abs(sum(over["statuses"].values()) - expected) < max(expected / 6, 6 * expected**0.5)
    assert 0 < found["one_client"]["stages_p50_ms"] < found["one_client"]["p50_ms"]
    assert found["idle_worker_mb"] <= found["idle_all_mb"]


def test_soak_counts_every_request_and_knows_sound_pictures_from_broken_ones(tiny_bundle, out):
    found = run("soak", tiny_bundle, out, "--requests", "40", "--warm-up", "10")
    assert found["as_expected"], found["unexpected"]
    assert sum(found["statuses"].values()) == found["requests"] == 40
    assert [row["requests"] for row in found["samples"]] == [0, 10, 20, 30, 40]


def test_memory_tells_the_peak_of_each_size(tiny_bundle, out):
    found = run("memory", tiny_bundle, out, "--megapixels", "0.1", "8")
    small, large = found["rows"]
    assert small["peak_mb"] >= small["idle_mb"] > 0
    assert large["peak_mb"] > small["peak_mb"] + 8e6 * 3 / 1e6  # the decoded picture at least


def test_the_page_tells_each_part_with_its_command_commit_and_verdict():
    run = {
        "command": "python -m benchmarks.memory BUNDLE", "commit": "abc123", "date": "2026-01-01", "bundle": "mine",
        "machine": "a processor", "load_before": 0.1, "versions": {"bentoml": "1.4"},
    }  # fmt: skip
    row = {"megapixels": 100, "body_mb": 30, "peak_mb": 1300, "idle_mb": 300, "seconds": 9, "ms_a_megapixel": 90}
    text = SERVICE.text({"memory": {"run": run, "rows": [row], "target_mb": 1200, "met": False}})
    assert "python -m benchmarks.memory BUNDLE" in text
    assert "Commit `abc123`" in text
    assert "| 100 | 30.0 | 1300 | 300 | 9.00 | 90 |" in text
    assert "**missed**" in text
    assert text.count("Not measured yet.") == 2


@pytest.mark.parametrize("bundle", ["/some/where/bundle", "/some/where/bundle/", "./runs//mine"])
def test_the_command_that_is_told_has_no_path_of_the_machine(bundle):
    stand_ins = {"--out": "", "--run": "RUN"}
    assert given([bundle, "--quick", "--out", "/some/where"], stand_ins, Path(bundle)) == ["--quick"]
    assert given(["--run=/some/where", "--out=/there", "--quick"], stand_ins) == ["--run", "RUN", "--quick"]


def test_one_accepted_answer_that_comes_too_late_misses_the_target():
    answers = [Answer(0, 0, 0.2, 200, 0.1, "a"), Answer(0, 0, 0.6, 200, 0.1, "a"), Answer(0, 0, 0.01, 503, 0, "a")]
    found = overload(Answers(answers, 0.1, 1.0), offered=3, seconds=1, target=0.5)
    assert found["within"] == 0.5
    assert not found["met"]
    assert found["only_200_and_503"]
    broken = overload(Answers([*answers, Answer(0, 0, 0.1, 0, 0, "a")], 0.1, 1.0), 3, 1, 0.7)
    assert broken["met"]
    assert not broken["only_200_and_503"]


@pytest.mark.parametrize("page", [SERVICE, PERFORMANCE], ids=lambda page: page.name)
def test_the_page_in_the_docs_is_what_its_figures_give(page):
    folder = ROOT / "docs" / "results"
    assert (folder / f"{page.name}.md").read_text() == page.text(page.read(folder))
