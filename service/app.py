"""The BentoML service: which model it serves, how it starts and how it stops."""

from __future__ import annotations

import os
from functools import cache
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import bentoml
from bentoml.exceptions import BentoMLException

from data.errors import BundleError, ConfigError, FcnError
from service import logs
from service.first_start import end_supervisor, first_start, watch_first_start
from service.freed import give_back_freed
from service.logs import LOGGER
from service.orphan import end_with_supervisor, name_supervisor
from service.settings import Settings
from service.stopping import stop_gently
from service.timers import take_out_timers
from service.tracing import bentoml_tracing, flush, use_bentoml_provider

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from service.front import Front
    from service.keys import Keyring


def _settings() -> tuple[Settings, Keyring, dict[str, Any]]:
    try:
        take_out_timers()
        settings = Settings.from_environment(os.environ)
        return settings, settings.keyring(), bentoml_tracing(settings)
    except FcnError as error:
        raise SystemExit(_refusal(error)) from None


def _refusal(error: FcnError | str) -> str:
    return f"fcn-segmenter does not start: {error}"


# BentoML takes a service's configuration from the class below, so this exists once the module is imported.
SETTINGS, KEYRING, TRACING = _settings()
logs.configure(SETTINGS.log_format)


@cache
def front() -> Front:
    """What answers requests, made and imported when a worker first asks for it.

    The process above the workers imports this module too, to know the service. It never answers, and without numpy,
    FastAPI and the routes it is a quarter smaller.
    """
    from service.front import Front  # noqa: PLC0415

    return Front(SETTINGS, KEYRING)


async def contract(scope: Scope, receive: Receive, send: Send) -> None:
    """The public contract, as a plain callable: of a FastAPI object BentoML would take the known routes only."""
    await front().contract(scope, receive, send)


def before_bentoml(app: ASGIApp) -> ASGIApp:
    """BentoML's application with all that stands before it, for BentoML as a middleware."""
    return front().around(app)


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
        from model.runtime.bundle import read_bundle  # noqa: PLC0415 - see front
        from model.runtime.predictor import Predictor  # noqa: PLC0415

        station = front().station
        end_with_supervisor(station, SETTINGS.timeout_seconds)
        use_bentoml_provider()
        if not KEYRING:
            LOGGER.info("FCN_API_KEYS is not set: whoever reaches the port may use every route")
        with first_start():
            bundle = read_bundle(bundle_folder())
            station.open(Predictor(bundle, SETTINGS.engine_config(), SETTINGS.max_tile))
        give_back_freed()
        stop_gently(station, SETTINGS.drain_seconds)

    @bentoml.on_deployment  # type: ignore[untyped-decorator]  # BentoML's hooks carry no types
    @staticmethod
    def refuse_what_cannot_be_served() -> None:
        """Run once, before there is a worker: no bundle, or one that the first worker cannot load, ends all."""
        try:
            folder = bundle_folder().absolute()
        except FcnError as error:
            raise SystemExit(_refusal(error)) from None
        watch_first_start(folder, lambda why: end_supervisor(_refusal(why)))
        # Workers inherit it: they run in another folder, and one that is started again serves the same model.
        os.environ["FCN_BUNDLE"] = str(folder)
        name_supervisor()
        if SETTINGS.api_keys_file is not None:
            os.environ["FCN_API_KEYS_FILE"] = str(SETTINGS.api_keys_file.absolute())

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Finish what was accepted."""
        front().station.close()
        flush()


def _service() -> bentoml.Service[Segmenter]:
    """Segmenter as what the decorator made of it, which type checkers do not see."""
    return cast("bentoml.Service[Segmenter]", Segmenter)


_service().add_asgi_middleware(before_bentoml)


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
