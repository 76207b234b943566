"""The command line: fcn train, compare, evaluate, export, register, predict, explain and data check.

Functions import what they need when they are called, so that help is instant and the commands that
serve (predict, register) work where torch is not installed.
"""

from __future__ import annotations

import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import auto_cli
from rich.console import Console
from rich.text import Text

from data.errors import FcnError, StoppedError
from data.sources.catalogue import SourceConfig, SourceName
from model.arguments import as_parsed
from model.compare.config import CompareConfig, Mode, with_baseline
from model.config import (
    AugmentConfig,
    FitConfig,
    LoaderConfig,
    LossConfig,
    ModelConfig,
    OptimiserConfig,
    TrainConfig,
    UpsamplerName,
)
from model.runtime.engine import EngineConfig
from model.runtime.formats import FolderFormat, LabelStudioConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

console = Console()


def _say(*lines: str) -> None:
    """Print lines as they are: a path may hold brackets, which are no markup, and is not broken at the edge."""
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _complain(fault: str) -> None:
    """One line on standard error."""
    Console(stderr=True).print(Text.assemble(("error:", "red"), f" {fault}"), highlight=False, soft_wrap=True)


def _quoted(path: Path) -> str:
    """A path as a shell takes it, for commands that are offered to be copied."""
    return shlex.quote(str(path))


def train(
    data: SourceConfig = SourceConfig(),
    model: ModelConfig = ModelConfig(),
    augment: AugmentConfig = AugmentConfig(),
    loader: LoaderConfig = LoaderConfig(),
    loss: LossConfig = LossConfig(),
    optimiser: OptimiserConfig = OptimiserConfig(),
    fit: FitConfig = FitConfig(),
    seed: int = 0,
    run: Path | None = None,
    resume: Path | None = None,
) -> None:
    """Train an FCN on labelled pictures.

    Args:
        data: Where labelled pictures come from.
        model: The network.
        augment: What training pictures go through.
        loader: How they reach the network.
        loss: What is made small.
        optimiser: How.
        fit: How long and on what.
        seed: Of the weights, the order and the crops.
        run: Run directory to make; by default one under runs/ named after data, network and time.
        resume: Run directory to go on with; its config.yaml is read, options given here override it.
    """
    from model.train import train as train_run

    config = TrainConfig(data, model, augment, loader, loss, optimiser, fit, seed)
    name = f"{data.name}-fcn{model.finest_stride}s-{model.upsampler}-{datetime.now():%Y%m%d-%H%M%S}"
    root = resume or run or Path("runs") / name
    done = train_run(config, root, resume=resume is not None)
    provenance = done.provenance()
    _say(
        f"trained {provenance.get('epochs_done')} epochs in {provenance.get('training_seconds', 0) / 60:.1f} min, "
        f"best val mIoU {100 * (provenance.get('best_val_miou') or 0):.2f}",
        f"run directory: {root}",
        f"next: fcn evaluate {_quoted(root)}; fcn export {_quoted(root)}",
    )


def compare(
    out: Path,
    arms: list[UpsamplerName] = ["bilinear", "learned"],  # noqa: B006  read only
    strides: list[int] = [32, 16, 8],  # noqa: B006  read only
    seeds: int = 3,
    mode: Mode = "end-to-end",
    data: SourceConfig = SourceConfig(),
    model: ModelConfig = ModelConfig(),
    augment: AugmentConfig = AugmentConfig(),
    loader: LoaderConfig = LoaderConfig(),
    loss: LossConfig = LossConfig(),
    optimiser: OptimiserConfig = OptimiserConfig(),
    fit: FitConfig = FitConfig(),
    seed: int = 0,
    checkpoint: Literal["last", "best"] = "last",
    split: Literal["val", "test"] = "val",
    passes: int = 4,
    upsampler_epochs: int = 6,
    latency: bool = True,
    pictures: int = 3,
    reconstruction: bool = True,
    reconstruction_factor: int = 4,
    reconstruction_steps: int = 400,
    report_only: bool = False,
) -> None:
    """Compare learned with fixed upsampling on labelled pictures, and write a report that says what it is worth.

    Args:
        out: Folder of the comparison. Killed and started again it goes on; more arms, strides or seeds are added.
        arms: Upsamplers that are compared, such as --arms learned,learned-dense,dysample; bilinear, the baseline, is
            always among them.
        strides: Finest strides at which the arms are compared.
        seeds: Trainings of every arm; three or more give a usable interval.
        mode: end-to-end trains every arm whole; upsampler-only trains one network a seed and stride, then each
            upsampler on its stored score maps.
        data: Where labelled pictures come from.
        model: The network; its upsampler and finest stride are set by the arms.
        augment: What training pictures go through.
        loader: How they reach the network.
        loss: What is made small.
        optimiser: How.
        fit: How long and on what.
        seed: The first one.
        checkpoint: Which one is scored; last is not chosen by the pictures that score it.
        split: Which pictures score.
        passes: upsampler-only: how often the training pictures are cropped for the stored score maps.
        upsampler_epochs: upsampler-only: passes over those maps.
        latency: Time every arm in OpenVINO.
        pictures: Pictures shown in the report; 0 keeps the data out of it.
        reconstruction: Also reduce pictures and bring them back in every way, a minute's work.
        reconstruction_factor: How far a side is reduced: 2, 4 or 8.
        reconstruction_steps: Of the training of each way back that learns.
        report_only: Train nothing, make the report from the results that are there.
    """
    from model.compare.experiment import compare as compare_arms

    recipe = TrainConfig(data, model, augment, loader, loss, optimiser, fit, seed)
    config = CompareConfig(
        recipe,
        with_baseline(arms),
        tuple(strides),
        seeds,
        mode,
        checkpoint=checkpoint,
        split=split,
        passes=passes,
        upsampler_epochs=upsampler_epochs,
        latency=latency,
        pictures=pictures,
        reconstruction=reconstruction,
        reconstruction_factor=reconstruction_factor,
        reconstruction_steps=reconstruction_steps,
    )
    report = compare_arms(config, out, report_only=report_only)
    _say(f"report: {report}")


