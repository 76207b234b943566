"""The page of the service's figures: docs/results/service.json and, made from it, service.md.

    python -m benchmarks.record docs/results

Each benchmark puts its part into the JSON file with the command, commit, machine and versions of its own run.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from data.errors import BundleError
from model.provenance import git_commit, processor_name
from model.runtime.bundle import read_bundle

PACKAGES = ("bentoml", "openvino", "onnxruntime", "numpy", "pillow", "uvicorn", "locust")


def circumstances(script: str, bundle: Path, arguments: list[str]) -> dict[str, Any]:
    """What was run on what, when: goes with every part.

    Args:
        script: Name of the benchmark.
        bundle: What is served; its folder's name is left out of the command, its network's hash is not.
        arguments: Of the command line, without the bundle and the output folder.
    """
    try:
        manifest = read_bundle(bundle).manifest
    except BundleError as error:
        sys.exit(str(error))  # a fault of the command line's: one line, before anything is started
    return {
        "command": " ".join(["python -m", f"benchmarks.{script}", "BUNDLE", *arguments]),
        "commit": git_commit(),
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "bundle": f"{manifest.name} {manifest.version}, {manifest.encoder}",
        "machine": f"{processor_name()}, {os.cpu_count()} processors, {psutil.virtual_memory().total / 1e9:.0f} GB",
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
    }


def add(folder: Path, part: str, figures: dict[str, Any]) -> None:
    """Put one part into service.json and write service.md anew.

    Raises:
        ValueError: service.json is there and no JSON.
    """
    path = folder / "service.json"
    parts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**parts, part: figures}, indent=2) + "\n", encoding="utf-8")
    write_page(folder)


def write_page(folder: Path) -> None:
    """Write service.md from service.json; without one, a page that says how to make it."""
    path = folder / "service.json"
    parts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    (folder / "service.md").write_text(page(parts), encoding="utf-8")


def page(parts: dict[str, Any]) -> str:
    """The page in Markdown.

    Args:
        parts: ``load``, ``soak`` and ``memory``, each as its benchmark makes it; a part may be missing.
    """
    lines = ["# The service in figures", "", "Written by `make benchservice BUNDLE=runs/mine/bundle`."]
    for part, (title, write) in _PARTS.items():
        lines += ["", f"## {title}", ""]
        lines += [*told(parts[part]["run"]), "", *write(parts[part])] if part in parts else ["Not measured yet."]
    return "\n".join(lines) + "\n"


def told(run: dict[str, Any]) -> list[str]:
    """What was run on what, in lines."""
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    return [
        "```",
        run["command"],
        "```",
        "",
        f"Commit `{run['commit']}`, {run['date']}. {run['machine']}; load average before: {run['load_before']}.",
        f"Bundle: {run['bundle']}. {versions}.",
    ]


def verdict(met: bool) -> str:
    """A target's."""
    return "met" if met else "**missed**"


