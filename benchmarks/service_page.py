"""The page of what the service bears: docs/results/service.json and service.md, in parts load, soak and memory."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks.record import Page, circumstances, given, told_bundle, verdict


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


SERVICE = Page(
    "service",
    "The service in figures",
    "make benchservice BUNDLE=runs/mine/bundle",
    {"load": ("Load", _load), "soak": ("Soak", _soak), "memory": ("Memory", _memory)},
)


def options(doc: str | None) -> argparse.ArgumentParser:
    """What all three take."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="folder of the bundle to serve")
    parser.add_argument("--quick", action="store_true", help="shorter, for a first look")
    parser.add_argument("--out", type=Path, help="folder whose service.json and service.md get the figures")
    return parser


def run_of(script: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """What is run on what, of one of the three."""
    arguments = given(sys.argv[1:], {"--out": ""}, chosen.bundle)
    return circumstances(script, told_bundle(chosen.bundle), ["BUNDLE", *arguments])
