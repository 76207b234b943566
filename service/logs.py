"""Logs: one JSON object a line, for whoever collects them by machine."""

from __future__ import annotations

import json
import logging
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from opentelemetry import trace

if TYPE_CHECKING:
    from types import TracebackType

    from service.settings import LogFormat

LOGGER: Final = logging.getLogger("bentoml.fcn")
"""Below BentoML's own logger, so that its handler writes the lines."""

FIELDS: Final = "fcn_fields"
"""Attribute of a log record that holds what its line tells by name, for ``extra=``."""

# BentoML gives its handlers to these, in the process above the workers and in each worker.
_LOGGERS: Final = ("", "bentoml", "uvicorn.error", "circus")

_FORM_PARSER: Final = "python_multipart"
"""It warns of every malformed form with bytes of its body, which the answer tells without them."""


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message or fields, trace and exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, ASCII alone, so that nothing in a text can end it early."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        fields = getattr(record, FIELDS, None)
        # Of a line made of fields the message is their text; its first word says what it is about.
        line["message"] = record.getMessage() if fields is None or record.exc_info else record.msg.partition(" ")[0]
        line.update(fields or {})
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line["trace_id"] = trace.format_trace_id(span.trace_id)
            line["span_id"] = trace.format_span_id(span.span_id)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return json.dumps(line, default=str)


def configure(log_format: LogFormat) -> None:
    """Let every logger of this process write in a format; ``text`` leaves them as BentoML made them.

    In either, the form parser's warnings are left out.

    Called when the application is imported: after BentoML has set up its logging, in the process above
    the workers and in each worker.
    """
    logging.getLogger(_FORM_PARSER).setLevel(logging.ERROR)
    if log_format == "text":
        return
    formatter = JsonFormatter()
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        for handler in logger.handlers:
            handler.setFormatter(formatter)
        if name and logger.handlers:
            logger.propagate = False  # uvicorn's and circus's lines would come twice
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    logging.getLogger("bentoml.fcn").critical("uncaught exception", exc_info=(kind, error, traceback))


def _log_uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    error = arguments.exc_value or arguments.exc_type()
    _log_uncaught(arguments.exc_type, error, arguments.exc_traceback)
