"""Everything side by side, each part in a process of its own: docs/results/performance.json, .md and .svg.

    python -m benchmarks.performance [--quick] [--run RUN] [--parts engines ...] [--out docs/results]

A part that fails or takes too long is said so on the page, and the next one goes on. Exit status 1 when one did.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.performance_page import PERFORMANCE, TITLES, options
from benchmarks.record import circumstances, told_bundle
from benchmarks.seeded import SEEDED
from benchmarks.tail import defaults
from benchmarks.tail_networks import needed

if TYPE_CHECKING:
    import argparse

ROOT = Path(__file__).resolve().parent.parent
LONGEST_SECONDS, LONGEST_QUICK_SECONDS = 3600, 150
"""Of one part."""
END_SECONDS = 40
"""For a part that is told to end: it stops its servers first."""


def arguments_of(chosen: argparse.Namespace, exported: Path | None) -> list[str]:
    """What the driver was told, for a part."""
    paths = {"--run": chosen.run, "--bundle": chosen.bundle, "--out": chosen.out, "--exported": exported}
    told = [word for name, path in paths.items() if path is not None for word in (name, str(path))]
    return [*told, *(["--quick"] if chosen.quick else [])]


def run_part(name: str, arguments: list[str], seconds: float) -> str:
    """Run one part.

    Args:
        name: Of its module.
        arguments: Of its command line.
        seconds: It is ended after.

    Returns:
        Why it failed, in one line; empty where it did not.
    """
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{name}", *arguments], cwd=ROOT, stderr=errors, text=True
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            return f"not done after {seconds:.0f} s"
        finally:
            _end(process)
        errors.seek(0)
        told = errors.read()
    if process.returncode == 0:
        return ""
    sys.stderr.write(told)
    last = ([line.strip() for line in told.splitlines() if line.strip()] or ["no word of why"])[-1]
    return f"{last.replace(f'{ROOT}/', '')[:300]} (exit status {process.returncode})"


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    # Taken down before: what it started outlives it when it is killed.
    everyone = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_SECONDS)
    process.kill()
    for one in everyone:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()


def main() -> int:
    """Run all parts, or those that are named."""
    parser = options(__doc__)
    parser.add_argument("--parts", nargs="+", choices=list(TITLES), default=list(TITLES), help="all by default")
    chosen = parser.parse_args()
    longest = LONGEST_QUICK_SECONDS if chosen.quick else LONGEST_SECONDS
    failed = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the part under way is ended first
    with tempfile.TemporaryDirectory() as place:
        exported = None
        if chosen.run is None and chosen.bundle is None:
            exported = Path(place)
            names = {SEEDED, *(needed(*defaults(quick=chosen.quick)) if "tail" in chosen.parts else ())}
            # In a process of its own, as everything: torch is not to stay in this one.
            subprocess.run([sys.executable, "-m", "benchmarks.seeded", place, *sorted(names)], cwd=ROOT, check=True)
        bundle = told_bundle(exported / SEEDED if exported else chosen.bundle or chosen.run / "bundle")
        for name in chosen.parts:
            print(f"\n== {name} ==\n", flush=True)
            begun = time.monotonic()
            arguments = arguments_of(chosen, exported)
            reason = run_part(name, arguments, longest)
            print(f"\n{name}: {reason or 'done'}, {time.monotonic() - begun:.0f} s", flush=True)
            if reason:
                failed.append(name)
                if chosen.out is not None:
                    told = ["--quick"] if chosen.quick else []
                    PERFORMANCE.add(chosen.out, name, {"run": circumstances(name, bundle, told), "failed": reason})
    if failed:
        print(f"\ndid not run: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
