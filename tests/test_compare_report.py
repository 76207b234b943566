"""The report is made from results alone, says what they say, and needs nothing from anywhere."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from data.errors import RunError
from data.sources.catalogue import SourceConfig
from model.compare.config import Arm, CompareConfig
from model.compare.folder import ComparisonFolder
from model.compare.report import write_report
from model.compare.results import read_result, result_file, write_result
from model.config import TrainConfig
from tests.comparisons import make_comparison, make_result


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> ComparisonFolder:
    config = CompareConfig(TrainConfig(SourceConfig("shapes")), ("bilinear", "learned", "pixel-shuffle"), (32, 8))
    folder = make_comparison(
        tmp_path_factory.mktemp("comparison") / "c", config, {"bilinear": 0.5, "learned": 0.2, "pixel-shuffle": 0.52}
    )
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def report(comparison: ComparisonFolder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((comparison.root / "report.json").read_text(encoding="utf-8"))
    return found


class Page(HTMLParser):
    """Collects what a page is made of."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in {"src", "href", "xlink:href", "action", "data", "poster", "srcset"}:
                self.addresses.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(comparison: ComparisonFolder) -> Page:
    parsed = Page()
    parsed.feed((comparison.root / "report.html").read_text(encoding="utf-8"))
    assert not parsed.open
    return parsed


def test_the_page_holds_every_section_and_no_id_twice(page: Page) -> None:
    for name in ("verdict", "scores", "comparison", "where", "pictures", "learned", "method", "provenance"):
        assert name in page.ids
    for name in ("differences", "trimap", "objects", "classes", "kernels", "frequencies", "curves"):
        assert name in page.ids
    assert len(set(page.ids)) == len(page.ids)


def test_the_page_asks_for_nothing_and_runs_nothing(comparison: ComparisonFolder, page: Page) -> None:
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "base"}
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in page.addresses)
    text = (comparison.root / "report.html").read_text(encoding="utf-8")
    spaces = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\s\"'<>)]+", text)) <= spaces
    assert "@import" not in text
    assert not re.findall(r"url\((?!#)", text)
    assert not re.findall(r"\son\w+=", text)


def test_every_figure_is_valid_svg_in_the_colours_of_the_page(comparison: ComparisonFolder) -> None:
    text = (comparison.root / "report.html").read_text(encoding="utf-8")
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawings) == 7
    css = (Path(__file__).parent.parent / "model/compare/report.css").read_text(encoding="utf-8")
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)  # noqa: S314  written by this test's own code
        assert root.get("viewBox")
        assert root.get("aria-label")
        for reference in re.findall(r"url\(#([^)]*)\)", drawing):
            assert f'id="{reference}"' in drawing
        for variable in set(re.findall(r"var\((--[\w-]+)\)", drawing)):
            assert f"{variable}:" in css
        assert "#0b0c" not in drawing


def test_names_of_classes_cannot_break_the_page(comparison: ComparisonFolder) -> None:
    assert "<other>" not in (comparison.root / "report.html").read_text(encoding="utf-8")


def test_the_verdict_says_which_arm_is_better_and_that_another_is_not(report: dict[str, Any]) -> None:
    calls = {c["arm"]: c["miou"]["call"] for c in report["comparisons"]}
    assert calls["learned-32s"] == calls["learned-8s"] == "better"
    assert report["verdict"]["recommended"].startswith("learned")
    first = report["verdict"]["sentences"][0]
    assert first.startswith("Learned upsampling is better than bilinear by ")
    assert re.search(r" at stride 32 and by \d+\.\d\d \(\d+\.\d\d to \d+\.\d\d\) at stride 8\.$", first)
    assert len(report["verdict"]["sentences"]) == 2


def test_classes_that_do_not_occur_are_in_no_mean(report: dict[str, Any]) -> None:
    arm = report["arms"][0]
    present = [value["mean"] for name, value in arm["class_iou"].items() if name != "never"]
    assert arm["class_iou"]["never"]["mean"] is None
    assert arm["miou"]["mean"] == pytest.approx(np.mean(present))
    assert report["data"]["absent"] == ["never"]
    assert "never" not in report["comparisons"][0]["class_iou"]


def test_the_report_is_the_same_when_made_again(comparison: ComparisonFolder) -> None:
    names = ("report.json", "report.md", "report.html")
    before = [(comparison.root / name).read_bytes() for name in names]
    write_report(comparison)
    assert [(comparison.root / name).read_bytes() for name in names] == before


