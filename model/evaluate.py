"""Score anything that turns a picture into a label map: a checkpoint, a bundle, a function."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text
from torchmetrics.classification import MulticlassConfusionMatrix

from data.bands import bands
from data.errors import ConfigError, DataError, RunError
from data.labels import IGNORE_INDEX
from data.sources.catalogue import PUBLIC, SourceConfig, open_source
from model.averaging import network_predict
from model.metrics import BoundaryIoU, Scores, by_name, none_if_nan
from model.run import Run
from model.runtime.bundle import MANIFEST_FILE, read_bundle
from model.runtime.predictor import Predictor
from model.runtime.tta import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from data.labels import LabelMap
    from data.sources.source import Source, Split
    from model.averaging import TtaCost
    from model.runtime.engine import EngineConfig
    from model.runtime.manifest import Manifest
    from model.runtime.tta import TtaConfig

    Predict = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True)
class Evaluation:
    """Scores of one split.

    Attributes:
        split: Its name.
        pictures: Number of pictures scored.
        labels: Class names.
        confusion: Pixels by true class (row) and predicted class (column), shape (C, C).
        scores: From that matrix.
        boundary_iou: Mean over classes.
        class_boundary_iou: Shape (C,).
        tta: Test-time augmentation and what it cost; None for one pass a picture.
    """

    split: Split
    pictures: int
    labels: LabelMap
    confusion: NDArray[np.int64]
    scores: Scores
    boundary_iou: float
    class_boundary_iou: NDArray[np.float64]
    tta: TtaCost | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "schema_version": SCHEMA_VERSION,
            "split": self.split,
            "pictures": self.pictures,
            **self.scores.to_dict(self.labels),
            "boundary_iou": none_if_nan(self.boundary_iou),
            "class_boundary_iou": by_name(self.labels, self.class_boundary_iou),
            **({"tta": asdict(self.tta)} if self.tta else {}),
        }


def evaluate(
    predict: Predict,
    source: Source,
    split: Split = "val",
    *,
    progress: bool = True,
    scored: Callable[[NDArray[np.uint8], NDArray[np.uint8]], None] = lambda *_: None,
) -> Evaluation:
    """Score a split: one confusion matrix summed over it, ignored pixels left out.

    Args:
        predict: Picture (H, W, 3) uint8 to label map (H, W) uint8.
        source: Labelled pictures.
        split: Which of them.
        progress: Show a bar.
        scored: Called after every picture with what was predicted and what is labelled, to count more of it.

    Raises:
        DataError: the split is empty or a sample is faulty.
    """
    count = len(source.names(split))
    if not count:
        raise DataError(f"split {split!r} has no picture to score")
    labels = source.label_map
    confusion = MulticlassConfusionMatrix(labels.num_classes, ignore_index=IGNORE_INDEX, validate_args=False)
    boundary = BoundaryIoU(labels.num_classes)
    console = Console(stderr=True)
    # A bar in a log file would be an empty line.
    hidden = not (progress and console.is_terminal)
    for index in track(range(count), f"scoring {split}", disable=hidden, transient=True, console=console):
        sample = source.load(split, index)
        predicted = predict(sample.image)
        for top, bottom in bands(predicted.shape):
            confusion.update(
                torch.from_numpy(predicted[top:bottom].astype(np.int64)),
                torch.from_numpy(sample.label_map[top:bottom].astype(np.int64)),
            )
        boundary.update(predicted, sample.label_map)
        scored(predicted, sample.label_map)
    matrix = confusion.compute().numpy()
    return Evaluation(
        split, count, labels, matrix, Scores.from_confusion(matrix), boundary.mean(), boundary.class_iou()
    )


def open_target(
    target: Path, engine: EngineConfig, tta: TtaConfig = PLAIN
) -> tuple[Predict, LabelMap, SourceConfig | None]:
    """What to score: a run (its best checkpoint), one of its checkpoints, or a bundle.

    Args:
        target: Its path.
        engine: How a bundle is run.
        tta: Test-time augmentation, by default none.

    Returns:
        The function, its classes, and the data of the run; for a bundle without the folder, None for one of an
        earlier version.

    Raises:
        RunError: it is none of these.
        ConfigError: it was trained without mirror images, and ``tta`` asks for them.
    """
    if (target / MANIFEST_FILE).is_file():
        predictor = Predictor(read_bundle(target), engine, tta=tta)
        manifest = predictor.bundle.manifest
        return lambda image: predictor.predict(image).label_map, manifest.labels, _settings_of(manifest)
    if target.suffix == ".ckpt":
        run, which = Run.open(target.parent.parent), target.stem
    elif target.is_dir():
        run, which = Run.open(target), "best"
    else:
        raise RunError(f"{target} is neither a run directory, a checkpoint (.ckpt) in one, nor a bundle")
    config = run.config()
    tta.refuse_for(asdict(config), run.root)
    return network_predict(run.network(which), tta), run.labels(), config.data


def data_settings(config: SourceConfig) -> dict[str, Any]:
    """How the data was read and divided, without where it lies: a bundle goes to other machines."""
    return {name: value for name, value in asdict(config).items() if name not in ("name", "root")}


def _settings_of(manifest: Manifest) -> SourceConfig | None:
    """The data of a bundle without its folder: the same remapping and the same held-out pictures."""
    try:
        found = dict(manifest.provenance["data_settings"])
        found["remap"] = {int(old): new for old, new in found["remap"].items()}  # JSON has texts as keys
        found["image_size"] = tuple(found["image_size"])
        return SourceConfig(name=manifest.provenance["data"], **found)
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError):
        return None  # of an earlier version, or written by hand


def choose_data(known: SourceConfig | None, source: str | None, root: Path | None) -> SourceConfig:
    """The data to score on: the run's own unless told otherwise.

    Raises:
        RunError: nothing is known and nothing told.
    """
    if known is None and source is None:
        raise RunError(
            "a bundle does not know where its data lies: give it with --source folder (or camvid) --root PATH"
        )
    told = root is not None or source is not None
    if known is not None and known.root is None and known.name not in {*PUBLIC, "shapes"} and not told:
        raise RunError(f"a bundle does not know where its data ({known.name}) lies: give the folder with --root PATH")
    config = known if known is not None and source in (None, known.name) else SourceConfig(name=source)  # type: ignore[arg-type]
    return replace(config, root=root) if root is not None else config


def open_matching(config: SourceConfig, labels: LabelMap) -> Source:
    """Open a source and make sure that its classes are the network's.

    Raises:
        DataError: they are not.
    """
    source = open_source(config)
    if source.label_map.names != labels.names:
        raise DataError(
            f"the network knows {', '.join(labels.names)}; the data names {', '.join(source.label_map.names)}: "
            "both need the same classes in the same order"
        )
    return source


def default_folder(target: Path, split: str, tta: TtaConfig = PLAIN) -> Path:
    """Where scores are written unless told otherwise: into the run, and beside a bundle.

    A bundle is left as it was exported: export replaces none that holds other things. Scores of test-time
    augmentation have a folder of their own: they are not those of what is served.
    """
    name = f"evaluation-{split}-tta" if tta.active else f"evaluation-{split}"
    if (target / MANIFEST_FILE).is_file():
        bundle = target.absolute()
        return bundle.parent / f"{bundle.name}-{name}"
    return (target if target.is_dir() else target.parent.parent) / name


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write evaluation.json, confusion.csv and confusion.png."""
    from model.plots import draw_confusion  # noqa: PLC0415  matplotlib takes a second to import

    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(evaluation.to_dict(), indent=2, allow_nan=False)
    (folder / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    names = evaluation.labels.names
    with (folder / "confusion.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")  # quotes names that hold a comma
        writer.writerow(["true \\ predicted", *names])
        writer.writerows([name, *row] for name, row in zip(names, evaluation.confusion.tolist(), strict=True))
    draw_confusion(evaluation.confusion, evaluation.labels, folder / "confusion.png")


def score_table(evaluation: Evaluation) -> Table:
    """Scores of every class and their means, for a terminal."""
    scores = evaluation.scores
    table = Table(title=f"{evaluation.split}: {evaluation.pictures} pictures, percent", title_justify="left")
    table.add_column("class")
    for name in ("IoU", "accuracy", "boundary IoU"):
        table.add_column(name, justify="right")
    rows = zip(
        evaluation.labels.names, scores.class_iou, scores.class_accuracy, evaluation.class_boundary_iou, strict=True
    )
    for name, *values in rows:
        table.add_row(Text(name), *map(_percent, values))  # a name may hold brackets, which are no markup
    table.add_section()
    table.add_row("mean", *map(_percent, (scores.miou, scores.mean_accuracy, evaluation.boundary_iou)), style="bold")
    table.add_row("pixel accuracy", "", _percent(scores.pixel_accuracy), "")
    table.add_row("frequency-weighted IoU", _percent(scores.frequency_weighted_iou), "", "")
    return table


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.1f}"