def evaluate(
    target: Path,
    split: Literal["train", "val", "test"] = "val",
    source: SourceName | None = None,
    root: Path | None = None,
    out: Path | None = None,
    engine: EngineConfig = EngineConfig(precision="f32"),
    json: bool = False,
) -> None:
    """Score a run, a checkpoint or a bundle: mIoU and its kin, boundary IoU, confusion matrix.

    Args:
        target: Run directory (its best checkpoint), a .ckpt in one, or a bundle.
        split: Which pictures.
        source: Kind of data; a run and its bundle know their own.
        root: Folder of the data; a run knows its own.
        out: Folder for evaluation.json, confusion.csv and confusion.png; by default in the run, for a bundle beside it.
        engine: How a bundle is run.
        json: Print JSON instead of a table.
    """
    import json as json_library

    from model import evaluate as scoring

    predict_labels, labels, known = scoring.open_target(target, engine)
    data = scoring.open_matching(scoring.choose_data(known, source, root), labels)
    evaluation = scoring.evaluate(predict_labels, data, split, progress=not json)
    folder = out or scoring.default_folder(target, split)
    scoring.write_evaluation(evaluation, folder)
    if json:
        print(json_library.dumps(evaluation.to_dict(), indent=2))  # noqa: T201  the answer itself
        return
    console.print(scoring.score_table(evaluation))
    _say(f"written to {folder}")


def export(
    run: Path,
    out: Path | None = None,
    checkpoint: Literal["best", "last"] = "best",
    name: str | None = None,
    root: Path | None = None,
    from_comparison: bool = False,
) -> None:
    """Export a run as a bundle: model.onnx and manifest.json, checked in torch, ONNX Runtime and OpenVINO.

    Args:
        run: Run directory.
        out: Folder of the bundle; RUN/bundle by default.
        checkpoint: Which one.
        name: Of the model, shown by the service.
        root: Where the run's pictures lie now, if they have moved.
        from_comparison: RUN is the folder of a comparison (--from-comparison DIR): the arm that it recommends is
            exported, by the checkpoint that was scored, and its verdict goes into the manifest.
    """
    from model.export import export as export_run

    trained, verdict = run, None
    if from_comparison:
        from model.compare.recommendation import recommend

        chosen = recommend(run)
        trained, checkpoint, verdict = chosen.run, chosen.checkpoint, chosen.verdict  # type: ignore[assignment]
        _say(f"{verdict['arm']}, seed {verdict['seed']}: {verdict['why']}")
    bundle = export_run(trained, out or run / "bundle", which=checkpoint, name=name, data_root=root, comparison=verdict)
    scores = bundle.manifest.scores
    shares = bundle.manifest.provenance["engine_agreement"]["share_of_differing_pixels"]
    _say(
        f"exported {bundle.manifest.name} {bundle.manifest.version}: val mIoU {100 * (scores['miou'] or 0):.2f}; "
        f"the engines differ on {max(shares.values()):.4%} of the pixels at most",
        f"bundle: {bundle.root}",
        f"next: fcn predict {_quoted(bundle.root)} PICTURES; fcn register {_quoted(bundle.root)}",
    )


def register(bundle: Path, name: str = "fcn-segmenter") -> None:
    """Put a bundle into BentoML's model store, from where `bentoml build` takes it.

    Args:
        bundle: Folder that export made.
        name: In the store.
    """
    from model.runtime.store import register as register_bundle

    _say(f"registered as {register_bundle(bundle, name)}", "next: bentoml build")