def test_the_text_report_has_a_row_for_every_arm_and_comparison(comparison: ComparisonFolder) -> None:
    text = (comparison.root / "report.md").read_text(encoding="utf-8")
    assert text.count("\n| bilinear-") == 2
    assert text.count("| learned | ") == 2
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


def test_times_of_the_forms_stand_beside_their_counts_where_they_were_taken(
    comparison: ComparisonFolder, report: dict[str, Any], tmp_path: Path
) -> None:
    assert [form["scale_factor"] for form in report["forms"]] == [2, 8, 32]
    assert report["forms_timing"] == {}
    assert all(form["milliseconds"] == {} for form in report["forms"])
    plain = (comparison.root / "report.md").read_text(encoding="utf-8")
    assert "| ×2 | 16.4 k | 4096 | 1024 | 900 |" in plain
    assert " ms |" not in plain.split("## One map")[1].split("## Method")[0]
    root = tmp_path / "c"
    shutil.copytree(comparison.root, root)
    names = ("dense_matrix", "zero_insertion", "phases", "sparse_matrix", "torch", "openvino")
    rows = [
        {"scale_factor": factor, "form": name, "multiplications": 1, "milliseconds": time, "spread": [time, time]}
        for factor in (2, 4)
        for name, time in zip(names, (0.0123, 45.6, 3.04, 0.5, 6.0, 123.4), strict=True)
    ]
    timing = {"side": 8, "rounds": 15, "threads": 1, "precision": "f32", "processor": "a processor", "git_commit": "0"}
    (root / "forms.json").write_text(json.dumps({"rows": rows, **timing}), encoding="utf-8")
    write_report(ComparisonFolder(root))
    found = json.loads((root / "report.json").read_text(encoding="utf-8"))
    assert [form["scale_factor"] for form in found["forms"]] == [2, 4, 8, 32]
    assert found["forms_timing"] == timing
    assert found["forms"][1]["milliseconds"]["zero_insertion"] == 45.6
    assert found["forms"][2]["milliseconds"] == {}
    text = (root / "report.md").read_text(encoding="utf-8")
    assert "| ×2 | 16.4 k; 0.012 ms | 4096; 46 ms | 1024; 3.0 ms | 900; 0.50 ms | 6.0 ms | 123 ms |" in text
    html = (root / "report.html").read_text(encoding="utf-8")
    assert "<td>4096<br><small>46 ms</small></td>" in html
    assert "<small>15 in time</small>" in html
    assert "medians of 15 rounds" in html


def test_an_equal_arm_gives_no_difference_and_the_cost_of_seeing_one(tmp_path: Path) -> None:
    config = CompareConfig(TrainConfig(SourceConfig("shapes")), strides=(16,))
    folder = make_comparison(tmp_path / "c", config, {"bilinear": 0.5, "learned": 0.501})
    write_report(folder)
    found = json.loads((folder.root / "report.json").read_text(encoding="utf-8"))
    assert found["verdict"]["recommended"] == "bilinear-16s"
    assert found["verdict"]["sentences"][0].startswith("No difference from bilinear interpolation is shown")
    assert "half a point" in found["verdict"]["sentences"][1]


def test_one_seed_gives_scores_but_no_verdict(tmp_path: Path) -> None:
    config = CompareConfig(TrainConfig(SourceConfig("shapes")), strides=(16,), seeds=1)
    folder = make_comparison(tmp_path / "c", config, {"bilinear": 0.5, "learned": 0.1})
    write_report(folder)
    found = json.loads((folder.root / "report.json").read_text(encoding="utf-8"))
    assert found["comparisons"][0]["miou"]["call"] == "too few seeds"
    assert found["comparisons"][0]["miou"]["over_seeds"] is None
    assert "two are needed" in found["verdict"]["sentences"][0]
    assert "train two at least" in (folder.root / "report.html").read_text(encoding="utf-8")


def test_a_damaged_result_takes_its_seed_out_and_is_told(tmp_path: Path) -> None:
    config = CompareConfig(TrainConfig(SourceConfig("shapes")), strides=(16,))
    folder = make_comparison(tmp_path / "c", config, {"bilinear": 0.5, "learned": 0.4})
    path = result_file(folder.root, Arm("learned", 16), 1)
    path.write_bytes(path.read_bytes()[:100])
    write_report(folder)
    found = json.loads((folder.root / "report.json").read_text(encoding="utf-8"))
    assert found["seeds"] == [0, 2]
    assert "learned-16s, seed 1" in found["missing"][0]
    assert "damaged" in found["missing"][0]


