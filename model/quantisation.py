"""Quantisation: an exported graph to one whose convolutions run in int8, by NNCF.

The result is ONNX as before (QuantizeLinear and DequantizeLinear around the convolutions), so that both engines read
it. Encoder and score heads become int8. What follows the heads (upsampling, argmax, confidence) stays in floating
point: it is cheap, and rounding there moves labels and blurs the confidence. So does the normalisation of the picture.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from data.errors import ConfigError, ExportError
from data.pixels import pad_to_multiple
from model.nncf_session import import_nncf, quiet, told
from model.runtime.engine import INPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    Validate = Callable[[bytes, Sequence[int]], tuple[float, list[float]]]

LARGEST_WINDOW: Final = 1024
"""Longest side that is calibrated on: NNCF keeps every layer's answer to a picture in memory."""

RANKED_PICTURES: Final = 24
"""Pictures, those that lost most, by which the accuracy-aware mode ranks the layers."""

MOST_RESTORED: Final = 24
"""Groups of layers that it puts back to floating point at most: beyond, little is left to be faster."""

_HEAD: Final = re.compile(r"network\.decoder\.score_heads\.(\d+)\.(\d+)\.weight$")
_CONVOLUTIONS: Final = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})


@dataclass(frozen=True)
class QuantisationConfig:
    """How a network is brought to int8.

    Attributes:
        pictures: Validation pictures that the ranges of the layers are measured on; fewer where there are fewer.
        max_fall: Largest fall of the val mIoU against the float network, in points; below 0 it must rise.
        seed: Chooses the pictures.
    """

    pictures: int = 100
    max_fall: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pictures < 1:
            raise ConfigError(f"quantisation.pictures is {self.pictures}: 1 at least is needed, 100 is usual")
        if not math.isfinite(self.max_fall) or not -100 <= self.max_fall <= 100:
            raise ConfigError(
                f"quantisation.max_fall is {self.max_fall}: it is in points of mIoU, from -100 to 100; 0.5 is usual"
            )
        if self.seed < 0:
            raise ConfigError(f"quantisation.seed is {self.seed}: 0 or more is needed")

    def choose(self, available: int) -> list[int]:
        """Indices of the pictures to calibrate on, ascending; the same ones for the same seed."""
        order = np.random.default_rng(self.seed).permutation(available)
        return sorted(int(index) for index in order[: self.pictures])


def quantise(graph: bytes, pictures: Sequence[NDArray[np.uint8]], stride: int = 32) -> bytes:
    """Bring a graph to int8.

    Args:
        graph: Of ``to_onnx``: ONNX from picture to label map and confidence.
        pictures: RGB, shape (H, W, 3) each, of any size; they are read one at a time, so a lazy sequence will do.
        stride: Sides are padded to multiples of it, as the engine's are.

    Returns:
        ONNX with the same input and outputs.

    Raises:
        ExportError: NNCF is not installed, the graph has no score heads, or NNCF cannot quantise it.
    """
    nncf, onnx = import_nncf(), _onnx()
    model = onnx.load_from_string(graph)
    with quiet(), told():
        found = nncf.quantize(
            model,
            _dataset(nncf, pictures, stride),
            subset_size=len(pictures),
            ignored_scope=nncf.IgnoredScope(names=tail(model)),
        )
    return bytes(found.SerializeToString())


