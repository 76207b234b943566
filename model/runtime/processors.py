"""How many processors this process may use, container limits included, and what they can do."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path
from typing import Final

_CGROUP: Final = Path("/sys/fs/cgroup")
_CPUINFO: Final = Path("/proc/cpuinfo")


def usable_processors(cgroup: Path = _CGROUP) -> int:
    """Processors that this process may use: those it is bound to, less what a container's quota cuts off.

    A container with ``--cpus=2`` on a machine with 64 processors still sees all 64; as many threads
    would be throttled against each other. Both forms of Linux control groups are read.

    Args:
        cgroup: Where the control groups are mounted.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return bound if quota is None else max(1, min(bound, ceil(quota)))


def multiplies_tiles(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether the processor has a unit that multiplies whole tiles of bf16 matrices (Intel's AMX).

    Args:
        cpuinfo: Where Linux tells what processors can do.
    """
    try:
        return "amx_bf16" in cpuinfo.read_text().split()
    except OSError:  # not Linux: there is no such processor there that we know of
        return False


def _quota(cgroup: Path) -> float | None:
    """The quota in processors, or None without one."""
    try:
        second = cgroup / "cpu.max"  # version 2: "200000 100000" or "max 100000"
        if second.is_file():
            limit, period = second.read_text().split()
            return None if limit == "max" else int(limit) / int(period)
        limit = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text()
        period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text()
        return int(limit) / int(period) if int(limit) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
