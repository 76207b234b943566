"""Settings: what an operator can set, read from environment variables that begin with ``FCN_``."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, fields
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self, get_args

from data.errors import ConfigError
from data.limits import LARGEST_MAX_PIXELS, MAX_PIXELS
from model.runtime.engine import EngineConfig, EngineName, Precision
from service.keys import ApiKey, Keyring, read_key_file, read_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX: Final = "FCN_"

LogFormat = Literal["text", "json"]
OpenDoor = Literal["health", "metrics", "docs"]

_LABEL: Final = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ORIGIN: Final = re.compile(rf"(https?)://({_LABEL}(?:\.{_LABEL})*\.?|\[[0-9a-f:.]+\])(?::([0-9]{{1,5}}))?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ENDPOINT: Final = re.compile(r"https?://([^\s/?#@]*@)?(\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]]+)(:[0-9]{1,5})?([/?#]\S*)?")


@dataclass(frozen=True)
class Settings:
    """All settings of the service; each can be given as ``FCN_`` and its name in capitals.

    Attributes:
        bundle: ``FCN_BUNDLE``: folder of a bundle to serve directly, for development; empty takes ``model``.
        model: ``FCN_MODEL``: tag of the bundle in BentoML's model store. A built Bento serves the version that
            it was built with.
        engine: ``FCN_ENGINE``: ``openvino`` or ``onnxruntime``.
        precision: ``FCN_PRECISION``: ``f32``, ``bf16`` or ``auto`` (bf16 where the processor has it).
        threads: ``FCN_THREADS``: processor threads for inference; 0 takes all.
        slots: ``FCN_SLOTS``: pictures worked on at the same time.
        streams: ``FCN_STREAMS``: parallel streams of the engine; 0 takes as many as there are slots.
        queue: ``FCN_QUEUE``: accepted requests that may wait for a slot; the next one gets 503.
        max_body_bytes: ``FCN_MAX_BODY_BYTES``: largest request body.
        max_pixels: ``FCN_MAX_PIXELS``: most pixels (width times height), read from the header before decoding.
        max_batch: ``FCN_MAX_BATCH``: most pictures in one batch.
        max_tile: ``FCN_MAX_TILE``: side in pixels above which a picture is worked on in overlapping tiles.
        timeout_seconds: ``FCN_TIMEOUT_SECONDS``: time for one request from its first byte to the answer's.
        receiving: ``FCN_RECEIVING``: bodies that may be on their way at the same time, before they queue.
        min_upload_rate: ``FCN_MIN_UPLOAD_RATE``: bytes a second below which a sender is given up.
        drain_seconds: ``FCN_DRAIN_SECONDS``: after SIGTERM, at least so long new requests still get a 503.
        api_keys: ``FCN_API_KEYS``: entries ``NAME:SHA256``; with any, every door but the open ones asks for a key.
        api_keys_file: ``FCN_API_KEYS_FILE``: a file of such entries, added to those.
        open_doors: ``FCN_OPEN_DOORS``: what needs no key: ``health``, ``metrics``, ``docs``.
        cors_origins: ``FCN_CORS_ORIGINS``: origins whose pages may read answers, or ``*``.
        log_format: ``FCN_LOG_FORMAT``: ``text`` or ``json``.
        trace_endpoint: ``FCN_TRACE_ENDPOINT``: address of an OTLP/HTTP collector; empty traces nothing.
        trace_rate: ``FCN_TRACE_RATE``: share of requests traced, of those that bring no decision of their own.
    """

    bundle: Path | None = None
    model: str = "fcn-segmenter:latest"
    engine: EngineName = "openvino"
    precision: Precision = "auto"
    threads: int = 0
    slots: int = 2
    streams: int = 0
    queue: int = 16
    max_body_bytes: int = 64 * 1024 * 1024
    max_pixels: int = MAX_PIXELS
    max_batch: int = 32
    max_tile: int = 2048
    timeout_seconds: float = 60.0
    receiving: int = 64
    min_upload_rate: int = 1024
    drain_seconds: float = 1.0
    api_keys: tuple[ApiKey, ...] = ()
    api_keys_file: Path | None = None
    open_doors: tuple[OpenDoor, ...] = ("health",)
    cors_origins: tuple[str, ...] = ()
    log_format: LogFormat = "text"
    trace_endpoint: str = ""
    trace_rate: float = 1.0

    def __post_init__(self) -> None:
        _choice("engine", self.engine, get_args(EngineName))
        _choice("precision", self.precision, get_args(Precision))
        _within("threads", self.threads, 0, 1024)
        _within("slots", self.slots, 1, 64)
        _within("streams", self.streams, 0, 64)
        _within("queue", self.queue, 0, 10_000)
        _within("max_body_bytes", self.max_body_bytes, 1024, 1024**3)
        _within("max_pixels", self.max_pixels, 1, LARGEST_MAX_PIXELS)
        _within("max_batch", self.max_batch, 1, 1000)
        _within("max_tile", self.max_tile, 512, 16_384)
        _within("timeout_seconds", self.timeout_seconds, 0.1, 3600)
        _within("receiving", self.receiving, 1, 10_000)
        _within("min_upload_rate", self.min_upload_rate, 1, 1024**2)
        _within("drain_seconds", self.drain_seconds, 0, 300)
        _within("trace_rate", self.trace_rate, 0, 1)
        _choice("log_format", self.log_format, get_args(LogFormat))
        for door in self.open_doors:
            if door not in get_args(OpenDoor):
                raise ConfigError(
                    f"{PREFIX}OPEN_DOORS holds {door!r}; choose from {', '.join(get_args(OpenDoor))}, or none alone"
                )
        if self.cors_origins != ("*",):
            object.__setattr__(self, "cors_origins", tuple(_origin(origin) for origin in self.cors_origins))
        if self.trace_endpoint and not _ENDPOINT.fullmatch(self.trace_endpoint):
            raise ConfigError(
                f"{PREFIX}TRACE_ENDPOINT is {self.trace_endpoint!r}; an address is needed, such as "
                "http://collector:4318/v1/traces"
            )
        if not self.model.strip():
            raise ConfigError(f"{PREFIX}MODEL is empty: give a tag such as fcn-segmenter:latest")
        self.engine_config()  # refuses pairs that cannot work together

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings; a variable that is unset or empty leaves the default.

        Raises:
            ConfigError: a value cannot work, or a name is nearly that of a setting (a typing error would
                otherwise leave the default in force without a word). Other names are not looked at:
                Kubernetes puts ``FCN_PORT`` and the like into every pod beside a service called fcn.
        """
        names = {f"{PREFIX}{field.name.upper()}": field.name for field in fields(cls)}
        for variable in environ:
            near = difflib.get_close_matches(variable, names, n=1, cutoff=0.88)
            if variable.startswith(PREFIX) and variable not in names and near:
                raise ConfigError(f"{variable} is not a setting; did you mean {near[0]}?")
        values: dict[str, Any] = {}
        for variable, name in names.items():
            text = environ.get(variable, "").strip()
            if text:
                values[name] = _READERS.get(name, _integer)(variable, text)
        return cls(**values)

    @property
    def asks_for_keys(self) -> bool:
        """Whether any key is given."""
        return bool(self.api_keys or self.api_keys_file)

    def keyring(self) -> Keyring:
        """Every key that is let in; the file is read now.

        Raises:
            ConfigError: the file cannot be used, or a key stands there twice.
        """
        return Keyring(self.api_keys + (read_key_file(self.api_keys_file) if self.api_keys_file else ()))

    def engine_config(self) -> EngineConfig:
        """What the runtime is opened with."""
        return EngineConfig(
            engine=self.engine, precision=self.precision, threads=self.threads, streams=self.streams or self.slots
        )


