"""Probe: run a bundle's network in a process of its own.

BentoML starts a worker that fails again and again, for ever. So what would fail each time is found by
the process above the workers, before there is one. It asks a process of its own, and so stays small
and outlives an engine that crashes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from data.errors import BundleError, FcnError
from service.settings import Settings

_ROOT = Path(__file__).resolve().parent.parent


def probe(folder: Path) -> None:
    """Check that a bundle can be served with the settings of this environment.

    Raises:
        FcnError: the bundle is missing, altered or no network of ours, or the processor cannot do what is asked.
    """
    done = subprocess.run(
        [sys.executable, "-m", "service.probe", str(folder.resolve())],
        cwd=_ROOT,  # in a Bento this project is on the path of the importing process alone
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return
    if done.stdout:
        raise BundleError(done.stdout.strip())
    sys.stderr.write(done.stderr)
    raise BundleError(f"{folder} crashes the engine (exit status {done.returncode}): export the run again")


def main(folder: str) -> int:
    """Do what the worker will do; a fault goes to standard output, where engines do not write."""
    from model.runtime.bundle import read_bundle  # noqa: PLC0415 - the process above the workers stays without
    from model.runtime.predictor import Predictor  # noqa: PLC0415

    try:
        settings = Settings.from_environment(os.environ)
        Predictor(read_bundle(Path(folder)), settings.engine_config(), settings.max_tile).warm_up()
    except FcnError as error:
        sys.stdout.write(str(error))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
