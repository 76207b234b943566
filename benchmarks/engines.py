"""One picture to a label map: torch as users write it, torch channels-last, ONNX Runtime, OpenVINO.

    python benchmarks/engines.py [--quick]

All run in turn in one process, the same seeded network (FCN-8s, default encoder, 11 classes) on the same
384x480 picture, with two threads; the figures to quote are the ratios to the first row.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from data.labels import LabelMap
from model.export import to_onnx
from model.fcn import FCN
from model.provenance import git_commit, processor_name
from model.runtime.bundle import Manifest, write_bundle
from model.runtime.engine import EngineConfig, open_engine

if TYPE_CHECKING:
    from collections.abc import Callable

HEIGHT, WIDTH, CLASSES, THREADS = 384, 480, 11, 2


def torch_forms(network: FCN, image: np.ndarray) -> dict[str, Callable[[], object]]:
    """Torch in 32-bit: rows of channels as users write it, and channels last."""
    tensor = torch.from_numpy(image).permute(0, 3, 1, 2)
    last = FCN(classes=CLASSES, encoder_weights="none").eval()
    last.load_state_dict(network.state_dict())
    last.to(memory_format=torch.channels_last)

    def eager() -> object:
        return network(tensor.contiguous()).softmax(dim=1).max(dim=1)

    def channels_last() -> object:
        return last(tensor.contiguous(memory_format=torch.channels_last)).softmax(dim=1).max(dim=1)

    return {"torch eager f32": eager, "torch channels-last f32": channels_last}


def engine_forms(network: FCN, image: np.ndarray, folder: Path) -> dict[str, Callable[[], object]]:
    """The exported graph in both engines."""
    labels = LabelMap.from_names([str(index) for index in range(CLASSES)])
    manifest = Manifest("bench", labels, 32, "lite0", "learned", 8, "", {}, {}, "2026-01-01T00:00:00+00:00")
    bundle = write_bundle(folder / "bundle", to_onnx(network), manifest)
    found: dict[str, Callable[[], object]] = {}
    # "auto" last: where the processor has no bf16 it is f32 again and takes the same place.
    for name, precision in (("onnxruntime", "f32"), ("openvino", "f32"), ("openvino", "auto")):
        engine = open_engine(bundle, EngineConfig(engine=name, precision=precision, threads=THREADS))
        found[f"{name} {engine.precision}"] = lambda engine=engine: engine.run(image)
    return found


def measure(forms: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every form in every round, taken in turn so that a slow moment hits all."""
    for form in forms.values():
        for _ in range(4):  # the engine compiles a shape that comes back
            form()
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, form in forms.items():
            started = time.perf_counter()
            form()
            times[name].append(1000 * (time.perf_counter() - started))
    return times


def main() -> None:
    """Measure, print a table, write benchmarks/engines.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 rounds instead of 100")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    network = FCN(classes=CLASSES).eval()
    image = np.random.default_rng(0).integers(0, 256, (1, HEIGHT, WIDTH, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        forms = torch_forms(network, image)
        with torch.inference_mode(mode=False):
            forms |= engine_forms(network, image, Path(folder))
        times = measure(forms, 20 if options.quick else 100)
    medians = {name: statistics.median(values) for name, values in times.items()}
    first = next(iter(medians.values()))
    print(f"{processor_name()}, {THREADS} threads, commit {git_commit()}, {HEIGHT}x{WIDTH}, medians")
    for name, median in medians.items():
        low, high = np.percentile(times[name], [10, 90])
        print(f"  {name:<24} {median:7.1f} ms  (10-90 %: {low:.1f}-{high:.1f})  ratio {median / first:.2f}")
    if options.out:
        facts = {"processor": processor_name(), "commit": git_commit(), "threads": THREADS, "milliseconds": medians}
        options.out.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