def quantise_within(
    graph: bytes,
    pictures: Sequence[NDArray[np.uint8]],
    validate: Validate,
    count: int,
    max_fall: float,
    stride: int = 32,
) -> bytes:
    """Bring a graph to int8 and put back to floating point the layers that cost most, until the fall is small enough.

    NNCF's accuracy-aware mode: each group of layers is put back by itself to rank it, then the worst go, one after the
    other, until the metric is within reach or ``MOST_RESTORED`` groups are gone. What comes back may still have fallen
    too far.

    Args:
        graph: As in ``quantise``.
        pictures: As in ``quantise``.
        validate: A graph and indices of validation pictures to the metric over them all and that of each.
        count: Number of validation pictures.
        max_fall: Largest fall of the metric.
        stride: As in ``quantise``.

    Raises:
        ExportError: As in ``quantise``.
    """
    nncf, onnx = import_nncf(), _onnx()
    from nncf.onnx.graph.passes import compress_quantize_weights_transformation  # noqa: PLC0415  an extra
    from nncf.quantization.advanced_parameters import AdvancedAccuracyRestorerParameters  # noqa: PLC0415

    model = onnx.load_from_string(graph)

    def validate_model(candidate: Any, indices: Iterable[int]) -> tuple[float, list[float]]:  # noqa: ANN401  onnx
        # NNCF folds the weights into int8 in the end alone, and engines run a network with folded ones by other code:
        # on AVX2 mIoU was 0.23 points lower. What is scored has to be what is written.
        folded = onnx.load_from_string(candidate.SerializeToString())
        compress_quantize_weights_transformation(folded)
        return validate(folded.SerializeToString(), list(indices))

    with quiet(), told():
        found = nncf.quantize_with_accuracy_control(
            model,
            calibration_dataset=_dataset(nncf, pictures, stride),
            validation_dataset=nncf.Dataset(range(count)),
            validation_fn=validate_model,
            max_drop=max_fall,
            drop_type=nncf.DropType.ABSOLUTE,
            subset_size=len(pictures),
            ignored_scope=nncf.IgnoredScope(names=tail(model)),
            advanced_accuracy_restorer_parameters=AdvancedAccuracyRestorerParameters(
                max_num_iterations=MOST_RESTORED, ranking_subset_size=RANKED_PICTURES, num_ranking_workers=1
            ),
        )
    return bytes(found.SerializeToString())


def layers(graph: bytes, quantised: bytes) -> tuple[list[str], list[str]]:
    """The layers with weights before the tail, by the names of these: those in int8, and those left float.

    Args:
        graph: In floating point.
        quantised: What became of it.
    """
    onnx = _onnx()
    before, after = onnx.load_from_string(graph), onnx.load_from_string(quantised)
    dequantised = {name for node in after.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    # By the weights alone: a layer's input may have been rounded further up, in front of a maximum.
    whole = {node.name for node in after.graph.node if len(node.input) > 1 and node.input[1] in dequantised}
    weights = {tensor.name for tensor in before.graph.initializer}
    left_out = set(tail(before))
    found: tuple[list[str], list[str]] = ([], [])
    for node in before.graph.node:
        if node.op_type in _CONVOLUTIONS and node.name not in left_out:
            named = node.input[1] if node.input[1] in weights else node.name
            name = named.removeprefix("network.").removesuffix(".weight")
            found[node.name not in whole].append(name)
    return found


def tail(model: Any) -> list[str]:  # noqa: ANN401  onnx.ModelProto; the package is imported late
    """Names of the nodes behind the score heads: everything that takes, at any remove, what a head's last layer gives.

    Args:
        model: ``onnx.ModelProto`` of ``to_onnx``; its weights are named as the network's are.

    Raises:
        ExportError: no weight is named as one of a score head.
    """
    last: dict[str, tuple[int, str]] = {}
    for node in model.graph.node:
        for name in node.input:
            if match := _HEAD.match(name):
                last[match[1]] = max(last.get(match[1], (-1, "")), (int(match[2]), node.output[0]))
    if not last:
        raise ExportError("the graph has no score heads that could be told by their weights: it cannot go to int8")
    reached = {output for _, output in last.values()}
    behind = []
    for node in model.graph.node:  # ONNX has them in the order of their work
        if not reached.isdisjoint(node.input):
            reached.update(node.output)
            behind.append(node.name)
    return behind


def _onnx() -> Any:  # noqa: ANN401  onnx has no types
    import onnx  # noqa: PLC0415  of the training half

    return onnx


def _dataset(nncf: Any, pictures: Sequence[NDArray[np.uint8]], stride: int) -> Any:  # noqa: ANN401  of an extra
    def load(index: int) -> dict[str, NDArray[np.uint8]]:
        return {INPUT: pad_to_multiple(window(pictures[index]), stride)[None]}

    return nncf.Dataset(range(len(pictures)), load)


def window(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of a picture, ``LARGEST_WINDOW`` a side at most."""
    top, left = (max(0, side - LARGEST_WINDOW) // 2 for side in image.shape[:2])
    return image[top : top + LARGEST_WINDOW, left : left + LARGEST_WINDOW]
