"""Pages of figures: a JSON file of parts and, made from it, a page in Markdown.

    python -m benchmarks.record docs/results

writes the pages anew from their JSON. Each benchmark puts its part into the JSON file with the command, commit, machine
and versions of its own run, so that one part can be measured again alone.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from data.errors import BundleError
from model.provenance import git_commit, processor_name
from model.runtime.bundle import read_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

PACKAGES = ("bentoml", "openvino", "onnxruntime", "torch", "numpy", "pillow", "uvicorn", "locust")

Lines = list[str]


def circumstances(script: str, bundle: str, arguments: Iterable[str], load: float | None = None) -> dict[str, Any]:
    """What was run on what, when: goes with every part.

    Args:
        script: Name of the benchmark.
        bundle: Name of the network that was run, as ``told_bundle`` has it.
        arguments: Of the command line, without folders of this machine.
        load: Load average before anything was measured; of this moment by default.
    """
    return {
        "command": " ".join(["python -m", f"benchmarks.{script}", *arguments]),
        "commit": git_commit(),
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "bundle": bundle,
        "machine": f"{processor_name()}, {os.cpu_count()} processors, {psutil.virtual_memory().total / 1e9:.0f} GB",
        "load_before": round(os.getloadavg()[0] if load is None else load, 2),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def told_bundle(bundle: Path) -> str:
    """Name, version and encoder of a bundle; its folder's name is left out, its network's hash is not.

    A bundle that cannot be used is a fault of the command line's: one line, before anything is started.
    """
    try:
        manifest = read_bundle(bundle).manifest
    except BundleError as error:
        sys.exit(str(error))
    return f"{manifest.name} {manifest.version}, {manifest.encoder}"


@dataclass(frozen=True)
class Page:
    """A page of figures: NAME.json holds its parts, NAME.md is made from it.

    Attributes:
        name: Of both files.
        title: Heading of the page.
        command: What measures all of it.
        parts: By name, in the page's order: the heading and what makes lines of the figures.
        summary: Lines for the top, of all parts that are there.
        draw: Makes a picture of them beside the page.
        shared_once: Tell at the top what all parts have in common, such as the machine, and not with each.
    """

    name: str
    title: str
    command: str
    parts: Mapping[str, tuple[str, Callable[[dict[str, Any]], Lines]]]
    summary: Callable[[dict[str, Any]], Lines] = lambda parts: []  # noqa: ARG005  a plain field with a default
    draw: Callable[[dict[str, Any], Path], None] = lambda parts, folder: None  # noqa: ARG005
    shared_once: bool = False

    def read(self, folder: Path) -> dict[str, Any]:
        """The parts that were measured, by name.

        Raises:
            ValueError: NAME.json is there and no JSON.
        """
        path = folder / f"{self.name}.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return found

    def add(self, folder: Path, part: str, figures: dict[str, Any]) -> None:
        """Put one part into NAME.json and write NAME.md anew.

        Raises:
            ValueError: NAME.json is there and no JSON.
        """
        parts = {**self.read(folder), part: figures}
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(parts, indent=2, allow_nan=False)
        (folder / f"{self.name}.json").write_text(f"{text}\n", encoding="utf-8")
        self.write(folder)

    def write(self, folder: Path) -> None:
        """Write NAME.md from NAME.json; without one, a page that says how to make it."""
        parts = self.read(folder)
        (folder / f"{self.name}.md").write_text(self.text(parts), encoding="utf-8")
        self.draw({part: parts[part] for part in self.parts if part in parts}, folder)

    def text(self, parts: dict[str, Any]) -> str:
        """The page in Markdown.

        Args:
            parts: Those that were measured, each as its benchmark makes it.
        """
        known = {part: parts[part] for part in self.parts if part in parts}
        shared = _shared([figures["run"] for figures in known.values()]) if self.shared_once else {}
        lines = [f"# {self.title}", "", f"Written by `{self.command}`."]
        lines += ["", *facts(shared)] if shared else []
        lines += self.summary(known)
        for part, (title, write) in self.parts.items():
            lines += ["", f"## {title}", ""]
            if part not in known:
                lines += ["Not measured yet."]
                continue
            run = {name: value for name, value in known[part]["run"].items() if name not in shared}
            lines += [*told(run), "", *write(known[part])]
        return "\n".join(lines) + "\n"

    def report(self, part: str, figures: dict[str, Any], out: Path | None) -> None:
        """Print a part as the page has it, and write it if a folder is given."""
        print("\n".join([*told(figures["run"]), "", *self.parts[part][1](figures)]), flush=True)
        if out is not None:
            self.add(out, part, figures)


def told(run: dict[str, Any]) -> Lines:
    """What was run on what, in lines."""
    return ["```", run["command"], "```", "", *facts(run)]


def facts(run: dict[str, Any]) -> Lines:
    """Commit, date, machine, bundle and versions, as far as they are there."""
    first = [f"Commit `{run['commit']}`"] if "commit" in run else []
    first += [run["date"]] if "date" in run else []
    second = [run["machine"]] if "machine" in run else []
    second += [f"load average before: {run['load_before']}"] if "load_before" in run else []
    third = [f"Bundle: {run['bundle']}."] if "bundle" in run else []
    third += [", ".join(" ".join(pair) for pair in run["versions"].items()) + "."] if "versions" in run else []
    sentences = [f"{', '.join(first)}."] if first else []
    sentences += [f"{'; '.join(second)}."] if second else []
    return [line for line in (" ".join(sentences), " ".join(third)) if line]


def verdict(met: bool) -> str:
    """A target's."""
    return "met" if met else "**missed**"


def given(words: Sequence[str], stand_ins: Mapping[str, str], left_out: Path | None = None) -> list[str]:
    """The arguments of a command line without what belongs to this machine.

    Args:
        words: All of them.
        stand_ins: For options that name a folder, as ``--out``: what is told in its place; empty leaves the option out.
        left_out: A path that is left out where it stands by itself.
    """
    rest = iter(words)
    kept = []
    for word in rest:
        option, equals, _ = word.partition("=")
        if option in stand_ins:
            if not equals:
                next(rest, None)
            kept += [option, stand_ins[option]] if stand_ins[option] else []
        elif left_out is None or Path(word) != left_out:
            kept.append(word)
    return kept


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # the service is measured without torch as well
            continue
    return found


def _shared(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What is the same in all of several runs; nothing where there is one run alone or none."""
    if len(runs) < 2:
        return {}
    rest = ("command", "date", "load_before")
    return {name: value for name, value in runs[0].items() if name not in rest and all(r[name] == value for r in runs)}


def _rewrite(folder: Path) -> None:
    from benchmarks.performance_page import PERFORMANCE  # noqa: PLC0415  both stand on this module
    from benchmarks.service_page import SERVICE  # noqa: PLC0415

    for page in (SERVICE, PERFORMANCE):
        page.write(folder)


if __name__ == "__main__":
    _rewrite(Path(sys.argv[1]))
