"""The seeded networks: in torch and as bundles, exported side by side, once for all parts.

python -m benchmarks.seeded FOLDER learned-11 learned-dense-150 ...
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from data.labels import LabelMap
from model.config import ModelConfig
from model.runtime.bundle import Manifest, write_bundle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from model.config import UpsamplerName
    from model.fcn import FCN

HEIGHT, WIDTH, CLASSES, THREADS = 384, 480, 11, 2
"""Of the picture, of the network, and what each of those that are compared may use."""
SEEDED: Final = f"{ModelConfig().upsampler}-{CLASSES}"
"""The one that is measured where there is no training."""


def seeded_network(upsampler: UpsamplerName = ModelConfig().upsampler, classes: int = CLASSES) -> FCN:
    """FCN-8s on the default encoder; the same weights in every process.

    Every head is at work, which at the start of a training the finer ones are not.
    """
    import torch  # noqa: PLC0415  not every part needs it, and it is large

    from model.fcn import make_network  # noqa: PLC0415

    torch.manual_seed(0)
    network = make_network(ModelConfig(upsampler=upsampler), classes).eval()
    for head in network.decoder.score_heads:
        torch.nn.init.normal_(list(head.parameters())[-2], std=0.05)
    return network


def name_of(upsampler: UpsamplerName, classes: int) -> str:
    """Of a network, and of its bundle's folder."""
    return f"{upsampler}-{classes}"


def export(folder: Path, names: Iterable[str]) -> None:
    """Write the networks of these names into a folder.

    In processes of their own, as an exporter is busy for a quarter of a minute with one; forked from one that has
    imported torch.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["model.fcn", "model.graph"])
    with ProcessPoolExecutor(THREADS, context) as exporters:
        for one in [exporters.submit(write, folder, name) for name in names]:
            one.result()


def write(folder: Path, name: str) -> None:
    """Write one."""
    from model.graph import to_onnx  # noqa: PLC0415  imports torch

    upsampler, _, classes = name.rpartition("-")
    config = ModelConfig(upsampler=cast("UpsamplerName", upsampler))
    labels = LabelMap.from_names([f"class {index}" for index in range(int(classes))])
    manifest = Manifest(
        name=f"seeded-fcn{config.finest_stride}s",
        labels=labels,
        stride=32,
        encoder=config.encoder,
        upsampler=config.upsampler,
        finest_stride=config.finest_stride,
        model_sha256="",
        scores={},
        provenance={},
        created="2026-01-01T00:00:00+00:00",
    )
    write_bundle(folder / name, to_onnx(seeded_network(config.upsampler, labels.num_classes)), manifest)


if __name__ == "__main__":
    export(Path(sys.argv[1]), sys.argv[2:])
