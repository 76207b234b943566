"""Test-time augmentation of a bundle: its network cut open before the argmax, run several times, averaged."""

from __future__ import annotations

import math
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from data.errors import BundleError, ConfigError
from data.pixels import pad_to_multiple
from model.runtime.engine import INPUT, check_images
from model.runtime.openvino_engine import OpenVinoEngine
from model.runtime.trunk import find_argmax
from model.runtime.tta import average

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.runtime.bundle import Bundle
    from model.runtime.engine import EngineConfig, EngineName
    from model.runtime.tta import TtaConfig

MEAN_BYTES: Final = 128 << 20
"""Of the probabilities of all classes of one tile: tiles are made smaller where there are many classes."""

_SMALLEST_TILE: Final = 512


class AveragingEngine:
    """Labels by the mean probabilities of several passes, as ``average`` defines them; on OpenVINO alone.

    A bundle's graph ends in a label map and a confidence, of which no mean can be made. Its scores are in
    there, in front of the argmax; OpenVINO can be told to answer with them instead, ONNX Runtime cannot without the
    file being written anew.

    Args:
        bundle: Checked bundle.
        config: Precision, threads.
        tta: The passes.

    Raises:
        BundleError: the file is no ONNX network of ours.
        ConfigError: the engine is ONNX Runtime, or bf16 is asked for and the processor has none.
    """

    def __init__(self, bundle: Bundle, config: EngineConfig, tta: TtaConfig) -> None:
        if config.engine != "openvino":
            raise ConfigError(
                f"test-time augmentation ({tta.told}) of a bundle needs engine openvino, which can be asked for the "
                f"scores inside the graph; {config.engine} cannot: leave --engine.engine out"
            )
        plain = OpenVinoEngine(bundle, config)  # refuses whatever is to be refused
        self._precision = plain.precision
        self._stride = bundle.manifest.stride
        self._tta = tta
        self._network = plain.compile(_with_probabilities(plain.network(), bundle))
        self._request = self._network.create_infer_request()
        self._lock = Lock()

    @property
    def name(self) -> EngineName:
        """Which engine this is."""
        return "openvino"

    @property
    def tail(self) -> Literal["graph"]:
        """The probabilities of all classes are what is averaged."""
        return "graph"

    @property
    def precision(self) -> Literal["f32", "bf16"]:
        """The precision in force."""
        return self._precision

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Label a batch; see ``Engine.run``. Callers take turns: it is made for folders, not for a service."""
        check_images(images, self._stride)
        with self._lock:
            answers = [average(image, self._tta, self._probabilities) for image in images]
        label_maps, confidences = zip(*answers, strict=True)
        return np.stack(label_maps), np.stack(confidences)

    def expect(self, shape: tuple[int, ...]) -> None:
        """Every tile is run in several sizes: nothing is made for one."""

    def release(self) -> None:
        """See ``Engine.release``."""
        self._network.release_memory()

    def _probabilities(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
        padded = np.ascontiguousarray(pad_to_multiple(image, self._stride))
        given = {
            INPUT: padded[None],
            "own_size": np.asarray(image.shape[:2], dtype=np.int64),
            "size": np.asarray(size, dtype=np.int64),
        }
        # The mean is added up before the next pass overwrites this tensor.
        found: NDArray[np.float32] = self._request.infer(given, share_inputs=True, share_outputs=True)[0][0]
        return found


def largest_tile(max_tile: int, tta: TtaConfig, num_classes: int) -> int:
    """Longest side of a tile, so that the mean and the largest pass stay bounded.

    Args:
        max_tile: What one pass may take.
        tta: The passes.
        num_classes: A probability each, for every pixel.
    """
    largest = max(1.0, *tta.scales)
    side = math.isqrt(MEAN_BYTES // (4 * num_classes))
    return min(max_tile, max(_SMALLEST_TILE, min(int(max_tile / largest), side)))


def _with_probabilities(network: Any, bundle: Bundle) -> Any:  # noqa: ANN401 - openvino.Model; the package has no types
    """The network with one answer: the probabilities (N, C, H, W) of its own part of the input, brought to a size."""
    import openvino as ov  # noqa: PLC0415 - heavy
    from openvino import opset13 as ops  # noqa: PLC0415

    argmax = find_argmax(network)
    if argmax is None:
        raise BundleError(f"{bundle.model_path} has no argmax before its label map: export the run again")
    axis = argmax.get_attributes()["axis"]
    probabilities = ops.softmax(argmax.input_value(0), axis)
    if axis != 1:
        probabilities = ops.transpose(probabilities, np.asarray([0, 3, 1, 2]))
    own_size = ops.parameter([2], np.int64, name="own_size")
    size = ops.parameter([2], np.int64, name="size")
    sides = np.asarray([2, 3], dtype=np.int64)
    own = ops.slice(probabilities, np.asarray([0, 0]), own_size, np.asarray([1, 1]), sides)
    # As torch's interpolate(mode="bilinear", align_corners=False).
    resized = ops.interpolate(
        own, size, "linear_onnx", "sizes", axes=sides, coordinate_transformation_mode="half_pixel"
    )
    for parameter in (own_size, size):
        parameter.output(0).set_names({parameter.get_friendly_name()})
    return ov.Model([resized], [*network.get_parameters(), own_size, size], "probabilities")
