"""Commands that learn and measure: train, compare, evaluate, export.

They import what they need when they are called, so that help is instant and what serves works without torch.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from data.errors import ConfigError
from data.sources.catalogue import SourceConfig, SourceName
from model.commands.voice import console, quoted, say
from model.compare.config import CompareConfig, Mode, with_baseline
from model.config import (
    AugmentConfig,
    FitConfig,
    LoaderConfig,
    LossConfig,
    ModelConfig,
    OptimiserConfig,
    TrainConfig,
)
from model.quantisation import QuantisationConfig
from model.runtime.engine import EngineConfig
from model.runtime.tta import TtaConfig


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
    from model.processes import is_first
    from model.train import train as train_run

    config = TrainConfig(data, model, augment, loader, loss, optimiser, fit, seed)
    name = f"{data.name}-fcn{model.finest_stride}s-{model.upsampler}-{datetime.now():%Y%m%d-%H%M%S}"
    root = resume or run or Path("runs") / name
    done = train_run(config, root, resume=resume is not None)
    if not is_first():
        return
    provenance = done.provenance()
    say(
        f"trained {provenance.get('epochs_done')} epochs in {provenance.get('training_seconds', 0) / 60:.1f} min, "
        f"best val mIoU {100 * (provenance.get('best_val_miou') or 0):.2f}",
        f"run directory: {root}",
        f"next: fcn evaluate {quoted(root)}; fcn export {quoted(root)}",
    )


def compare(
    out: Path,
    arms: list[str] = ["bilinear", "learned"],  # noqa: B006  read only
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
        arms: Upsamplers that are compared, such as --arms learned,dysample: nearest, bicubic, learned, learned-dense,
            learned-random, pixel-shuffle, dysample; bilinear, the baseline, is always among them.
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
    say(f"report: {report}")


def evaluate(
    target: Path,
    split: Literal["train", "val", "test"] = "val",
    source: SourceName | None = None,
    root: Path | None = None,
    out: Path | None = None,
    engine: EngineConfig = EngineConfig(precision="f32"),
    tta: TtaConfig = TtaConfig(),
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
        tta: Test-time augmentation, such as --tta.flip --tta.scales 0.75,1,1.25; its cost is measured and told. The
            service has none of it: such scores are not those of what is served.
        json: Print JSON instead of a table.
    """
    import json as json_library
    from dataclasses import replace

    from model import evaluate as scoring

    predict_labels, labels, known = scoring.open_target(target, engine, tta)
    data = scoring.open_matching(scoring.choose_data(known, source, root), labels)
    cost = None
    if tta.active:
        from model.averaging import measure_tta

        plain, *_ = scoring.open_target(target, engine)
        cost = measure_tta(predict_labels, plain, tta, data, split)
    evaluation = replace(scoring.evaluate(predict_labels, data, split, progress=not json), tta=cost)
    folder = out or scoring.default_folder(target, split, tta)
    scoring.write_evaluation(evaluation, folder)
    if json:
        print(json_library.dumps(evaluation.to_dict(), indent=2))  # noqa: T201  the answer itself
        return
    console.print(scoring.score_table(evaluation))
    if cost:
        say(
            f"test-time augmentation ({tta.told}): {cost.passes} passes, {cost.seconds_per_picture:.3f} s a picture "
            f"against {cost.seconds_per_pass:.3f} s for one pass, {cost.ratio:.1f} times as long "
            f"(median of {cost.pictures} pictures)"
        )
    say(f"written to {folder}")


def export(
    run: Path,
    out: Path | None = None,
    checkpoint: Literal["best", "last"] = "best",
    name: str | None = None,
    root: Path | None = None,
    from_comparison: bool = False,
    licence: str | None = None,
    data_licence: str | None = None,
    int8: bool = False,
    quantisation: QuantisationConfig = QuantisationConfig(),
) -> None:
    """Export a run as a bundle: model.onnx, checked in three engines, manifest.json and a model card.

    Args:
        run: Run directory.
        out: Folder of the bundle; RUN/bundle by default, RUN/bundle-int8 with --int8.
        checkpoint: Which one.
        name: Of the model, shown by the service.
        root: Where the run's pictures lie now, if they have moved.
        from_comparison: RUN is the folder of a comparison (--from-comparison DIR): the arm that it recommends is
            exported, by the checkpoint that was scored, and its verdict goes into the manifest.
        licence: Under which the weights are given, for the model card: apache-2.0, cc-by-nc-4.0 or any text.
        data_licence: Of the pictures and masks; known for public data sets.
        int8: Bring the network to int8 (extra int8); refused where that costs too much mIoU on val. Its time is told
            beside the float network's.
        quantisation: How; counts with --int8 alone.
    """
    from model.export import export as export_run
    from model.int8 import told
    from model.runtime.bundle import CARD_FILE

    if quantisation != QuantisationConfig() and not int8:
        raise ConfigError("--quantisation options count with --int8 alone: give that too, or leave them out")
    trained, verdict = run, None
    if from_comparison:
        from model.compare.recommendation import recommend

        chosen = recommend(run)
        trained, checkpoint, verdict = chosen.run, chosen.checkpoint, chosen.verdict
        say(f"{verdict['arm']}, seed {verdict['seed']}: {verdict['why']}")
    bundle = export_run(
        trained,
        out or run / ("bundle-int8" if int8 else "bundle"),
        which=checkpoint,
        name=name,
        data_root=root,
        comparison=verdict,
        licence=licence,
        stated_data_licence=data_licence,
        quantisation=quantisation if int8 else None,
    )
    scores = bundle.manifest.scores
    shares = bundle.manifest.provenance["engine_agreement"]["share_of_differing_pixels"]
    say(
        f"exported {bundle.manifest.name} {bundle.manifest.version}: val mIoU {100 * (scores['miou'] or 0):.2f}; "
        f"the engines differ on {max(shares.values()):.4%} of the pixels at most",
        *(told(facts) if (facts := dict(bundle.manifest.quantisation)) else []),
        f"bundle: {bundle.root}, with its model card {CARD_FILE}",
        f"next: fcn predict {quoted(bundle.root)} PICTURES; fcn register {quoted(bundle.root)}",
    )
