"""What comes after the encoder: score heads, fusion, upsampling, argmax and confidence, beside the encoder alone.

    python -m benchmarks.tail [--quick] [--out docs/results]

The same seeded network with each upsampler and with few and many classes, all in turn in one process; each whole
network is also run to the end of its own graph. The peak memory at 4096x4096 is that of a process of its own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from benchmarks.engines import ours
from benchmarks.figures import Part, Row, Table, Target
from benchmarks.floors import MATRIX, copy_rate, peak
from benchmarks.network import HEIGHT, THREADS, WIDTH
from benchmarks.performance_page import options, report
from data.labels import LabelMap
from model.config import ModelConfig
from model.encoders import make_encoder
from model.export import to_onnx
from model.runtime.bundle import Manifest, write_bundle
from model.runtime.engine import INPUT
from model.runtime.openvino_engine import OpenVinoEngine
from model.runtime.trunk import cut
from model.task import make_network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model.config import UpsamplerName
    from model.fcn import FCN
    from model.runtime.bundle import Bundle

    Forms = dict[str, Callable[[], object]]

ROOT: Final = Path(__file__).resolve().parent.parent
ROUNDS, QUICK_ROUNDS, WARM_UP = 40, 10, 4
CLASSES: Final = (11, 150)
UPSAMPLERS: Final[tuple[UpsamplerName, ...]] = ("bilinear", "learned", "learned-dense")
RATIOS: Final = {11: 1.15, 150: 1.5}
"""Whole graph over encoder, at most, where a class has one filter."""
DENSE_RATIO: Final = 1.3
"""Whole graph over encoder and its multiplications at the peak, at most, where a pair of classes has one."""
SIDE: Final = 4096
MEMORY_SHARE: Final = 0.25
MEMORY: Final = "Peak resident memory of a process that labels one picture, over all scores at the picture's size."
ENCODER: Final = "encoder alone"


def network_of(upsampler: UpsamplerName, classes: int) -> FCN:
    """A seeded FCN-8s; every head at work, which at the start of a training the finer ones are not."""
    torch.manual_seed(0)
    network = make_network(ModelConfig(upsampler=upsampler, encoder_weights="none"), classes).eval()
    for head in network.decoder.score_heads:
        torch.nn.init.normal_(list(head.parameters())[-2], std=0.05)
    return network


def bundle_of(network: FCN, upsampler: UpsamplerName, classes: int, folder: Path) -> Bundle:
    """Its bundle."""
    labels = LabelMap.from_names([str(index) for index in range(classes)])
    manifest = Manifest("tail", labels, 32, "seeded", upsampler, 8, "", {}, {}, "2026-01-01T00:00:00+00:00")
    return write_bundle(folder, to_onnx(network), manifest)


class Features(torch.nn.Module):
    """The encoder with its normalisation: a picture (N, H, W, 3) to the features that score heads take."""

    def __init__(self, network: FCN) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Features of strides 8, 16 and 32."""
        network = self.network
        normalised = (image.permute(0, 3, 1, 2).to(network.mean.dtype) - network.mean) / network.std
        features: list[torch.Tensor] = network.encoder(normalised)[3:]
        return features


def encoder_form(network: FCN, engine: OpenVinoEngine, image: np.ndarray, folder: Path) -> Callable[[], object]:
    """The encoder in the engine that runs the whole, with its settings."""
    path = folder / "encoder.onnx"
    torch.onnx.export(Features(network).eval(), (torch.from_numpy(image),), path, dynamo=True, verbose=False)
    request = engine.compile(engine.read(path)).create_infer_request()
    return lambda: request.infer({0: image}, share_inputs=True, share_outputs=True)


@dataclass(frozen=True)
class Subjects:
    """What is measured.

    Attributes:
        forms: Everything that is timed, by name.
        bundles: Of the whole networks, by upsampler and classes.
        engine: One of the engines.
    """

    forms: Forms
    bundles: dict[tuple[str, int], Bundle]
    engine: OpenVinoEngine


