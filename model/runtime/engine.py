"""Engine: what runs a bundle's network on a batch of pictures; its settings and the choice between the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol, get_args

from data.errors import BundleError, ConfigError, ImageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from model.runtime.bundle import Bundle

Precision = Literal["auto", "f32", "bf16"]
EngineName = Literal["openvino", "onnxruntime"]

INPUT: Final = "image"
"""Name of the graph's input: uint8, shape (N, H, W, 3)."""

OUTPUTS: Final = ("label_map", "confidence")
"""Names of the graph's outputs: uint8, shape (N, H, W) each."""


@dataclass(frozen=True)
class EngineConfig:
    """How a network is run.

    Attributes:
        engine: ``openvino`` is the faster one on x86 and Arm; ``onnxruntime`` runs nearly anywhere.
        precision: ``bf16`` is nearly twice as fast where the processor has it; ``auto`` takes it there
            and f32 elsewhere. ONNX Runtime runs f32 alone.
        threads: Threads of one network; 0 takes all the processors that this process may use.
        streams: Pictures that OpenVINO runs side by side; ONNX Runtime runs its callers side by side
            whatever this says.
    """

    engine: EngineName = "openvino"
    precision: Precision = "auto"
    threads: int = 0
    streams: int = 1

    def __post_init__(self) -> None:
        if self.engine not in get_args(EngineName):
            raise ConfigError(f"engine is {self.engine!r}: choose one of {', '.join(get_args(EngineName))}")
        if self.precision not in get_args(Precision):
            raise ConfigError(f"precision is {self.precision!r}: choose one of {', '.join(get_args(Precision))}")
        if self.engine == "onnxruntime" and self.precision == "bf16":
            raise ConfigError("precision bf16 needs engine openvino; ONNX Runtime runs f32 (or auto, the same here)")
        if self.threads < 0:
            raise ConfigError(f"threads is {self.threads}: give 0 for all processors, or a number from 1")
        if self.streams < 1:
            raise ConfigError(f"streams is {self.streams}: at least 1 is needed")


DEFAULT_CONFIG: Final = EngineConfig()
"""OpenVINO in the best precision of the processor, on all of it."""


class Engine(Protocol):
    """Runs one network. Safe to call from several threads at once."""

    @property
    def name(self) -> EngineName:
        """Which engine this is."""
        ...

    @property
    def precision(self) -> Literal["f32", "bf16"]:
        """The precision in force, never ``auto``."""
        ...

    @property
    def tail(self) -> Literal["fused", "graph"]:
        """Where the last upsampling, the argmax and the confidence are worked out.

        ``fused``: in one compiled step after the network, which never holds the scores of all classes at the
        picture's size. ``graph``: in the network's own graph, which does.
        """
        ...

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Label every pixel of a batch of pictures of one size.

        Args:
            images: RGB, shape (N, H, W, 3); H and W are multiples of the network's stride.

        Returns:
            Label maps and confidences, shape (N, H, W) each; confidence 255 is probability 1. Both
            arrays are the caller's own.

        Raises:
            ImageError: the shape or dtype is not as above.
        """
        ...

    def expect(self, shape: tuple[int, ...]) -> None:
        """Be told that batches of one shape (N, H, W, 3) come now, many of them, one after the other."""
        ...

    def release(self) -> None:
        """Give back the memory that is held for the next picture; that one takes it anew."""
        ...


def open_engine(bundle: Bundle, config: EngineConfig) -> Engine:
    """Load a bundle's network.

    Raises:
        BundleError: the file is no network of ours.
        ConfigError: the processor cannot do what the settings ask for.
    """
    # Imported on use: a process that never runs a network (a server's master) stays small.
    if config.engine == "openvino":
        from model.runtime.openvino_engine import OpenVinoEngine  # noqa: PLC0415

        return OpenVinoEngine(bundle, config)
    from model.runtime.onnxruntime_engine import OnnxRuntimeEngine  # noqa: PLC0415

    return OnnxRuntimeEngine(bundle, config)


def check_images(images: NDArray[np.uint8], stride: int) -> None:
    """Refuse a batch that the graph cannot take.

    Raises:
        ImageError: not uint8 (N, H, W, 3), or a side that is no multiple of ``stride``.
    """
    if images.dtype != "uint8" or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
        raise ImageError(f"a batch has shape {images.shape} and dtype {images.dtype}; uint8 (N, H, W, 3) is expected")
    height, width = images.shape[1:3]
    if height % stride or width % stride:
        raise ImageError(f"the pictures are {width}x{height}; both sides must be multiples of {stride}: pad them")


def check_interface(bundle: Bundle, inputs: Iterable[str], outputs: Iterable[str]) -> None:
    """Refuse a network whose inputs and outputs are not those of an exported FCN.

    Args:
        bundle: For the message.
        inputs: Name and dtype of each, such as ``image uint8``.
        outputs: Likewise.

    Raises:
        BundleError: names both.
    """
    found = (sorted(inputs), sorted(outputs))
    expected = ([f"{INPUT} uint8"], sorted(f"{name} uint8" for name in OUTPUTS))
    if found != expected:
        takes, gives = (", ".join(names) for names in found)
        raise BundleError(
            f"{bundle.model_path} takes {takes} and gives {gives}; it should take {', '.join(expected[0])} "
            f"and give {', '.join(expected[1])}: export the run with 'fcn export'"
        )


def not_a_network(bundle: Bundle, error: Exception) -> BundleError:
    """The error for a file that an engine cannot load."""
    reason = " ".join(str(error).split())[:300]
    return BundleError(f"{bundle.model_path} cannot be loaded as an ONNX network ({reason}): export the run again")
