"""The BentoML service: which model it serves, how it starts and how it stops."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import bentoml
from bentoml.exceptions import BentoMLException

from data.errors import BundleError, ConfigError, FcnError
from model.runtime.bundle import read_bundle
from model.runtime.predictor import Predictor
from service import logs
from service.cors import Cors
from service.gate import Gate
from service.guard import LOGGER, Guard
from service.native import SchemaDoor
from service.orphan import end_with_supervisor, name_supervisor
from service.probe import probe
from service.routes import create_app
from service.settings import Settings
from service.station import Station
from service.stopping import stop_gently
from service.timers import take_out_timers
from service.tracing import bentoml_tracing, flush, use_bentoml_provider

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from service.keys import Keyring


def _settings() -> tuple[Settings, Keyring, dict[str, Any]]:
    try:
        take_out_timers()
        settings = Settings.from_environment(os.environ)
        return settings, settings.keyring(), bentoml_tracing(settings)
    except FcnError as error:
        raise SystemExit(_refusal(error)) from None


def _refusal(error: FcnError) -> str:
    return f"fcn-segmenter does not start: {error}"


# BentoML takes a service's configuration and its mounted application from the class below, so these
# exist once the module is imported. The model itself is loaded in __init__.
SETTINGS, KEYRING, TRACING = _settings()
logs.configure(SETTINGS.log_format)
PROBE_PATHS: Final = frozenset({"/livez", "/healthz", "/readyz"})
STATION: Final = Station(SETTINGS)
_APP: Final = create_app(STATION)


async def contract(scope: Scope, receive: Receive, send: Send) -> None:
    """The public contract, as a plain callable: of a FastAPI object BentoML would take the known routes only."""
    await _APP(scope, receive, send)


class Probes:
    """ASGI middleware: the probes as the contract has them, in place of BentoML's, whose 503 is plain text.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"] in PROBE_PATHS:
            await contract(scope, receive, send)
        else:
            await self._app(scope, receive, send)


@bentoml.asgi_app(contract, path="/", name="contract")
@bentoml.service(
    name="fcn-segmenter",
    workers=1,
    # Told to BentoML for its own documents; see service/timers.py for what became of it.
    traffic={"timeout": ceil(SETTINGS.timeout_seconds) + 30},
    # BentoML's metrics take the path as a label and its log writes it: both would be the client's own
    # text, in any number. The guard does the same work by route, and /metrics is one of our routes.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    http={"cors": {"enabled": False}},
    **({"tracing": TRACING} if TRACING else {}),
)
class Segmenter:
    """Label every pixel of a picture: POST it to /v1/segment."""

    def __init__(self) -> None:
        end_with_supervisor(STATION, SETTINGS.timeout_seconds)
        use_bentoml_provider()
        if not KEYRING:
            LOGGER.info("FCN_API_KEYS is not set: whoever reaches the port may use every route")
        bundle = read_bundle(bundle_folder())
        STATION.open(Predictor(bundle, SETTINGS.engine_config(), SETTINGS.max_tile))
        stop_gently(STATION, SETTINGS.drain_seconds)

    @bentoml.on_deployment  # type: ignore[untyped-decorator]  # BentoML's hooks carry no types
    @staticmethod
    def refuse_what_cannot_be_served() -> None:
        """Run once, before there is a worker: a bundle that cannot be served ends here, with status 1."""
        try:
            folder = bundle_folder().absolute()
            probe(folder)
        except FcnError as error:
            raise SystemExit(_refusal(error)) from None
        # Workers inherit it: they run in another folder, and one that is started again serves the same model.
        os.environ["FCN_BUNDLE"] = str(folder)
        name_supervisor()
        if SETTINGS.api_keys_file is not None:
            os.environ["FCN_API_KEYS_FILE"] = str(SETTINGS.api_keys_file.absolute())

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Finish what was accepted."""
        STATION.close()
        flush()


def _service() -> bentoml.Service[Segmenter]:
    """Segmenter as what the decorator made of it, which type checkers do not see."""
    return cast("bentoml.Service[Segmenter]", Segmenter)


# Here and not around the contract alone, so that the probes, which are BentoML's own, are guarded as well.
# The first goes around the second: a refused request is logged, and a page that may read answers may read why.
_service().add_asgi_middleware(Guard, model_version=lambda: STATION.model_version, stopping=lambda: STATION.stopping)
_service().add_asgi_middleware(Cors, origins=SETTINGS.cors_origins)
_service().add_asgi_middleware(Gate, keyring=KEYRING, open_doors=SETTINGS.open_doors, routes=_APP.routes)
_service().add_asgi_middleware(Probes)
_service().add_asgi_middleware(SchemaDoor, contract=contract)


def bundle_folder() -> Path:
    """Where the bundle lies: the setting, else the model of the Bento, else the latest in the store.

    Raises:
        BundleError: there is no such model.
        ConfigError: the setting is no tag.
    """
    if SETTINGS.bundle is not None:
        return SETTINGS.bundle
    try:
        tag = bentoml.Tag.from_str(SETTINGS.model)
    except (ValueError, BentoMLException):
        raise ConfigError(
            f"FCN_MODEL is {SETTINGS.model!r}; a tag of BentoML's model store is needed, such as fcn-segmenter:latest"
        ) from None
    bento = _service().bento
    if bento is not None:
        # "latest" would change under a built Bento as soon as another model is registered.
        pinned = [model.tag for model in bento.info.all_models if model.tag.name == tag.name]
        tag = pinned[0] if pinned else tag
    try:
        return Path(bentoml.models.get(tag).path)
    except BentoMLException:
        raise BundleError(
            f"BentoML's model store has no {tag}: register a bundle there, or set FCN_BUNDLE to a bundle's folder"
        ) from None