def subjects(image: np.ndarray, classes: Sequence[int], folder: Path, *, graphs: bool) -> Subjects:
    """Export every network and open it, and again to be run to the end of its graph where ``graphs`` asks for it."""
    bundles: dict[tuple[str, int], Bundle] = {}
    forms: Forms = {}
    config = ours("auto")
    for count in classes:
        for upsampler in UPSAMPLERS:
            network = network_of(upsampler, count)
            bundle = bundle_of(network, upsampler, count, folder / f"{upsampler}-{count}")
            bundles[upsampler, count] = bundle
            engine = OpenVinoEngine(bundle, config)
            if not forms:
                forms[ENCODER] = encoder_form(network, engine, image, folder)
            forms[name_of(upsampler, count)] = lambda engine=engine: engine.run(image)
            if engine.tail == "fused" and upsampler == "learned":
                forms[f"{name_of(upsampler, count)}, up to the last step"] = trunk_form(engine, image)
            if graphs:
                graph = OpenVinoEngine(bundle, config, fused=False)
                forms[in_graph(upsampler, count)] = lambda graph=graph: graph.run(image)
    return Subjects(forms, bundles, engine)


def trunk_form(engine: OpenVinoEngine, image: np.ndarray) -> Callable[[], object]:
    """A network up to its coarse scores, compiled for the picture's size as the engine does."""
    found = cut(engine.network())
    if found is None:
        raise RuntimeError("the engine has a fused tail for a network that cannot be cut")
    found.network.reshape({INPUT: list(image.shape)})
    request = engine.compile(found.network).create_infer_request()
    return lambda: request.infer({INPUT: image}, share_inputs=True, share_outputs=True)


def name_of(upsampler: str, classes: int) -> str:
    """Of a row."""
    return f"{upsampler}, {classes} classes"


def in_graph(upsampler: str, classes: int) -> str:
    """Of a row of a network that is run to the end of its graph."""
    return f"{name_of(upsampler, classes)}, all in the graph"


