"""Trunk: a bundle's network on OpenVINO up to its coarse scores, and what its last step would do with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from model.runtime.engine import OUTPUTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AFTER_SCORES: Final = {"TopK", "ReduceMax", "Subtract"}
"""What the exported argmax and confidence do with the scores."""

_EACH_FACTOR: Final = 4
_MOST_FACTOR: Final = 64
"""That the compiled step takes (tail.h), multiples of the first: an FCN-4s has 4, an FCN-32s 32."""


@dataclass(frozen=True)
class Trunk:
    """A network cut open before its last upsampling.

    Attributes:
        network: Pictures to coarse scores, an openvino.Model; it shares the weights of the network it was cut from.
        kernels: Of the transposed convolution that was cut off: (C, k, k) where each class has its own,
            (C in, C out, k, k) where every pair of classes has one; k = 2 ``factor``. Bilinear interpolation is one.
        factor: Its stride.
    """

    network: Any
    kernels: NDArray[np.float32]
    factor: int


def cut(network: Any) -> Trunk | None:  # noqa: ANN401 - openvino.Model; the package has no types
    """Cut a network before its last upsampling.

    Args:
        network: As exported; it stays as it is.

    Returns:
        None where the end of the network is not bilinear interpolation or a transposed convolution as
        ``TransposedUpsampler`` has it: then the graph itself has to be run to its end.
    """
    import openvino as ov  # noqa: PLC0415 - heavy, and a server's master process must not load it

    argmax = find_argmax(network)
    if argmax is None or argmax.get_attributes()["axis"] != 1:
        return None
    scores = argmax.input_value(0)
    consumers = {consumer.get_node().get_type_name() for consumer in scores.get_target_inputs()}
    last = scores.get_node()
    found = _interpolation(last) or _transposed(last)
    if consumers != _AFTER_SCORES or found is None:
        return None
    coarse, kernels, factor = found
    if factor % _EACH_FACTOR or factor > _MOST_FACTOR:
        return None
    return Trunk(ov.Model([coarse], network.get_parameters(), "trunk"), kernels, factor)


def find_argmax(network: Any) -> Any:  # noqa: ANN401 - openvino.Model and openvino.Node
    """The argmax that makes the label map: its first input are the scores at the picture's size; None without one."""
    node = network.output(OUTPUTS[0]).get_node()
    while node.get_type_name() != "TopK":  # OpenVINO's argmax
        if not node.get_input_size():
            return None
        node = node.input_value(0).get_node()
    return node


def convolution(kernels: NDArray[np.float32]) -> Any:  # noqa: ANN401 - openvino.Model
    """A network of one convolution without padding.

    Args:
        kernels: Shape (C out, C in, k, k).

    Returns:
        Takes ``scores`` (1, C in, H, W), gives (1, C out, H - k + 1, W - k + 1).
    """
    import openvino as ov  # noqa: PLC0415 - heavy
    from openvino import opset13 as ops  # noqa: PLC0415

    scores = ops.parameter(ov.PartialShape([1, kernels.shape[1], -1, -1]), np.float32, name="scores")
    scores.output(0).set_names({"scores"})
    found = ops.convolution(scores, ops.constant(kernels), [1, 1], [0, 0], [0, 0], [1, 1])
    return ov.Model([found], [scores], "convolution")


def tent(factor: int) -> NDArray[np.float32]:
    """The kernel, (2 s, 2 s), of bilinear interpolation as a transposed convolution; ``model.upsample`` has the source.

    Args:
        factor: s, even.
    """
    line = 1 - np.abs(np.arange(2 * factor) - (2 * factor - 1) / 2) / factor
    return np.outer(line, line).astype(np.float32)


def _interpolation(node: Any) -> tuple[Any, NDArray[np.float32], int] | None:  # noqa: ANN401
    if node.get_type_name() != "Interpolate":
        return None
    told = node.get_attributes()
    scales = _constant(node.input_value(1))
    asked = (told["mode"], told["coordinate_transformation_mode"], told["shape_calculation_mode"])
    if asked not in {("linear_onnx", "half_pixel", "scales"), ("linear", "half_pixel", "scales")} or scales is None:
        return None
    factor = round(float(scales[-1]))
    if told["antialias"] or scales.tolist() != [1, 1, factor, factor]:
        return None
    classes = node.get_output_partial_shape(0)[1].get_length()
    return node.input_value(0), np.broadcast_to(tent(factor), (classes, 2 * factor, 2 * factor)), factor


def _transposed(node: Any) -> tuple[Any, NDArray[np.float32], int] | None:  # noqa: ANN401
    if node.get_type_name() not in {"ConvolutionBackpropData", "GroupConvolutionBackpropData"}:
        return None
    told, kernels = node.get_attributes(), _constant(node.input_value(1))
    pad = node.input_value(0).get_node()
    if kernels is None or pad.get_type_name() != "Pad" or pad.get_attributes()["pad_mode"] != "edge":
        return None
    factor = int(told["strides"][0])
    crop = [factor + factor // 2] * 2
    edges = [_constant(pad.input_value(1)), _constant(pad.input_value(2))]
    if (
        any(edge is None or edge.tolist() != [0, 0, 1, 1] for edge in edges)
        or [list(told[name]) for name in ("strides", "dilations", "pads_begin", "pads_end", "output_padding")]
        != [[factor] * 2, [1, 1], crop, crop, [0, 0]]
        or kernels.shape[-2:] != (2 * factor, 2 * factor)
    ):
        return None
    if kernels.ndim == 5:  # (groups, in, out, k, k)
        if kernels.shape[1:3] != (1, 1):
            return None
        kernels = kernels[:, 0, 0]
    return pad.input_value(0), np.ascontiguousarray(kernels, dtype=np.float32), factor


def _constant(output: Any) -> NDArray[Any] | None:  # noqa: ANN401 - openvino.Output
    """The value that a part of the graph has whatever goes in; None where it is no constant, reshaped at most."""
    node = output.get_node()
    if node.get_type_name() == "Constant":
        return np.array(node.data)
    if node.get_type_name() == "Reshape" and output.get_partial_shape().is_static:
        inner = _constant(node.input_value(0))
        return None if inner is None else inner.reshape(list(output.get_shape()))
    return None
