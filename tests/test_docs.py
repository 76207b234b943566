"""The pages in docs/ say what the code says: settings, routes, errors, metrics, files."""

from __future__ import annotations

import ast
import json
import re
import shlex
from dataclasses import fields
from fnmatch import fnmatch
from http import HTTPStatus
from pathlib import Path

import pytest
from pycocotools import mask as coco

from data.downloads.place import VARIABLE as DATA_VARIABLE
from model.cli import main
from service.errors import _HTTP_HINTS, _PICTURE_FAULTS
from service.options import SegmentOptions
from service.routes import create_app
from service.schema import SegmentAnswer
from service.settings import PREFIX, Settings
from service.station import Station

ROOT = Path(__file__).resolve().parent.parent
SERVICE = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
SETTINGS = {f"{PREFIX}{field.name.upper()}": field.default for field in fields(Settings)}


def section(title):
    """A section of service.md, up to the next one of its level."""
    return re.split(r"^## ", SERVICE.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def table_rows(text):
    """The cells of every row of the tables in a text, backticks taken off."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("| ---")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def calls(path, *names):
    """Every call in a file of a function with one of these names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name))
    return [node for node in nodes if node.func.id in names]


def error_codes():
    """Status and code of every error that the service can answer."""
    codes = {(status, code) for _, status, code, _ in _PICTURE_FAULTS}
    codes |= {(status, HTTPStatus(status).phrase.lower().replace(" ", "_")) for status in _HTTP_HINTS}
    for path in (ROOT / "service").glob("*.py"):
        for call in calls(path, "ServiceError"):
            status, code = call.args[:2]
            if isinstance(status, ast.Constant) and isinstance(code, ast.Constant):
                codes.add((status.value, code.value))
    return codes


def test_every_setting_stands_in_the_table_with_its_default():
    told = {row[0]: row[1] for row in table_rows(section("Settings")) if row[0].startswith(PREFIX)}
    assert told == {name: shown(default) for name, default in SETTINGS.items()}


def shown(default):
    """A default as the table has it."""
    if isinstance(default, tuple):
        return ", ".join(str(entry) for entry in default)
    return "" if default is None else str(default)


def test_every_setting_named_in_a_page_exists():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    assert len(pages) >= 4
    for page in pages:
        for name in re.findall(rf"\b{PREFIX}[A-Z][A-Z_]*\b", page.read_text(encoding="utf-8")):
            assert name in {*SETTINGS, DATA_VARIABLE}, f"{page.name} names {name}"


def test_every_route_stands_in_the_table_and_every_route_there_exists():
    station = Station(Settings())
    routes = {
        (method, route.path) for route in create_app(station).routes for method in route.methods if method != "HEAD"
    }
    station.close()
    told = {tuple(words.split()) for row in table_rows(section("Routes")) for words in re.split("`, `", row[0])}
    assert {pair for pair in told if pair[0] in {"GET", "POST"}} == routes


def test_every_option_stands_in_the_table_with_its_default():
    told = {row[0]: row[2] for row in table_rows(section("Routes")) if row[0] in SegmentOptions.model_fields}
    assert told == {
        name: str(option.default).lower() if option.default not in ("", ()) else ""
        for name, option in SegmentOptions.model_fields.items()
    }


def test_every_error_code_stands_in_the_table_and_every_code_there_exists():
    assert len(error_codes()) > 15
    told = {(int(row[0]), row[1]) for row in table_rows(section("Errors")) if row[0].isdigit()}
    assert told == error_codes()


def test_every_metric_stands_in_the_table_with_its_labels():
    defined = {}
    for call in calls(ROOT / "service" / "metrics.py", "Counter", "Gauge", "Histogram"):
        labels = [node.value for node in call.args[2].elts] if len(call.args) > 2 else []
        defined[call.args[0].value] = set(labels)
    rows = [row for row in table_rows(section("Health, metrics, log")) if row[0] != "Metric"]
    told = {row[0]: set(re.findall(r"[a-z_]+", row[1].split(":")[0])) for row in rows}
    assert told == defined


# pycocotools 2.0.11 has an array class of before numpy 2's copy keyword.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_json_example_is_an_answer_and_its_masks_can_be_read():
    (example,) = re.findall(r"```json\n(.*?)```", SERVICE, flags=re.DOTALL)
    answer = SegmentAnswer.model_validate(json.loads(example))
    assert json.loads(example) == answer.model_dump(mode="json", exclude_none=True)
    for entry in answer.classes:
        mask = coco.decode(entry.rle.model_dump())
        assert mask.shape == (answer.height, answer.width)
        assert entry.pixels == mask.sum()
        assert entry.share == mask.mean()


def tree_of_the_architecture():
    """The paths of the tree in architecture.md, as patterns; folders end with a slash."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    paths = []
    folders = {0: ""}
    for line in text.split("```")[1].strip("\n").splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        for word in line.split():
            if not re.fullmatch(r"[\w*.]+(\.py|/)", word):
                break
            paths.append(folders[depth] + word)
            if word.endswith("/"):
                folders[depth + 1] = folders[depth] + word
    return paths


def test_every_file_and_folder_of_the_architecture_exists():
    paths = tree_of_the_architecture()
    assert len(paths) > 40
    for pattern in paths:
        assert list(ROOT.glob(pattern.rstrip("/"))), pattern


def test_every_module_stands_in_the_architecture():
    """A folder whose files are not listed one by one stands for all that it holds."""
    paths = tree_of_the_architecture()
    bare = [path for path in paths if path.endswith("/") and not any(p.startswith(path) and p != path for p in paths)]
    for room in ("data", "model", "service"):
        for module in sorted((ROOT / room).rglob("*.py")):
            name = module.relative_to(ROOT).as_posix()
            if module.name == "__init__.py" or any(name.startswith(folder) for folder in bare):
                continue
            assert any(fnmatch(name, path) and path.count("/") == name.count("/") for path in paths), name


SCALING = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")


def test_the_arithmetic_of_scaling_gives_what_stands_below_it(capsys):
    code, result = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", SCALING, flags=re.DOTALL).groups()
    exec(code, {})  # noqa: S102 - the page's own
    assert capsys.readouterr().out == result


def test_every_command_of_scaling_is_one_that_fcn_takes(capsys):
    blocks = re.findall(r"```bash\n(.*?)```", SCALING, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if "ray start" not in line]
    commands = [re.split(r"(?:\bfcn|model\.cli) (?=train|predict)", line)[1] for line in lines]
    assert len(commands) == 5
    for command in commands:
        with pytest.raises(SystemExit) as stopped:
            main([*shlex.split(command), "--print_config"])
        assert not stopped.value.code, capsys.readouterr().err