def measure(found: Forms, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every form, taken in turn so that a slow moment hits all."""
    for form in found.values():
        for _ in range(WARM_UP):  # the engine compiles for a shape that comes back
            form()
    times: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, form in found.items():
            form()  # not counted: the caches hold what the form before it used
            started = time.perf_counter()
            form()
            times[name].append(1000 * (time.perf_counter() - started))
    return times


def multiplications(classes: int, height: int, width: int) -> int:
    """Of dense transposed convolutions from stride 32 to 8 and to the picture: four scores of every class a score."""
    pixels = height * width
    return 4 * classes**2 * (pixels // 16**2 + pixels // 8**2 + pixels)


def peak_megabytes(bundle: Bundle, side: int) -> dict[str, float]:
    """Peak memory of a new process that labels one picture, and what it had before, in MB (10^6 bytes)."""
    command = [sys.executable, "-m", "benchmarks.tail_memory", str(bundle.root), str(side)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def head_multiplications(height: int, width: int) -> int:
    """Of the hidden layers of the score heads at strides 32, 16 and 8: 3x3 convolutions of the encoder's features."""
    config = ModelConfig()
    channels = make_encoder(config.encoder, "none").module.out_channels
    pixels = (height * width // (1 << level) ** 2 * channels[level] for level in (3, 4, 5))
    return 9 * config.head_channels * sum(pixels)


def part_of(times: dict[str, list[float]], facts: dict[str, Any]) -> Part:
    """The page's section.

    Args:
        times: As ``measure`` gives them.
        facts: ``classes``, ``size``, ``precision``, ``tail``, ``peak`` (multiplications a second), ``copy_rate``
            (bytes a second), ``memory`` (of a process, by upsampler, with ``side`` and ``classes``).
    """
    medians = {name: statistics.median(values) for name, values in times.items()}
    base = medians[ENCODER]
    rows = [Row.of(name, values, medians[name] / base) for name, values in times.items()]
    targets, notes = [], []
    height, width = facts["size"]
    heads = head_multiplications(height, width)
    for classes in facts["classes"]:
        for upsampler in UPSAMPLERS[:2]:
            name = name_of(upsampler, classes)
            targets.append(Target(f"{name} / {ENCODER}", medians[name] / base, RATIOS[classes], at_most=True))
        count = multiplications(classes, height, width)
        floor = 1000 * count / facts["peak"]
        name = name_of("learned-dense", classes)
        targets.append(
            Target(
                f"{name} / (encoder and {floor:.1f} ms of its multiplications)",
                medians[name] / (base + floor),
                DENSE_RATIO,
                at_most=True,
            )
        )
        notes.append(
            f"Dense kernels of {classes} classes: {count / 1e9:.2f} 10^9 multiplications; the scores of all classes "
            f"at the picture's size would be {4 * classes * height * width / 1e6:.0f} MB, "
            f"{1000 * 4 * classes * height * width / facts['copy_rate']:.1f} ms to be copied once."
        )
    memory = []
    for upsampler, found in facts["memory"].items():
        whole = 4 * found["classes"] * found["side"] ** 2 / 1e6
        side = f"{found['side']:g}x{found['side']:g}"
        what = f"{upsampler}, {found['classes']:g} classes, {side}: peak / scores of all classes"
        memory.append(
            Row(
                f"{upsampler}, {found['classes']:g} classes, {side}",
                found["peak_mb"],
                None,
                None,
                found["peak_mb"] / whole,
            )
        )
        targets.append(Target(what, found["peak_mb"] / whole, MEMORY_SHARE, at_most=True))
    tables = [Table("ms", tuple(rows), "it / encoder")]
    if memory:
        tables.append(Table("MB", tuple(memory), "peak / scores", MEMORY))
    return Part(
        f"Whole networks (FCN-8s, default encoder and heads, random weights), a picture of {width}x{height} to label "
        f"map and confidence, beside their encoder alone in the same engine ({facts['precision']}, {THREADS} threads). "
        f"Last step: {facts['tail']}. Rows that end in \"all in the graph\" are the same networks without that step.",
        tuple(tables),
        tuple(targets),
        (
            f"Peak of a {MATRIX}x{MATRIX} matrix product in the engine: {facts['peak'] / 1e9:.0f} 10^9 multiplications "
            f"a second; a large copy: {facts['copy_rate'] / 1e9:.1f} GB a second.",
            f"The score heads' hidden layers take {heads / 1e9:.2f} 10^9 multiplications, "
            f"{1000 * heads / facts['peak']:.2f} ms at that peak: {1000 * heads / facts['peak'] / base:.2f} of the "
            "encoder's time, before anything is upsampled.",
            *notes,
        ),
    )  # fmt: skip


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS}, or {QUICK_ROUNDS} with --quick")
    parser.add_argument("--size", type=int, nargs=2, default=(HEIGHT, WIDTH), help="height and width of the picture")
    parser.add_argument(
        "--side", type=int, default=SIDE, help="of the picture whose memory is measured, not in --quick"
    )
    parser.add_argument("--classes", type=int, nargs="+", choices=CLASSES, help="both, or 11 with --quick")
    chosen = parser.parse_args()
    torch.set_num_threads(THREADS)
    image = np.random.default_rng(0).integers(0, 256, (1, *chosen.size, 3), dtype=np.uint8)
    classes = chosen.classes or (CLASSES[:1] if chosen.quick else CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        found = subjects(image, classes, Path(folder), graphs=not chosen.quick)
        facts = {
            "classes": list(classes),
            "size": list(chosen.size),
            "precision": found.engine.precision,
            "tail": found.engine.tail,
            "peak": peak(found.engine),
            "copy_rate": copy_rate(),
        }
        times = measure(found.forms, chosen.rounds or (QUICK_ROUNDS if chosen.quick else ROUNDS))
        facts["memory"] = {
            upsampler: {
                "classes": max(classes), "side": chosen.side,
                **peak_megabytes(found.bundles[upsampler, max(classes)], chosen.side),
            }
            for upsampler in (() if chosen.quick else UPSAMPLERS)
        }  # fmt: skip
    report("tail", "FCN-8s with random weights", part_of(times, facts), chosen.out)


if __name__ == "__main__":
    sys.exit(main())
