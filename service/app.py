"""The BentoML service: which model it serves, how it starts and how it stops."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from math import ceil
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Final

import bentoml
from bentoml.exceptions import BentoMLException

from data.errors import BundleError, FcnError
from model.runtime.bundle import read_bundle
from model.runtime.engine import open_engine
from model.runtime.predictor import Predictor
from service.routes import create_app
from service.settings import Settings
from service.station import Station

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from model.runtime.bundle import Bundle
    from model.runtime.engine import EngineConfig


def _settings() -> Settings:
    try:
        return Settings.from_environment(os.environ)
    except FcnError as error:
        raise SystemExit(_refusal(error)) from None


def _refusal(error: FcnError) -> str:
    return f"fcn-segmenter does not start: {error}"


# BentoML takes a service's configuration and its mounted application from the class below, so these
# exist once the module is imported. The model itself is loaded in __init__.
SETTINGS: Final = _settings()
STATION: Final = Station(SETTINGS)
_APP: Final = create_app(STATION)


async def contract(scope: Scope, receive: Receive, send: Send) -> None:
    """The public contract, as a plain callable: of a FastAPI object BentoML would take the known routes only."""
    await _APP(scope, receive, send)


@bentoml.asgi_app(contract, path="/", name="contract")
@bentoml.service(
    name="fcn-segmenter",
    workers=1,
    # A second lock; the station's own time-out, which answers in the contract's form, comes first.
    traffic={"timeout": ceil(SETTINGS.timeout_seconds) + 30},
    # BentoML's metrics take the path as a label and its log writes it: both would be the client's own
    # text, in any number. The guard does the same work by route, and /metrics is one of our routes.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    http={"cors": {"enabled": False}},
)
class Segmenter:
    """Label every pixel of a picture: POST it to /v1/segment."""

    def __init__(self) -> None:
        bundle = read_bundle(bundle_folder())
        STATION.open(Predictor(bundle, SETTINGS.engine_config(), SETTINGS.max_tile))

    @bentoml.on_deployment  # type: ignore[untyped-decorator]  # BentoML's hooks carry no types
    @staticmethod
    def refuse_what_cannot_be_served() -> None:
        """Check bundle and engine once, before there is a worker.

        BentoML starts a worker that fails again and again, for ever. So what will fail each time is
        found here, in the process above the workers: one line, exit status 1.
        """
        try:
            probe(read_bundle(bundle_folder()), SETTINGS.engine_config())
        except FcnError as error:
            raise SystemExit(_refusal(error)) from None

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Finish what was accepted."""
        STATION.close()

    def __is_ready__(self) -> bool:
        """Whether BentoML's /readyz answers 200."""
        return STATION.ready


def bundle_folder() -> Path:
    """Where the bundle lies: the setting, else the model of the Bento, else the latest in the store.

    Raises:
        BundleError: there is no such model.
    """
    if SETTINGS.bundle is not None:
        return SETTINGS.bundle
    tag = bentoml.Tag.from_str(SETTINGS.model)
    # The decorator has made Segmenter a bentoml Service; a Bento stands behind it once one is built.
    bento: bentoml.Bento | None = getattr(Segmenter, "bento", None)
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


def probe(bundle: Bundle, config: EngineConfig) -> None:
    """Open the engine in a process of its own, so that this one stays small and outlives a crash.

    Raises:
        BundleError: the network cannot be loaded.
        ConfigError: the processor cannot do what the settings ask for.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            pool.submit(_open_and_close, bundle, config).result()
        except BrokenProcessPool:
            raise BundleError(f"{bundle.model_path} crashes the engine {config.engine}: export the run again") from None


def _open_and_close(bundle: Bundle, config: EngineConfig) -> None:
    open_engine(bundle, config)
