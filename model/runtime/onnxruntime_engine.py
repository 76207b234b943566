"""The network on ONNX Runtime: f32 on the CPU, wherever it has a wheel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from model.runtime.engine import INPUT, OUTPUTS, check_images, check_interface, not_a_network
from model.runtime.processors import usable_processors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.runtime.bundle import Bundle
    from model.runtime.engine import EngineConfig, EngineName


class OnnxRuntimeEngine:
    """Runs a bundle's network with ONNX Runtime's CPU provider.

    Args:
        bundle: Checked bundle.
        config: Threads; the precision is f32.

    Raises:
        BundleError: the file is no ONNX network of ours.
    """

    def __init__(self, bundle: Bundle, config: EngineConfig) -> None:
        import onnxruntime as ort  # noqa: PLC0415 - heavy, and a server's master process must not load it

        options = ort.SessionOptions()
        options.intra_op_num_threads = config.threads or usable_processors()
        # Its arena never gives memory back: one 2048x2048 picture leaves 1.8 GB held with it and 0.2 GB without,
        # at the same speed.
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3  # errors only: a warning about an odd node helps nobody who serves
        try:
            self._session = ort.InferenceSession(bundle.model_path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common base
            raise not_a_network(bundle, error) from error
        check_interface(
            bundle,
            (f"{node.name} {node.type[7:-1]}" for node in self._session.get_inputs()),  # "tensor(uint8)"
            (f"{node.name} {node.type[7:-1]}" for node in self._session.get_outputs()),
        )
        self._stride = bundle.manifest.stride

    @property
    def name(self) -> EngineName:
        """Which engine this is."""
        return "onnxruntime"

    @property
    def precision(self) -> Literal["f32"]:
        """The precision in force."""
        return "f32"

    @property
    def tail(self) -> Literal["graph"]:
        """The graph is run to its end."""
        return "graph"

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Label a batch; see ``Engine.run``. A session may be run from several threads at once."""
        check_images(images, self._stride)
        label_maps, confidences = self._session.run(list(OUTPUTS), {INPUT: np.ascontiguousarray(images)})
        return label_maps, confidences

    def expect(self, shape: tuple[int, ...]) -> None:
        """All shapes are the same to it."""

    def release(self) -> None:
        """Nothing is held: see where the session is made."""
