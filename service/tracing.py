"""Tracing: BentoML's tracer set up from our settings, and given to the spans of our own stages."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from bentoml._internal.configuration.containers import BentoMLContainer
from opentelemetry import trace

from data.errors import ConfigError

if TYPE_CHECKING:
    from service.settings import Settings

_EXPORTER: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_NOT_TRACED: Final = ["/livez$", "/healthz$", "/readyz$", "/metrics$"]
_ALL: Final = ["."]
_FLUSH_MILLISECONDS: Final = 5000


def bentoml_tracing(settings: Settings) -> dict[str, Any]:
    """The entry ``tracing`` of BentoML's configuration; empty leaves what BENTOML_CONFIG says.

    Where neither sends traces anywhere, every request is left out of them: BentoML would make its spans all the same,
    a third of what HTTP costs the processor.

    Raises:
        ConfigError: an endpoint is set and the package that sends is not there.
    """
    if not settings.trace_endpoint:
        return {} if BentoMLContainer.config.tracing.exporter_type.get() else {"excluded_urls": _ALL}
    try:
        import_module(_EXPORTER)
    except ImportError:
        raise ConfigError(
            "FCN_TRACE_ENDPOINT is set and opentelemetry-exporter-otlp-proto-http is not installed: install it "
            "(the extra named tracing has it), or unset the variable"
        ) from None
    return {
        "exporter_type": "otlp",
        "sample_rate": settings.trace_rate,
        "excluded_urls": _NOT_TRACED,
        "otlp": {"protocol": "http", "endpoint": settings.trace_endpoint},
    }


def use_bentoml_provider() -> None:
    """Let the spans of our stages go where BentoML's go.

    BentoML 1.4 keeps its provider to itself, in its container; a test with a real receiver would tell if it moved.
    Called in a worker, once BentoML has read its configuration.
    """
    if BentoMLContainer.config.tracing.exporter_type.get():
        trace.set_tracer_provider(BentoMLContainer.tracer_provider.get())


def flush() -> None:
    """Send what is still held: a worker ends by a signal, at which nobody else would."""
    if BentoMLContainer.config.tracing.exporter_type.get():
        BentoMLContainer.tracer_provider.get().force_flush(_FLUSH_MILLISECONDS)
