"""The network on OpenVINO, the default: compiled once for any size, and again for the sizes that come back."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict, deque
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from data.errors import ConfigError
from model.runtime.engine import INPUT, OUTPUTS, check_images, check_interface, not_a_network
from model.runtime.processors import usable_processors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.runtime.bundle import Bundle
    from model.runtime.engine import EngineConfig, EngineName

_LOG: Final = logging.getLogger(__name__)

Shape = tuple[int, ...]


class OpenVinoEngine:
    """Runs a bundle's network with OpenVINO's CPU plugin.

    A network compiled for one shape is faster than one compiled for all of them (30 against 52 ms for
    FCN-8s at 384x480 in f32), but compiling takes as long as dozens of pictures. So every shape is run
    by the network for all shapes at first, and ``ShapePolicy`` says when one has come back often
    enough to be compiled for. The caller who meets that moment waits for it; others go on meanwhile.

    Args:
        bundle: Checked bundle.
        config: Precision, threads, streams.

    Raises:
        BundleError: the file is no ONNX network of ours.
        ConfigError: bf16 is asked for and the processor has none.
    """

    def __init__(self, bundle: Bundle, config: EngineConfig) -> None:
        import openvino as ov  # noqa: PLC0415 - heavy, and a server's master process must not load it

        self._core = ov.Core()
        has_bf16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if config.precision == "bf16" and not has_bf16:
            raise ConfigError("precision bf16 is asked for, but this processor has none: take precision auto or f32")
        self._precision: Literal["f32", "bf16"] = "bf16" if has_bf16 and config.precision != "f32" else "f32"
        self._properties = {
            "INFERENCE_PRECISION_HINT": self._precision,
            # The hint is what one caller waits for, or how many are served; streams settle it.
            "PERFORMANCE_HINT": "LATENCY" if config.streams == 1 else "THROUGHPUT",
            "NUM_STREAMS": str(config.streams),
            "INFERENCE_NUM_THREADS": str(config.threads or usable_processors()),
        }
        try:
            self._network = self._core.read_model(bundle.model_path)
            self._any_shape = _Compiled(self._core.compile_model(self._network, "CPU", self._properties))
        except Exception as error:
            raise not_a_network(bundle, error) from error
        check_interface(
            bundle,
            (port.any_name for port in self._network.inputs),
            (port.any_name for port in self._network.outputs),
        )
        self._stride = bundle.manifest.stride
        self._by_shape: dict[Shape, _Compiled] = {}
        self._policy = ShapePolicy()
        self._lock = Lock()

    @property
    def name(self) -> EngineName:
        """Which engine this is."""
        return "openvino"

    @property
    def precision(self) -> Literal["f32", "bf16"]:
        """The precision in force."""
        return self._precision

    @property
    def compiled_shapes(self) -> list[Shape]:
        """The shapes that have a network of their own at present."""
        with self._lock:
            return list(self._by_shape)

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Label a batch; see ``Engine.run``."""
        check_images(images, self._stride)
        return self._network_for(images.shape).run(images)
