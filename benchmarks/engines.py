"""One picture to its label map: the product's engine beside torch, ONNX Runtime and OpenVINO in 32-bit.

    python -m benchmarks.engines [--quick] [--run RUN] [--out docs/results]

A uint8 picture goes in, a uint8 label map and confidence come out. All take turns in one process with two threads, on
the same picture and the same weights. With a run, the mIoU of both precisions is scored on its val split.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.figures import Part, Row, Table, Target
from benchmarks.network import subject
from benchmarks.own_engine import in_turn, ours, own_form
from benchmarks.performance_page import options, report
from benchmarks.seeded import HEIGHT, THREADS, WIDTH
from data.errors import DataError, RunError
from data.pixels import pad_to_multiple
from model.evaluate import choose_data, evaluate, open_matching
from model.runtime.engine import INPUT, OUTPUTS
from model.runtime.openvino_engine import process_core
from model.runtime.predictor import Predictor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.network import Subject
    from benchmarks.own_engine import Form
    from model.runtime.bundle import Bundle

ROUNDS, QUICK_ROUNDS = 60, 15
EAGER, LAST, COMPILED = "torch eager f32", "torch channels-last f32", "torch.compile f32"
ONNX_RUNTIME = "ONNX Runtime f32"
TARGETS = {True: {EAGER: 0.25, LAST: 0.45, ONNX_RUNTIME: 0.6}, False: {EAGER: 0.35, LAST: 0.65, ONNX_RUNTIME: 0.9}}
"""Ours divided by each, at most; where the processor has bf16 of its own, and elsewhere."""
MIOU_POINTS = 0.1


def torch_form(network: torch.nn.Module, memory_format: torch.memory_format = torch.contiguous_format) -> Form:
    """Torch as users write it: to float, forward, softmax, the largest, to numpy."""

    def run(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        with torch.inference_mode():
            batch = torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0).float()
            scores = network(batch.contiguous(memory_format=memory_format))
            confidence, label_map = scores.softmax(dim=1).max(dim=1)
            return label_map[0].to(torch.uint8).numpy(), (confidence[0] * 255).round().to(torch.uint8).numpy()

    return run


def onnx_form(bundle: Bundle) -> Form:
    """ONNX Runtime on the bundle's own file, with its defaults but for the number of threads."""
    import onnxruntime as ort  # noqa: PLC0415  beside the others' imports it would look as if it were ours

    settings = ort.SessionOptions()
    settings.intra_op_num_threads = THREADS
    session = ort.InferenceSession(bundle.model_path, settings, providers=["CPUExecutionProvider"])

    def run(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        label_maps, confidences = session.run(list(OUTPUTS), {INPUT: image[None]})
        return label_maps[0], confidences[0]

    return run


def openvino_form(bundle: Bundle, shape: tuple[int, ...]) -> Form:
    """OpenVINO on the bundle's own file in 32-bit, compiled for the picture's shape, as its users do it."""
    core = process_core()
    network = core.read_model(bundle.model_path)
    network.reshape({INPUT: [1, *shape]})
    chosen = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": THREADS}
    request = core.compile_model(network, "CPU", chosen).create_infer_request()

    def run(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        answers = request.infer({INPUT: image[None]})
        label_maps, confidences = (answers[name] for name in OUTPUTS)
        return label_maps[0], confidences[0]

    return run


@dataclass(frozen=True)
class Times:
    """What was measured.

    Attributes:
        milliseconds: Of every form, by name, the product's first.
        agreement: Share of pixels with the label of torch eager, by name.
        precision: The product's.
        tail: Where the product works out the last upsampling; see ``Engine.tail``.
        uncompiled: Why torch.compile could not be measured; empty where it was.
    """

    milliseconds: dict[str, list[float]]
    agreement: dict[str, float]
    precision: str
    tail: str
    uncompiled: str


def measure(network: Subject, image: NDArray[np.uint8], rounds: int, *, with_compiled: bool) -> Times:
    """Times of every form, taken in turn so that a slow moment hits all."""
    torch.set_num_threads(THREADS)
    engine, own = own_form(network.bundle)
    name_of_own = f"ours, OpenVINO {engine.precision}"
    last = network.network().to(memory_format=torch.channels_last)
    forms: dict[str, Form] = {
        name_of_own: own,
        EAGER: torch_form(network.network()),
        LAST: torch_form(last, torch.channels_last),
        ONNX_RUNTIME: onnx_form(network.bundle),
        "OpenVINO f32": openvino_form(network.bundle, image.shape),
    }
    uncompiled = "left out of --quick: it compiles for minutes"
    if with_compiled:
        compiled = torch_form(torch.compile(network.network()))
        uncompiled = _why_not(compiled, image)
        if not uncompiled:
            forms[COMPILED] = compiled
    times = in_turn(forms, image, rounds)
    answers = {name: form(image)[0] for name, form in forms.items()}
    agreement = {name: float((answer == answers[EAGER]).mean()) for name, answer in answers.items()}
    return Times(times, agreement, engine.precision, engine.tail, uncompiled)


def part_of(found: Times, image: NDArray[np.uint8], miou: Target) -> Part:
    """The page's section."""
    medians = {name: statistics.median(values) for name, values in found.milliseconds.items()}
    own = next(iter(medians))
    rows = [
        Row.of(name, values, None if name == own else medians[own] / medians[name], f"{found.agreement[name]:.3%}")
        for name, values in found.milliseconds.items()
    ]
    if found.uncompiled:
        rows.append(Row(COMPILED, None, note=found.uncompiled))
    native = found.precision == "bf16"
    where = "with bf16 of its own" if native else "without bf16 of its own"
    targets = [
        Target(f"ours / {name}", medians[own] / medians[name], bound, at_most=True)
        for name, bound in TARGETS[native].items()
    ]
    height, width = image.shape[:2]
    return Part(
        f"A uint8 picture of {width}x{height} in, a uint8 label map and confidence out, {THREADS} threads. All take "
        "turns in one process; torch is written as its users write it. The last column is the share of pixels with the "
        "label of torch eager.",
        (Table("ms", tuple(rows), "ours / it"),),
        (*targets, miou),
        (f"The targets are those for a processor {where}. The product's last upsampling: {found.tail}.",),
    )


def score(network: Subject) -> Target:
    """How far the mIoU of the default precision is from that in 32-bit, in points."""
    what, unit = "mIoU: f32 and default precision differ by", "points"
    if network.run is None:
        return Target(what, None, MIOU_POINTS, at_most=True, unit=unit, note="random weights; give a run by --run")
    try:
        source = open_matching(choose_data(network.run.config().data, None, None), network.run.labels())
        found = []
        for precision in ("f32", "auto"):
            predictor = Predictor(network.bundle, ours(precision))
            scored = evaluate(lambda image, use=predictor: use.predict(image).label_map, source, progress=False)
            found.append(100 * scored.scores.miou)
    except (DataError, RunError) as error:
        return Target(what, None, MIOU_POINTS, at_most=True, unit=unit, note=f"its val split cannot be read: {error}")
    told = f"{found[0]:.2f} and {found[1]:.2f}"
    return Target(what, abs(found[0] - found[1]), MIOU_POINTS, at_most=True, unit=unit, note=told)


def _why_not(compiled: Form, image: NDArray[np.uint8]) -> str:
    """Compile, and say why it cannot be done; empty where it can."""
    try:
        compiled(image)
    except RuntimeError as error:  # torch's own of a machine without a C++ compiler, and of what it cannot compile
        told = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f"cannot be compiled here: {told[0] if told else type(error).__name__}"[:160]
    return ""


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS}, or {QUICK_ROUNDS} with --quick")
    parser.add_argument("--compile", action="store_true", help="torch.compile with --quick as well")
    parser.add_argument("--size", type=int, nargs=2, default=(HEIGHT, WIDTH), help="height and width of the picture")
    chosen = parser.parse_args()
    with subject(chosen) as network:
        stride = network.bundle.manifest.stride
        picture = np.random.default_rng(0).integers(0, 256, (*chosen.size, 3), dtype=np.uint8)
        picture = pad_to_multiple(picture, stride)
        rounds = chosen.rounds or (QUICK_ROUNDS if chosen.quick else ROUNDS)
        times = measure(network, picture, rounds, with_compiled=chosen.compile or not chosen.quick)
        report("engines", network.name, part_of(times, picture, score(network)), chosen.out)


if __name__ == "__main__":
    sys.exit(main())