def test_without_one_complete_seed_there_is_no_report(tmp_path: Path) -> None:
    config = CompareConfig(TrainConfig(SourceConfig("shapes")), strides=(16,), seeds=1)
    folder = make_comparison(tmp_path / "c", config, {"bilinear": 0.5, "learned": 0.4})
    result_file(folder.root, Arm("learned", 16), 0).unlink()
    with pytest.raises(RunError, match="no seed with a result of every arm"):
        write_report(folder)
    with pytest.raises(RunError, match="holds no comparison"):
        write_report(ComparisonFolder(tmp_path / "nothing"))


def test_a_result_comes_back_as_it_was_written(tmp_path: Path) -> None:
    config = CompareConfig(TrainConfig(SourceConfig("shapes")), strides=(16,))
    result = make_result(config, Arm("learned", 16), 0, 0.3)
    path = result_file(tmp_path, result.arm, 0)
    write_result(path, result)
    found = read_result(path)
    assert found.arm == result.arm
    assert found.measurement.bands.tolist() == result.measurement.bands.tolist()
    assert all(np.array_equal(one, other) for one, other in zip(found.ends, result.ends, strict=True))
    assert found.shown.keys() == result.shown.keys()
    assert sorted(p.name for p in path.parent.iterdir()) == ["learned-16s-seed0.json", "learned-16s-seed0.npz"]


def test_arrays_of_another_result_are_found_out(tmp_path: Path) -> None:
    config = CompareConfig(TrainConfig(SourceConfig("shapes")), strides=(16,))
    paths = [result_file(tmp_path, Arm("learned", 16), seed) for seed in (0, 1)]
    for seed, path in enumerate(paths):
        write_result(path, make_result(config, Arm("learned", 16), seed, 0.3))
    paths[0].with_suffix(".npz").write_bytes(paths[1].with_suffix(".npz").read_bytes())
    with pytest.raises(RunError, match="does not belong"):
        read_result(paths[0])


def test_every_field_of_the_report_is_documented(report: dict[str, Any]) -> None:
    text = (Path(__file__).parent.parent / "docs" / "comparison.md").read_text(encoding="utf-8")
    schema = text.split("## report.json")[1]
    assert f"schema version {report['schema_version']}" in schema
    names = {*report, *report["arms"][0], *report["comparisons"][0], *report["kernels"][0]}
    names |= {
        *report["forms"][0],
        *report["kernels"][0]["stages"][0],
        *report["verdict"],
        *report["data"],
        *report["statistics"],
    }
    assert {name for name in names if f"`{name}" not in schema} == set()


def test_a_report_names_no_folder_of_the_machine_that_made_it(tmp_path: Path) -> None:
    data = SourceConfig("folder", root=Path("/home/someone/secret pictures"))
    config = CompareConfig(TrainConfig(data), strides=(16,))
    write_report(make_comparison(tmp_path / "c", config, {"bilinear": 0.5, "learned": 0.4}))
    for name in ("report.json", "report.md", "report.html"):
        text = (tmp_path / "c" / name).read_text(encoding="utf-8")
        assert "someone" not in text
        assert str(tmp_path) not in text


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"milliseconds": {"bilinear-16s": 20.5}}', '{"milliseconds": {"bilinear-16s": "fast"}}']
)
def test_damaged_times_are_taken_for_none(tmp_path: Path, text: str) -> None:
    config = CompareConfig(TrainConfig(SourceConfig("shapes")), strides=(16,))
    folder = make_comparison(tmp_path / "c", config, {"bilinear": 0.5, "learned": 0.4})
    folder.latency_file.write_text(text, encoding="utf-8")
    assert folder.latency() == {}
    whole = {"picture": [64, 64], "rounds": 3, "engine": "OpenVINO, f32", "processor": "a processor"}
    times = {"milliseconds": {"bilinear-16s": 20.5}, "peak_bytes": {"bilinear-16s": 200_000_000}, **whole}
    folder.latency_file.write_text(json.dumps(times), encoding="utf-8")
    write_report(folder)
    report = (folder.root / "report.md").read_text(encoding="utf-8")
    assert "| 20.5 | 200 |" in report
