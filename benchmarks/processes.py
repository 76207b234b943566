"""Processes of their own that need not import what they use again: torch and Lightning take ten seconds each time."""

from __future__ import annotations

from multiprocessing import get_context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext


def importing(*modules: str) -> ForkServerContext:
    """Processes begun from one that has imported the modules and has done nothing with them.

    Args:
        modules: By name. Only those that are told before the first process begins are imported ahead.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    return context
