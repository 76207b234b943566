"""Spans: what a trace tells of a request. OpenTelemetry's interface alone; who exports is set in ``tracing``."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from opentelemetry import trace

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_TRACER: Final = trace.get_tracer("fcn-segmenter")


def stage(name: str) -> AbstractContextManager[object]:
    """A span around one stage, below the request's; nothing at all where the request is not traced."""
    if not _sampled(trace.get_current_span()):
        return nullcontext()
    return _TRACER.start_as_current_span(name)


def describe_request(method: str, route: str, request_id: str, error_code: str) -> None:
    """Name the request's span by its route: BentoML names it by the path, which is the client's own text.

    Args:
        method: HTTP method.
        route: Template of the route, or ``other``.
        request_id: As in the log.
        error_code: Of the error body, or empty.
    """
    span = trace.get_current_span()
    if not _sampled(span):
        return
    span.update_name(f"{method} {route}")
    span.set_attribute("http.route", route)
    span.set_attribute("fcn.request_id", request_id)
    if error_code:
        span.set_attribute("error.type", error_code)


def _sampled(span: trace.Span) -> bool:
    return span.get_span_context().trace_flags.sampled
