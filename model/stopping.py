"""A person's wish to stop a training, granted where nothing is lost by it."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

from model.processes import is_first

if TYPE_CHECKING:
    from types import FrameType

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Ctrl-C and SIGTERM as something to ask for between two steps; a second Ctrl-C stops at once.

    Attributes:
        made: Somebody wants to stop.
    """

    def __init__(self) -> None:
        self.made = False
        # Of now: when training begins, Lightning has put its own in their place.
        self._before: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in _SIGNALS}
        self._listening = False

    def listen(self) -> None:
        """Take the signals, where they can be taken: Python gives them to the main thread alone."""
        self._listening = threading.current_thread() is threading.main_thread()
        if self._listening:
            for number in _SIGNALS:
                signal.signal(number, self._hear)

    def rest(self) -> None:
        """Give the signals back."""
        if self._listening:
            for number, handler in self._before.items():
                signal.signal(number, handler)
        self._listening = False

    def _hear(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  the signature of a handler
        if self.made and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.made and is_first():
            # Not by print: the signal may have come in the middle of one.
            os.write(2, b"\nsaving at the end of this step, or of the validation; Ctrl-C again stops at once\n")
        self.made = True
