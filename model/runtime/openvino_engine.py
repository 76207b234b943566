"""The network on OpenVINO, the default: compiled once for any size, and again for the sizes that come back."""

from __future__ import annotations

import os
from functools import cache
from math import prod
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from data.errors import ConfigError
from model.runtime.engine import INPUT, OUTPUTS, check_images, check_interface, not_a_network
from model.runtime.library import compiled, has_bf16
from model.runtime.processors import multiplies_tiles, usable_processors
from model.runtime.requests import Requests
from model.runtime.shapes import FrequentShapes
from model.runtime.tail import F32Tail
from model.runtime.tail_bf16 import Bf16Tail
from model.runtime.tail_engine import EngineTail, phase_kernels
from model.runtime.trunk import convolution, cut

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from model.runtime.bundle import Bundle
    from model.runtime.engine import EngineConfig, EngineName
    from model.runtime.shapes import Shape
    from model.runtime.tail import Tail
    from model.runtime.trunk import Trunk

LARGEST_COMPILED: Final = 1 << 20
"""Most pixels of a batch whose shape is compiled for: above, the gain is lost in the rest and the memory is not."""

_RUNTIME_CACHE: Final = 500
"""Layers prepared for a shape that the network for all shapes keeps. OpenVINO's own 5000 let a process grow to
1 GB over 500 pictures of random sizes up to 900x900; with 500 it stays at 0.45 GB, at the same speed."""


