"""BentoML's time limit, taken out: it starts a timer for every request and cancels none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bentoml
from bentoml._internal.server.http import traffic

from data.errors import ConfigError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class NoLimit:
    """ASGI middleware in the place of BentoML's ``TimeoutMiddleware``, which cannot be switched off.

    Its timers keep what belongs to a request (some 15 kB) until the limit is over, 90 seconds by default,
    though the request was answered long before: at 40 requests a second 50 MB. The station limits the time
    of every request that does any work, and answers in the contract's form.

    Args:
        app: The application.
        timeout: BentoML's, left aside.
    """

    def __init__(self, app: ASGIApp, timeout: float) -> None:
        self._app = app
        self.timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._app(scope, receive, send)


def take_out_timers() -> None:
    """Put ``NoLimit`` in the place of BentoML's middleware. To be called before BentoML makes its application.

    Raises:
        ConfigError: this BentoML has no such middleware.
    """
    if not isinstance(getattr(traffic, "TimeoutMiddleware", None), type):
        raise ConfigError(
            f"BentoML {bentoml.__version__} has no TimeoutMiddleware where service/timers.py replaces it: install the "
            "version in constraints.txt, or see whether the newer one's time limit still keeps timers of answered "
            "requests and change that module"
        )
    traffic.TimeoutMiddleware = NoLimit  # type: ignore[misc, assignment]  # a class in the place of another
