"""What a comparison is told: arms, seeds, mode. No torch is imported here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from data.errors import ConfigError
from model.config import TrainConfig, UpsamplerName

if TYPE_CHECKING:
    from collections.abc import Sequence

Mode = Literal["end-to-end", "upsampler-only"]

STRIDES: Final = (32, 16, 8, 4)

REDUCTIONS: Final = (2, 4, 8)
"""How far a picture may be reduced before it is brought back."""

BASELINE: Final[UpsamplerName] = "bilinear"
"""What every other upsampler is compared with."""

_NOT_OF_THE_RESULT: Final = (
    ("fit", "progress"),
    ("fit", "threads"),
    ("fit", "tracker"),
    ("fit", "save_minutes"),
    ("fit", "sync_batchnorm"),
    ("loader", "workers"),
    ("loader", "memory_mib"),
    ("loader", "cache_dir"),
    # Set by each arm.
    ("model", "upsampler"),
    ("model", "finest_stride"),
)


@dataclass(frozen=True)
class Arm:
    """One variant in a comparison.

    Attributes:
        upsampler: Between the stages and for the last step.
        stride: Finest stride of the network: 8 for FCN-8s.
    """

    upsampler: UpsamplerName
    stride: int

    @property
    def name(self) -> str:
        """As in file names: ``learned-8s``."""
        return f"{self.upsampler}-{self.stride}s"


@dataclass(frozen=True)
class CompareConfig:
    """One comparison.

    Attributes:
        train: The recipe that all arms share; its upsampler and finest stride are replaced by each arm's.
            Its seed is the first one.
        upsamplers: Compared at every stride; bilinear, the baseline, is among them.
        strides: Finest strides, each 32, 16, 8 or 4.
        seeds: Trainings of every arm. Two give an interval, three or more a usable one.
        mode: ``end-to-end`` trains every arm whole; ``upsampler-only`` trains one network a seed and stride
            and then each upsampler on its stored score maps.
        checkpoint: Which one is scored. ``last`` is not chosen by the pictures that score it.
        split: Which pictures score.
        passes: Of ``upsampler-only``: how often the training pictures are cropped for the stored score maps.
        upsampler_epochs: Of ``upsampler-only``: passes over those maps.
        bootstrap: Resamples of the pictures.
        latency: Export one network an arm and time it in OpenVINO.
        pictures: Pictures shown in the report; 0 keeps the data out of it.
        reconstruction: Also bring back reduced pictures in every way, a minute's work.
        reconstruction_factor: Sides of a picture over those of its summary: 2, 4 or 8.
        reconstruction_steps: Of the training of each way back that learns.
    """

    train: TrainConfig = field(default_factory=TrainConfig)
    upsamplers: tuple[UpsamplerName, ...] = ("bilinear", "learned")
    strides: tuple[int, ...] = (32, 16, 8)
    seeds: int = 3
    mode: Mode = "end-to-end"
    checkpoint: Literal["last", "best"] = "last"
    split: Literal["val", "test"] = "val"
    passes: int = 4
    upsampler_epochs: int = 6
    bootstrap: int = 2000
    latency: bool = True
    pictures: int = 3
    reconstruction: bool = True
    reconstruction_factor: int = 4
    reconstruction_steps: int = 400

    def __post_init__(self) -> None:
        known = get_args(UpsamplerName)
        for name in self.upsamplers:
            if name not in known:
                raise ConfigError(f"no upsampler is named {name!r}: an arm is one of {', '.join(known)}")
        for stride in self.strides:
            if stride not in STRIDES:
                raise ConfigError(f"stride {stride} is none that an FCN predicts at: choose from {STRIDES}")
        if BASELINE not in self.upsamplers or len(self.upsamplers) < 2:
            raise ConfigError(
                f"arms are {', '.join(self.upsamplers) or 'none'}: a comparison needs {BASELINE}, the baseline, and "
                "one other upsampler at least"
            )
        for what, values in (("arm", self.upsamplers), ("stride", self.strides)):
            if len(set(values)) < len(values) or not values:
                raise ConfigError(f"{what}s are {values}: name each {what} once")
        if self.mode not in get_args(Mode):
            raise ConfigError(f"mode is {self.mode!r}: choose one of {', '.join(get_args(Mode))}")
        if self.train.fit.devices not in ("auto", 1) or self.train.fit.num_nodes != 1:
            raise ConfigError("a comparison trains in one process: leave out --fit.devices and --fit.num_nodes")
        if self.seeds < 1 or self.passes < 1 or self.upsampler_epochs < 1:
            raise ConfigError("seeds, passes and upsampler_epochs are 1 at least")
        if self.bootstrap < 100:
            raise ConfigError(f"bootstrap is {self.bootstrap}: fewer than 100 resamples give no 95 % interval")
        if self.pictures < 0:
            raise ConfigError(f"pictures is {self.pictures}: 0 (none) or more")
        if self.reconstruction_factor not in REDUCTIONS:
            raise ConfigError(f"reconstruction_factor is {self.reconstruction_factor}: choose from {REDUCTIONS}")
        if self.reconstruction_steps < 1:
            raise ConfigError(f"reconstruction_steps is {self.reconstruction_steps}: 1 or more")

    @property
    def arms(self) -> list[Arm]:
        """Every upsampler at every stride, the coarsest stride first."""
        return [
            Arm(upsampler, stride) for stride in sorted(self.strides, reverse=True) for upsampler in self.upsamplers
        ]

    @property
    def seed_values(self) -> list[int]:
        """The seeds themselves."""
        return list(range(self.train.seed, self.train.seed + self.seeds))

    def of(self, arm: Arm, seed: int) -> TrainConfig:
        """The recipe of one arm with one seed."""
        model = dataclasses.replace(self.train.model, upsampler=arm.upsampler, finest_stride=arm.stride)  # type: ignore[arg-type]
        fit = dataclasses.replace(self.train.fit, devices=1)
        return dataclasses.replace(self.train, model=model, fit=fit, seed=seed)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return plain

    def identity(self) -> dict[str, Any]:
        """What a result depends on beside its arm and seed, flat: ``train.optimiser.decoder_rate`` to 0.002.

        Two comparisons with the same identity may share results: arms, strides and seeds can be added later.
        """
        train = self.to_dict()["train"]
        for part, name in _NOT_OF_THE_RESULT:
            del train[part][name]
        del train["seed"]
        kept = {"train": train, "mode": self.mode, "checkpoint": self.checkpoint, "split": self.split}
        if self.mode == "upsampler-only":
            kept |= {"passes": self.passes, "upsampler_epochs": self.upsampler_epochs}
        return dict(_flat(kept, ""))


def with_baseline(upsamplers: Sequence[str]) -> tuple[UpsamplerName, ...]:
    """Upsamplers with the baseline before them where it is not named.

    Raises:
        ConfigError: one is unknown.
    """
    known: dict[str, UpsamplerName] = {name: name for name in get_args(UpsamplerName)}
    for name in upsamplers:
        if name not in known:
            raise ConfigError(f"no upsampler is named {name!r}: an arm is one of {', '.join(known)}")
    found = tuple(known[name] for name in upsamplers)
    return found if BASELINE in found else (BASELINE, *found)


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What differs between two identities, one ``name: before -> now`` each."""
    missing = "(none)"
    names = [name for name in {**one, **other} if one.get(name, missing) != other.get(name, missing)]
    return [f"{name}: {one.get(name, missing)} -> {other.get(name, missing)}" for name in names]


def _flat(values: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found


def _plain(value: object) -> Any:  # noqa: ANN401 - a JSON value of any kind
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
