"""Front: the contract of one worker, and what every request passes on its way there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from service.cors import Cors
from service.gate import Gate
from service.guard import Guard
from service.native import SCHEMA_PATH
from service.routes import create_app
from service.station import Station

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from service.keys import Keyring
    from service.settings import Settings

_OURS: Final = frozenset({"/livez", "/healthz", "/readyz", SCHEMA_PATH})
"""Paths that BentoML would answer before any mounted application: probes, with a 503 in plain text, and a schema."""


class Ahead:
    """ASGI middleware: some paths go to the contract at once, all others to BentoML.

    Args:
        app: BentoML's application.
        contract: Ours.
    """

    def __init__(self, app: ASGIApp, contract: ASGIApp) -> None:
        self._app = app
        self._contract = contract

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        ours = scope["type"] == "http" and scope["path"] in _OURS
        await (self._contract if ours else self._app)(scope, receive, send)


class Front:
    """What a worker answers with.

    Args:
        settings: Of the service.
        keyring: The API keys; with none every door stands open.

    Attributes:
        station: Through which all requests go; it is given its model later.
        contract: The routes over it.
    """

    def __init__(self, settings: Settings, keyring: Keyring) -> None:
        self.station = Station(settings)
        self.contract = create_app(self.station)
        self._settings = settings
        self._keyring = keyring

    def around(self, app: ASGIApp) -> ASGIApp:
        """BentoML's application with ours before it.

        Around all of it and not the contract alone, so that what BentoML answers by itself is guarded as well. The
        guard is outermost: a refused request is logged, and a page that may read answers may read why.

        Args:
            app: BentoML's, which the contract is mounted in.
        """
        station, settings = self.station, self._settings
        app = Ahead(app, self.contract)
        app = Gate(app, self._keyring, settings.open_doors, self.contract.routes)
        app = Cors(app, settings.cors_origins)
        return Guard(app, model_version=lambda: station.model_version, stopping=lambda: station.stopping)
