"""Time of one transposed convolution in its four forms, and in torch's and OpenVINO's own.

``model/transposed.py`` has the forms as plainly as they can be written; here they are written to be fast, in
32-bit, each prepared once and then run on one thread:

- ``dense_matrix``: the transpose as an array, ``torch.mv``.
- ``sparse_matrix``: its entries alone, scipy's CSR product.
- ``zero_insertion``: a strided copy into zeros, then the direct convolution as one matrix product for each
  row, of all kernel rows with all windows, added up shifted. Torch's own ``conv2d`` writes every window out
  for such kernels and took 100 times as long at x32.
- ``phases``: torch's convolution to s x s channels, one a phase, then depth to space. It also runs over the
  rim of zeros that is padded: 81 positions instead of 64 for the 8 x 8 map. Those are not in its count.
- ``torch``: ``conv_transpose2d``. ``openvino``: ConvolutionBackpropData, compiled for the shape.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch.nn import functional

from data.errors import RunError
from model.convolution import convolution_matrix
from model.provenance import git_commit, processor_name
from model.runtime.openvino_engine import process_core
from model.transposed import count_multiplications

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Form = Callable[[], NDArray[np.float32]]

FACTORS: Final = (2, 4, 8, 16, 32)
FORMS: Final = ("dense_matrix", "sparse_matrix", "zero_insertion", "phases", "torch", "openvino")
SIDE: Final = 8
"""Of the coarse map: small, because the whole matrix of the x32 step has side^4 * 1024 entries."""

MOST_ENTRIES: Final = 1 << 26
"""Of a whole matrix, 256 MB: larger ones are not made."""

ROUNDS: Final = 15
TURN: Final = 0.003
"""Least seconds of a turn: what is faster is run several times in a row, so that the clock does not matter."""


def kernel_size(scale_factor: int) -> int:
    """Side of the kernel that ``model.upsample`` gives a step: 2 s - s % 2."""
    return 2 * scale_factor - scale_factor % 2


def measure_forms(
    factors: Sequence[int] = FACTORS,
    side: int = SIDE,
    rounds: int = ROUNDS,
    advance: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Time every form of the upsampling of one channel, the forms taking turns.

    Args:
        factors: Scale factors.
        side: Of the coarse map.
        rounds: Turns of every form.
        advance: Told what is timed next.

    Returns:
        JSON-able: ``rows``, one a factor and prepared form, with ``scale_factor``, ``form``, ``multiplications``
        (None for torch and OpenVINO, which do not tell), ``milliseconds`` (median) and ``spread`` (10th and 90th
        percentile); and how they were taken.

    Raises:
        RunError: a form gives another answer than torch's own, so that its time would mean nothing.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    try:
        with torch.inference_mode():
            for factor in factors:
                advance(f"×{factor}")
                rows += _measure(factor, side, rounds)
    finally:
        torch.set_num_threads(threads)
    return {
        "rows": rows,
        "side": side,
        "rounds": rounds,
        "threads": 1,
        "precision": "f32",
        "processor": processor_name(),
        "git_commit": git_commit(),
    }


def _measure(factor: int, side: int, rounds: int) -> list[dict[str, Any]]:
    forms = prepare_forms(factor, side)
    expected = forms["torch"]()
    repeats = {}
    for name, form in forms.items():
        found = form()
        if not np.allclose(found, expected, rtol=0, atol=1e-4 * float(np.abs(expected).max())):
            raise RunError(f"the form {name} gives another answer than torch at ×{factor}: not timed")
        form()
        started = time.perf_counter()
        form()
        repeats[name] = max(1, math.ceil(TURN / max(1e-7, time.perf_counter() - started)))
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, form in forms.items():
            started = time.perf_counter()
            for _ in range(repeats[name]):
                form()
            times[name].append(1000 * (time.perf_counter() - started) / repeats[name])
    counts = count_multiplications((side, side), kernel_size(factor), factor, padding=factor // 2)
    return [
        {
            "scale_factor": factor,
            "form": name,
            "multiplications": getattr(counts, name, None),
            "milliseconds": round(float(np.median(taken)), 5),
            "spread": [round(float(end), 5) for end in np.percentile(taken, [10, 90])],
        }
        for name, taken in times.items()
    ]


def prepare_forms(factor: int, side: int = SIDE) -> dict[str, Form]:
    """Every form of one and the same upsampling, prepared: a random kernel on a random map of one channel.

    Args:
        factor: s; the kernel has 2 s - s % 2 taps a side, stride s and padding floor(s / 2).
        side: Of the coarse map.

    Returns:
        Functions without an argument, by name as in ``FORMS``; all give the same (s side, s side) float32. The
        whole matrix is left out where it has more than ``MOST_ENTRIES``.
    """
    random = np.random.default_rng(factor)
    size, padding = kernel_size(factor), factor // 2
    kernel = random.normal(size=(size, size)).astype(np.float32)
    coarse = random.normal(size=(side, side)).astype(np.float32)
    fine = (factor * side, factor * side)
    picture, weight = torch.from_numpy(coarse)[None, None], torch.from_numpy(kernel)[None, None]
    # The count's name for a form is its name here.
    return {
        **_matrix_forms(kernel, coarse, fine, factor, padding),
        "zero_insertion": _zero_insertion(picture, weight, factor, padding),
        "phases": _phases(picture, weight, factor, padding, fine),
        "torch": _torch(picture, weight, factor, padding),
        "openvino": _openvino(coarse, kernel, factor, padding),
    }


def _matrix_forms(
    kernel: NDArray[np.float32], coarse: NDArray[np.float32], fine: tuple[int, int], factor: int, padding: int
) -> dict[str, Form]:
    sparse = convolution_matrix(kernel, fine, factor, padding).T.tocsr()
    vector = coarse.ravel()
    found: dict[str, Form] = {"sparse_matrix": lambda: (sparse @ vector).reshape(fine)}
    if sparse.shape[0] * sparse.shape[1] <= MOST_ENTRIES:
        dense, tensor = torch.from_numpy(sparse.toarray()), torch.from_numpy(vector)
        found["dense_matrix"] = lambda: torch.mv(dense, tensor).numpy().reshape(fine)
    return found


def _zero_insertion(picture: torch.Tensor, weight: torch.Tensor, factor: int, padding: int) -> Form:
    flipped = weight[0, 0].flip(0, 1).contiguous()
    taps = len(flipped)
    spread = (picture.shape[-1] - 1) * factor + 1
    rim = taps - 1 - padding
    fine = picture.shape[-1] * factor

    def run() -> NDArray[np.float32]:
        zeros = picture.new_zeros(spread + 2 * rim, spread + 2 * rim)
        zeros[rim : rim + spread : factor, rim : rim + spread : factor] = picture[0, 0]
        rows = torch.matmul(flipped, zeros.unfold(1, fine, 1))  # row of the map, row of the kernel, place
        answer = picture.new_zeros(fine, fine)
        for row in range(taps):
            answer += rows[row : row + fine, row]
        return answer.numpy()

    return run


def _phases(picture: torch.Tensor, weight: torch.Tensor, factor: int, padding: int, fine: tuple[int, int]) -> Form:
    # Phase r of the uncropped output takes the taps r, r + s, ...: pad the kernel to whole strides, then part it.
    taps = -(-weight.shape[-1] // factor)
    more = taps * factor - weight.shape[-1]
    parts = functional.pad(weight[0, 0], (0, more, 0, more)).reshape(taps, factor, taps, factor)
    kernels = parts.flip(0, 2).permute(1, 3, 0, 2).reshape(factor * factor, 1, taps, taps).contiguous()

    def run() -> NDArray[np.float32]:
        full = functional.pixel_shuffle(functional.conv2d(picture, kernels, padding=taps - 1), factor)[0, 0]
        return full[padding : padding + fine[0], padding : padding + fine[1]].numpy()

    return run


def _torch(picture: torch.Tensor, weight: torch.Tensor, factor: int, padding: int) -> Form:
    def run() -> NDArray[np.float32]:
        return functional.conv_transpose2d(picture, weight, stride=factor, padding=padding)[0, 0].numpy()

    return run


def _openvino(coarse: NDArray[np.float32], kernel: NDArray[np.float32], factor: int, padding: int) -> Form:
    import openvino as ov  # noqa: PLC0415 - heavy, and named nowhere else here
    from openvino import opset13  # noqa: PLC0415

    data = opset13.parameter([1, 1, *coarse.shape], np.float32)
    pads = [padding, padding]
    node = opset13.convolution_backprop_data(
        data,
        opset13.constant(kernel[None, None]),
        strides=[factor, factor],
        pads_begin=pads,
        pads_end=pads,
        dilations=[1, 1],
    )
    properties = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = process_core().compile_model(ov.Model([node], [data]), "CPU", properties).create_infer_request()
    batch = coarse[None, None]

    def run() -> NDArray[np.float32]:
        answer: NDArray[np.float32] = request.infer({0: batch}, share_inputs=True, share_outputs=True)[0]
        return np.asarray(answer[0, 0])

    return run
