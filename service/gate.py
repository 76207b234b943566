"""Gate: no door opens without a key, where keys are set; and which doors stay open."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any, Final

from starlette.datastructures import Headers
from starlette.routing import Match

from service.errors import ServiceError, error_response
from service.guard import ERROR_CODE, KEY_NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from fastapi import FastAPI
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

    from service.keys import Keyring
    from service.settings import OpenDoor

KEY_HEADER: Final = "X-API-Key"

_PATHS: Final[Mapping[OpenDoor, frozenset[str]]] = {
    "health": frozenset({"/livez", "/healthz", "/readyz", "/health", "/v2/health/live", "/v2/health/ready"}),
    "metrics": frozenset({"/metrics"}),
    "docs": frozenset({"/openapi.json", "/docs.json", "/schema.json"}),
}
_PAGE: Final = "/"
_PAGE_FILES: Final = "/ui/"


def paths_of(doors: Collection[OpenDoor]) -> frozenset[str]:
    """The paths behind some doors."""
    return frozenset[str]().union(*(_PATHS[door] for door in doors))


def describe_keys(app: FastAPI, open_doors: Collection[OpenDoor]) -> None:
    """Let the OpenAPI document say how a key is sent, and which routes need none."""
    describe = app.openapi

    def with_keys() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        document = describe()
        document["components"]["securitySchemes"] = {
            "key": {"type": "apiKey", "in": "header", "name": KEY_HEADER},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
        document["security"] = [{"key": []}, {"bearer": []}]
        for path, operations in document["paths"].items():
            for operation in operations.values():
                if path in paths_of(open_doors):
                    operation["security"] = []
                else:
                    operation["responses"]["401"] = _told_in_document(path)
        return document

    app.openapi = with_keys  # type: ignore[method-assign]  # FastAPI's own way of changing the document


def _told_in_document(path: str) -> dict[str, Any]:
    refused: dict[str, Any] = {
        "description": "No key, or one that is not known.",
        "headers": {"WWW-Authenticate": {"schema": {"type": "string"}}},
    }
    if not path.startswith("/v2"):  # whose errors have another form
        refused["content"] = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}
    return refused


class Gate:
    """ASGI middleware: 401 to a request without a key that is known, before anything of its body is read.

    The page at / and its files ask for nothing: they hold no data, and it is they who ask the person for a key.

    Args:
        app: The application.
        keyring: The keys; with none the gate stands open.
        open_doors: What else needs no key.
        routes: Of the application, to name the route of a refused request.
    """

    def __init__(
        self, app: ASGIApp, keyring: Keyring, open_doors: Collection[OpenDoor], routes: Sequence[BaseRoute]
    ) -> None:
        self._app = app
        self._keyring = keyring
        self._open = paths_of(open_doors)
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in, or tell it why not."""
        if scope["type"] != "http" or not self._keyring:
            await self._app(scope, receive, send)
            return
        key = _key_of(Headers(scope=scope))
        name = self._keyring.holder(key) if key else None
        if name is None and not self._is_open(scope["method"], scope["path"]):
            fault = _refusal(sent=bool(key))
            scope[ERROR_CODE] = fault.code
            self._name_route(scope)
            await error_response(fault, scope["path"])(scope, receive, send)
            return
        scope[KEY_NAME] = name or ""
        await self._app(scope, receive, send)

    def _is_open(self, method: str, path: str) -> bool:
        return path in self._open or (method == "GET" and (path == _PAGE or path.startswith(_PAGE_FILES)))

    def _name_route(self, scope: Scope) -> None:
        for route in self._routes:
            if route.matches(scope)[0] != Match.NONE:
                scope["route"] = route
                return


def _key_of(headers: Headers) -> str:
    """The key that a request brings, or an empty text. ``X-API-Key`` wins: a proxy may use the other one."""
    key = headers.get(KEY_HEADER, "").strip()
    if key:
        return key
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        return _password(token.strip())
    return token.strip() if scheme.lower() == "bearer" else ""


def _password(credentials: str) -> str:
    """The key as the password of basic authentication, which is all that Label Studio can send; the user is any."""
    try:
        return binascii.a2b_base64(credentials).decode().partition(":")[2]
    except ValueError:  # no base64, or no UTF-8
        return ""


def _refusal(*, sent: bool) -> ServiceError:
    realm = 'Bearer realm="fcn-segmenter"'
    hint = f"Send the key in the header {KEY_HEADER}, or as Authorization: Bearer KEY; whoever runs the service has it."
    if sent:
        challenge = f'{realm}, error="invalid_token"'
        return ServiceError(401, "unknown_key", "The API key is not known here.", hint, {"WWW-Authenticate": challenge})
    return ServiceError(401, "missing_key", "This route needs an API key.", hint, {"WWW-Authenticate": realm})