class OpenVinoEngine:
    """Runs a bundle's network with OpenVINO's CPU plugin.

    A network compiled for one shape saves a few milliseconds over one compiled for all of them, whatever
    the size: a tenth at 384x480 (FCN-8s, Lite0: 31.5 against 35 ms of processor time in f32, 22 against
    25 in bf16), a fiftieth at 736x992. Compiling takes as long as several pictures, and each network
    holds memory. So every shape is run by the network for all shapes at first; ``FrequentShapes`` says
    when a small one has come back often enough to be compiled for. The caller who meets that moment
    waits for it; others go on meanwhile.

    A large shape is compiled for when ``expect`` tells that it comes back, as tiles do: what lies between the layers
    of one shape shares its memory more closely, 280 MB against 720 for a tile of 1952x1888 in f32, at the same speed.
    One is held at a time; compiling takes half as long as one such tile.

    The network is run up to its coarse scores where its end is an upsampling that ``tail`` knows: that step takes
    half of the time or more inside the graph, and holds the scores of all classes at the picture's size.

    Args:
        bundle: Checked bundle.
        config: Precision, threads, streams.
        fused: Take the last step out of the graph where that can be done; False is there to compare with.

    Raises:
        BundleError: the file is no ONNX network of ours.
        ConfigError: bf16 is asked for and the processor cannot run it.
    """

    def __init__(self, bundle: Bundle, config: EngineConfig, *, fused: bool = True) -> None:
        import openvino as ov  # noqa: PLC0415 - heavy, and a server's master process must not load it

        self._core = process_core()
        capable = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if config.precision == "bf16" and not capable:
            raise ConfigError("precision bf16 is asked for, but this processor has none: take precision auto or f32")
        # A processor may be capable by emulation, which is slower than f32; OpenVINO's default is what it has for real.
        native = self._core.get_property("CPU", "INFERENCE_PRECISION_HINT") == ov.Type.bf16
        wanted = config.precision == "bf16" or (config.precision == "auto" and native)
        self._precision: Literal["f32", "bf16"] = "bf16" if wanted else "f32"
        self._properties = {
            "INFERENCE_PRECISION_HINT": self._precision,
            # The hint is what one caller waits for, or how many are served; streams settle it.
            "PERFORMANCE_HINT": "LATENCY" if config.streams == 1 else "THROUGHPUT",
            "NUM_STREAMS": str(config.streams),
            "CPU_RUNTIME_CACHE_CAPACITY": str(_RUNTIME_CACHE),
        }
        threads = config.threads or usable_processors()
        # With the whole machine at hand OpenVINO's own choice (one thread a core, not a hyper-thread) is best.
        if config.threads or threads < (os.cpu_count() or 1):
            self._properties["INFERENCE_NUM_THREADS"] = str(threads)
            # Others share the machine: were threads bound to processors, every process would take the same first ones.
            self._properties["ENABLE_CPU_PINNING"] = "NO"
        try:
            self._network = self._core.read_model(bundle.model_path)
        except Exception as error:
            raise not_a_network(bundle, error) from error
        check_interface(
            bundle,
            (f"{port.any_name} {port.element_type.to_dtype().name}" for port in self._network.inputs),
            (f"{port.any_name} {port.element_type.to_dtype().name}" for port in self._network.outputs),
        )
        try:
            trunk = cut(self._network) if fused and compiled() else None
            self._run_network = self._network if trunk is None else trunk.network
            self._tail = None if trunk is None else self._tail_of(trunk, max(1, threads // config.streams))
            self._any_shape = _Compiled(self.compile(self._run_network), self._tail)
        except Exception as error:
            raise not_a_network(bundle, error) from error
        self._stride = bundle.manifest.stride
        self._by_shape: dict[Shape, _Compiled] = {}
        self._compiling: set[Shape] = set()
        self._expected: tuple[Shape, _Compiled] | None = None
        self._frequent = FrequentShapes()
        self._lock = Lock()
        self._expecting = Lock()

    @property
    def name(self) -> EngineName:
        """Which engine this is."""
        return "openvino"

    @property
    def precision(self) -> Literal["f32", "bf16"]:
        """The precision in force."""
        return self._precision

    @property
    def tail(self) -> Literal["fused", "graph"]:
        """Where the last upsampling is worked out; see ``Engine.tail``."""
        return "graph" if self._tail is None else "fused"

    @property
    def compiled_shapes(self) -> list[Shape]:
        """The shapes that have a network of their own at present."""
        expected = self._expected
        with self._lock:
            return [*self._by_shape, *([expected[0]] if expected else [])]

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Label a batch; see ``Engine.run``."""
        check_images(images, self._stride)
        return self._network_for(images.shape).run(images)

    def expect(self, shape: Shape) -> None:
        """Compile for a large shape; a small one that comes back is compiled for without being told."""
        if prod(shape[:3]) <= LARGEST_COMPILED:
            return
        with self._expecting:  # two callers with one shape: the second waits and finds it done
            if self._expected is None or self._expected[0] != shape:
                self._expected = shape, self._compile(shape)

    def release(self) -> None:
        """See ``Engine.release``; networks for small shapes keep theirs, which is little."""
        self._expected = None
        self._any_shape.release()

    def _network_for(self, shape: Shape) -> _Compiled:
        expected = self._expected
        if expected is not None and expected[0] == shape:
            return expected[1]
        if prod(shape[:3]) > LARGEST_COMPILED:
            return self._any_shape
        with self._lock:
            self._frequent.see(shape)
            held = self._by_shape.get(shape)
            if held is not None:
                return held
            taken = [*self._by_shape, *self._compiling]
            if shape in self._compiling or not self._frequent.worth_compiling(shape, taken):
                return self._any_shape
            self._compiling.add(shape)
        try:
            compiled = self._compile(shape)
        finally:
            with self._lock:
                self._compiling.discard(shape)
        with self._lock:
            victim = self._frequent.to_drop(list(self._by_shape))
            if victim is not None:
                # Who is running it keeps it alive until done.
                del self._by_shape[victim]
            self._by_shape[shape] = compiled
        return compiled

    def network(self) -> Any:  # noqa: ANN401 - openvino.Model; the package has no types
        """A copy of the network as it was read, to be changed; it shares the weights."""
        return self._network.clone()

    def read(self, path: Path) -> Any:  # noqa: ANN401 - openvino.Model
        """Read another network."""
        return self._core.read_model(path)

    def compile(self, network: Any) -> Any:  # noqa: ANN401 - openvino.CompiledModel
        """Compile a network with this engine's settings."""
        return self._core.compile_model(network, "CPU", self._properties)

    def _compile(self, shape: Shape) -> _Compiled:
        network = self._run_network.clone()
        network.reshape({INPUT: list(shape)})
        return _Compiled(self.compile(network), self._tail)

    def _tail_of(self, trunk: Trunk, threads: int) -> Tail:
        dense, in_bf16 = trunk.kernels.ndim == 4, self._precision == "bf16"
        # Units for whole tiles, and those of other processors for bf16, the engine alone knows to use.
        if dense and in_bf16 and (multiplies_tiles() or not has_bf16()):
            requests = Requests(self.compile(convolution(phase_kernels(trunk.kernels))))
            return EngineTail(lambda padded: requests.infer({"scores": padded}), trunk.factor, threads)
        return (Bf16Tail if in_bf16 and has_bf16() else F32Tail)(trunk.kernels, trunk.factor, threads)


class _Compiled:
    """A compiled network, and its last step if that is not inside."""

    def __init__(self, network: Any, tail: Tail | None) -> None:  # noqa: ANN401 - openvino.CompiledModel
        self._requests = Requests(network)
        self._tail = tail

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        with self._requests.infer({INPUT: np.ascontiguousarray(images)}) as answers:
            if self._tail is None:
                label_maps, confidences = (np.array(answers[name]) for name in OUTPUTS)
                return label_maps, confidences
            labelled = [self._tail.run(scores) for scores in answers[0]]
        if len(labelled) == 1:
            return labelled[0][0][None], labelled[0][1][None]
        label_maps, confidences = map(np.stack, zip(*labelled, strict=True))
        return label_maps, confidences

    def release(self) -> None:
        self._requests.release()


@cache
def process_core() -> Any:  # noqa: ANN401 - OpenVINO is imported late
    """The one Core of this process, never given up.

    Each Core's CPU plugin puts an alternate signal stack under the thread that made it and takes it away at
    its end. Two Cores that do not end in the reverse order of their making leave a stack behind that is no
    longer mapped, and the next signal that Python handles (Ctrl-C, SIGTERM, a loader's SIGCHLD) kills the
    process with a segmentation fault.
    """
    import openvino as ov  # noqa: PLC0415 - heavy, and a server's master process must not load it

    return ov.Core()