def predict(
    bundle: Path,
    pictures: Path,
    out: Path = Path("predictions"),
    overlay: bool = True,
    opacity: float = 0.5,
    overwrite: bool = False,
    format: FolderFormat = "png",
    label_studio: LabelStudioConfig = LabelStudioConfig(),
    engine: EngineConfig = EngineConfig(),
) -> int:
    """Label every picture of a folder: palette PNGs and overlays. What is done already is skipped.

    Args:
        bundle: Folder that export made.
        pictures: A folder, walked to its bottom, or one picture.
        out: Where to.
        overlay: Write overlays too.
        opacity: Of the overlays, 0 to 1.
        overwrite: Label again what is done already.
        format: What else to write for another tool: cvat (Segmentation mask 1.1), coco (one JSON file) or
            label-studio (tasks with predictions).
        label_studio: Names in a project of Label Studio.
        engine: How the network is run.
    """
    from model.runtime.folder import predict_folder

    summary = predict_folder(
        bundle,
        pictures,
        out,
        engine,
        overlay=overlay,
        opacity=opacity,
        overwrite=overwrite,
        form=format,
        label_studio=label_studio,
    )
    _say(
        f"{summary.written} labelled in {summary.seconds:.1f} s, {summary.skipped} done before, "
        f"{len(summary.failed)} could not be read",
        f"written to {out}",
        *([f"for {format}: {summary.exported}"] if summary.exported else []),
    )
    return 1 if summary.failed else 0


def data_check(
    path: Path,
    source: SourceName = "folder",
    val_fraction: float = 0.2,
    seed: int = 0,
    remap: dict[int, int] | None = None,
    json: bool = False,
) -> int:
    """Look through a labelled data set before training: pairs, sizes, labels, shares, splits.

    Args:
        path: Folder of the data set.
        source: Kind of data set.
        val_fraction: As training will have it, where there are no split files.
        seed: As training will have it.
        remap: Labels to change while masks are read, as training will have it.
        json: Print JSON instead of a table.
    """
    from data.check import run_check

    return run_check(
        None if source == "shapes" else path, source, val_fraction=val_fraction, seed=seed, remap=remap, json=json
    )


def explain(
    kernel: int | list[list[float]] = 2,
    size: int | tuple[int, int] = 3,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    out: Path | None = None,
) -> None:
    """Show in numbers that a convolution is a matrix, its transpose upsamples, and what that costs.

    Args:
        kernel: Side of the kernel of the first example, or its rows: [[1,2],[3,4]].
        size: Side of its picture, or height and width: [3,4].
        stride: Pixels from one place of the kernel to the next.
        padding: Zeros around the picture.
        dilation: Pixels from one number of the kernel to the next.
        out: Folder for explain.html and explain.md, with figures; without it all is printed.
    """
    from model.explain.example import Example, read_kernel
    from model.explain.lesson import chapters

    sides = size if isinstance(size, tuple) else (size, size)
    told = chapters(Example(read_kernel(kernel), sides, stride, padding, dilation))
    if out is None:
        from model.explain.terminal import print_lesson

        print_lesson(told, console)
        return
    from model.explain.page import write_page

    given = {
        "kernel": kernel,
        "size": size if isinstance(size, int) else [*size],
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
    }
    plain = {"kernel": 2, "size": 3, "stride": 1, "padding": 0, "dilation": 1}
    options = [f"--{name} {str(value).replace(' ', '')}" for name, value in given.items() if value != plain[name]]
    page = write_page(told, out, " ".join(["fcn explain", *options]))
    _say(f"page: {page}", f"text: {page.with_suffix('.md')}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; faults that a person can mend are printed in one line.

    Args:
        arguments: Without the program's name; the process's own by default.

    Returns:
        Exit status: 0, 1 for a fault, 2 for a wrong option, 130 when interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    commands: dict[str, Any] = {
        "train": train,
        "compare": compare,
        "evaluate": evaluate,
        "export": export,
        "register": register,
        "predict": predict,
        "explain": explain,
        "data": {"_help": "Look at labelled data.", "check": data_check},
    }
    try:
        status = auto_cli(
            commands,
            args=as_parsed(given, commands),
            prog="fcn",
            description=__doc__.splitlines()[0],
            allow_abbrev=False,  # a typing error is no shorter name
        )
    except FcnError as error:
        _complain(str(error))
        return 130 if isinstance(error, StoppedError) else 1
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in {"", "data", "model", "service"}:
            raise  # a fault of ours
        _complain(f"this command needs {missing}, which is not installed: pip install 'fcn-segmenter[train]'")
        return 1
    except KeyboardInterrupt:
        return 130
    return int(status or 0)


if __name__ == "__main__":
    sys.exit(main())
