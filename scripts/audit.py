"""Audit the pinned packages: pip-audit against the OSV database, where that can be reached.

Exit status 0: nothing is known against them, or the database cannot be reached, which is said. 1: there
are findings that audit-ignore.txt does not list, or the audit itself failed.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OSV = "https://api.osv.dev/v1/query"
# A release with well-known faults: a service that knows nothing of it knows nothing.
CANARY = {"package": {"name": "pillow", "ecosystem": "PyPI"}, "version": "9.0.0"}
PROBE_SECONDS = 10

ENTRY = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]+)\s+(?P<until>\d{4}-\d{2}-\d{2})\s+(?P<reason>\S.{9,})")


@dataclass(frozen=True)
class Finding:
    """One known fault of one pinned package."""

    package: str
    version: str
    names: frozenset[str]
    fixed: tuple[str, ...]

    def __str__(self) -> str:
        fixed = f"fixed in {', '.join(self.fixed)}" if self.fixed else "no release mends it yet"
        return f"{self.package} {self.version}: {', '.join(sorted(self.names))} ({fixed})"


def why_unreachable(url: str) -> str | None:
    """Ask the database for what everybody knows; None when it answers, else what happened."""
    request = urllib.request.Request(url, json.dumps(CANARY).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS) as response:
            known = json.loads(response.read()).get("vulns")
    except urllib.error.HTTPError as error:
        return f"it answers {error.code}"
    except OSError as error:
        return str(getattr(error, "reason", error)) or type(error).__name__
    except (ValueError, AttributeError):
        return "what answers there is no vulnerability database"
    return None if known else f"it knows nothing of {CANARY['package']['name']} {CANARY['version']}"


def read_ignored(path: Path, today: date) -> set[str]:
    """The findings that are excused today.

    Raises:
        SystemExit: a line has another form than ID, date, reason.
    """
    ignored = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        entry = ENTRY.fullmatch(line.strip())
        if not entry:
            raise SystemExit(f"line {number} of {path.name} is not: ID YYYY-MM-DD reason (10 letters or more)")
        if date.fromisoformat(entry["until"]) < today:
            print(f"audit: the entry for {entry['id']} in {path.name} ended on {entry['until']}: look at it again")
        else:
            ignored.add(entry["id"])
    return ignored


def findings(requirements: Path, url: str) -> tuple[int, list[Finding]]:
    """Number of packages looked at, and what is known against them.

    Raises:
        SystemExit: pip-audit failed, or left packages out.
    """
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--no-deps", "--disable-pip"]
    command += ["--vulnerability-service", "osv", "--osv-url", url, "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        raise SystemExit(f"audit: pip-audit failed (exit status {done.returncode}):\n{done.stderr[-2000:]}") from None
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped:
        raise SystemExit(f"audit: pip-audit left out {', '.join(skipped)}")
    found = [
        Finding(
            package["name"],
            package["version"],
            frozenset({fault["id"], *fault["aliases"]}),
            tuple(fault["fix_versions"]),
        )
        for package in packages
        for fault in package["vulns"]
    ]
    return len(packages), found


def main() -> int:
    """Run the audit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requirements", type=Path, default=ROOT / "constraints.txt")
    parser.add_argument("--ignored", type=Path, default=ROOT / "audit-ignore.txt")
    parser.add_argument("--osv-url", default=OSV)
    arguments = parser.parse_args()
    ignored = read_ignored(arguments.ignored, datetime.now(UTC).date())
    reason = why_unreachable(arguments.osv_url)
    if reason:
        print(f"audit: NOT DONE: {arguments.osv_url} cannot be reached ({reason}); nothing was looked up")
        return 0
    number, found = findings(arguments.requirements, arguments.osv_url)
    open_ones = [finding for finding in found if not finding.names & ignored]
    for finding in open_ones:
        print(f"audit: {finding}")
    excused = len(found) - len(open_ones)
    print(f"audit: {number} packages, {len(open_ones)} findings, {excused} excused in {arguments.ignored.name}")
    return 1 if open_ones else 0


if __name__ == "__main__":
    raise SystemExit(main())
