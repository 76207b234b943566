"""Spans: what a trace tells of a request. OpenTelemetry's interface alone; who exports is set in ``tracing``."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

_TRACER: Final = trace.get_tracer("fcn-segmenter")
_PROPAGATOR: Final = TraceContextTextMapPropagator()


def caller(traceparent: str) -> AbstractContextManager[object]:
    """Within a caller's trace, so that the log names it where the request itself makes no span.

    Args:
        traceparent: The request's header (W3C Trace Context); empty or nonsense is no trace.
    """
    if not traceparent or trace.get_current_span().get_span_context().is_valid:
        return nullcontext()
    return _within(traceparent)


@contextmanager
def _within(traceparent: str) -> Iterator[None]:
    token = context.attach(_PROPAGATOR.extract({"traceparent": traceparent}))
    try:
        yield
    finally:
        context.detach(token)


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