def _integer(variable: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{variable} is {text!r}; a whole number is needed, such as {_default(variable)}") from None


def _number(variable: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{variable} is {text!r}; a number is needed, such as {_default(variable):g}") from None


def _default(variable: str) -> float:
    """An example that is possible for this very setting."""
    value: float = getattr(Settings, variable.removeprefix(PREFIX).lower())
    return value


def _text(_variable: str, text: str) -> str:
    return text


def _path(_variable: str, text: str) -> Path:
    return Path(text).expanduser()


def _keys(variable: str, text: str) -> tuple[ApiKey, ...]:
    keys = read_keys(variable, text)
    if not keys:
        raise ConfigError(f"{variable} holds no key, which would leave every door open: give one, or unset it")
    return keys


def _words(_variable: str, text: str) -> tuple[str, ...]:
    words = tuple(word for word in re.split(r"[,\s]+", text) if word)
    return () if words == ("none",) else words


_READERS: Final[Mapping[str, Callable[[str, str], object]]] = {
    "bundle": _path,
    "model": _text,
    "engine": _text,
    "precision": _text,
    "timeout_seconds": _number,
    "drain_seconds": _number,
    "api_keys": _keys,
    "api_keys_file": _path,
    "open_doors": _words,
    "cors_origins": _words,
    "log_format": _text,
    "trace_endpoint": _text,
    "trace_rate": _number,
}


def _origin(text: str) -> str:
    """An origin as browsers write it (RFC 6454, 6.2), as theirs is compared with it letter by letter."""
    parts = _ORIGIN.fullmatch(text.lower())
    scheme, host, port = parts.groups() if parts else ("", "", "")
    try:
        if host.startswith("["):
            host = f"[{IPv6Address(host[1:-1])}]"
        elif host.rpartition(".")[2].isdigit():  # which browsers take for IPv4, whatever stands before it
            host = str(IPv4Address(host))
        number = int(port or _DEFAULT_PORTS[scheme])
    except (KeyError, ValueError):
        number = 0
    if not 1 <= number <= 65535:
        raise ConfigError(
            f"{PREFIX}CORS_ORIGINS holds {text!r}; origins are needed, such as https://app.example.org "
            "(no path, no slash at the end), or * alone"
        )
    return f"{scheme}://{host}" + ("" if number == _DEFAULT_PORTS[scheme] else f":{number}")


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{PREFIX}{name.upper()} is {value!r}; choose one of {', '.join(choices)}")


def _within(name: str, value: float, least: float, most: float) -> None:
    # Written so that NaN fails too.
    if not least <= value <= most:
        raise ConfigError(f"{PREFIX}{name.upper()} is {value}; {least} to {most} is possible")