def _load(found: dict[str, Any]) -> list[str]:
    over, single = found["overload"], found["one_client"]
    lines = [
        f"Pictures of {found['picture']}, JPEG in, PNG out. Clients run on the same machine; each asks again once",
        "it is answered, and after a 503 as `Retry-After` says.",
        "",
        "| clients | answers/s | p50 ms | p95 ms | refused | client's processors |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['clients']} | {row['throughput']:.1f} | {row['p50_ms']:.1f} | {row['p95_ms']:.1f} | {row['refused']} "
        f"| {row['client_processors']:.2f} |"
        for row in found["closed"]
    ]
    statuses = ", ".join(f"{status}: {count}" for status, count in over["statuses"].items())
    return [
        *lines,
        "",
        f"Best throughput {found['best_throughput']:.1f}/s. With four times that offered ({over['offered']:.0f}/s "
        f"at random moments, for {over['seconds']:.0f} s):",
        "",
        "| | count | p50 ms | p95 ms | longest ms |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            f"| {name} | {over[name]['count']} | {over[name]['p50_ms']:.1f} | {over[name]['p95_ms']:.1f} "
            f"| {over[name]['longest_ms']:.1f} |"
            for name in ("accepted", "refused")
        ),
        "",
        f"- Accepted within twice the idle time of a full queue ({over['target_ms']:.0f} ms): {over['within']:.2%} "
        f"of them; {verdict(over['met'])}.",
        f"- Nothing but 200 and 503 ({statuses}; 0 is no answer): {verdict(over['only_200_and_503'])}.",
        f"- The clients kept up: a request was sent {over['late_p95_ms']:.1f} ms late at p95 (counted in the "
        f"times above); they took {over['client_processors']:.2f} processors.",
        f"- One client: p50 {single['p50_ms']:.1f} ms, of which decoding, inference and encoding "
        f"{single['stages_p50_ms']:.1f}; {single['above_ms']:.1f} ms above, "
        f"at most {single['target_ms']:.0f}: {verdict(single['met'])}.",
        f"- Start to ready {found['ready_seconds']:.1f} s; idle then, the worker has {found['idle_worker_mb']:.0f} MB "
        f"resident, all processes {found['idle_all_mb']:.0f} MB.",
    ]


def _soak(found: dict[str, Any]) -> list[str]:
    statuses = ", ".join(f"{status}: {count}" for status, count in found["statuses"].items())
    return [
        f"{found['requests']} requests by {found['clients']} clients after {found['warm_up']} to warm up: "
        f"{found['pictures']}.",
        "",
        "| requests | worker's resident MB | open files | threads |",
        "| ---: | ---: | ---: | ---: |",
        *(
            f"| {row['requests']} | {row['megabytes']:.1f} | {row['files']} | {row['threads']} |"
            for row in found["samples"]
        ),
        "",
        f"- Growth {found['growth']:+.1%}, under {found['target']:.0%}: {verdict(found['met'])}.",
        f"- Statuses {statuses}; every sound picture a 200, every broken one a 4xx: {verdict(found['as_expected'])}.",
    ]


def _memory(found: dict[str, Any]) -> list[str]:
    return [
        "A new server with `FCN_SLOTS=1` for each row, one JPEG in, its PNG out; the least of the times is told.",
        "",
        "| megapixels | JPEG MB | peak resident MB | idle MB | seconds | ms a megapixel |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {row['megapixels']:g} | {row['body_mb']:.1f} | {row['peak_mb']:.0f} | {row['idle_mb']:.0f} "
            f"| {row['seconds']:.2f} | {row['ms_a_megapixel']:.0f} |"
            for row in found["rows"]
        ),
        "",
        f"Under {found['target_mb']:.0f} MB at the largest: {verdict(found['met'])}.",
    ]


_PARTS = {"load": ("Load", _load), "soak": ("Soak", _soak), "memory": ("Memory", _memory)}


def report(part: str, figures: dict[str, Any], out: Path | None) -> None:
    """Print a part as the page has it, and write it if a folder is given."""
    print("\n".join([*told(figures["run"]), "", *_PARTS[part][1](figures)]), flush=True)
    if out is not None:
        add(out, part, figures)


def options(doc: str | None) -> argparse.ArgumentParser:
    """What all three take."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="folder of the bundle to serve")
    parser.add_argument("--quick", action="store_true", help="shorter, for a first look")
    parser.add_argument("--out", type=Path, help="folder whose service.json and service.md get the figures")
    return parser


def given(found: argparse.Namespace) -> list[str]:
    """The arguments of this command line, without the bundle and the output folder."""
    words = iter(sys.argv[1:])
    kept = []
    for word in words:
        if word == "--out":
            next(words, None)
        elif Path(word) != found.bundle and not word.startswith("--out="):
            kept.append(word)
    return kept


if __name__ == "__main__":
    write_page(Path(sys.argv[1]))
