"""Commands that use what was learned, and that look: register, push, predict, data check, data import, explain.

They import what they need when they are called, so that help is instant and what serves works without torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from data.imports.config import Kind
from data.sources.catalogue import SourceName
from data.sources.pets import PetBorder, PetTarget
from model.commands.voice import console, quoted, say
from model.runtime.engine import EngineConfig
from model.runtime.formats import FolderFormat, LabelStudioConfig
from model.runtime.tta import TtaConfig

if TYPE_CHECKING:
    from model.runtime.folder import Workers


def register(bundle: Path, name: str = "fcn-segmenter") -> None:
    """Put a bundle into BentoML's model store, from where `bentoml build` takes it.

    Args:
        bundle: Folder that export made.
        name: In the store.
    """
    from model.runtime.store import register as register_bundle

    say(f"registered as {register_bundle(bundle, name)}", "next: bentoml build")


def push(source: Path, target: str, private: bool = False) -> None:
    """Write a network with its bundle and model card to a folder, or to a repository on the Hugging Face hub.

    Args:
        source: A run that was exported, or a bundle.
        target: A folder; hf://OWNER/NAME for the hub, whose token is HF_TOKEN or that of hf auth login.
        private: Make a new repository on the hub private.
    """
    from model.push import HUB
    from model.push import push as push_network

    say(f"pushed to {push_network(source, target, private=private)}")
    if not target.startswith(HUB) and not target.startswith((".", "/", "~")) and target.count("/") == 1:
        say("for the Hugging Face hub write hf://OWNER/NAME")


def predict(
    bundle: Path,
    pictures: Path,
    out: Path = Path("predictions"),
    overlay: bool = True,
    opacity: float = 0.5,
    overwrite: bool = False,
    format: FolderFormat = "png",
    label_studio: LabelStudioConfig = LabelStudioConfig(),
    engine: EngineConfig = EngineConfig(streams=2),
    tta: TtaConfig = TtaConfig(),
    cluster: str | None = None,
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
        engine: How the network is run; as many pictures side by side as it has streams.
        tta: Test-time augmentation, such as --tta.flip --tta.scales 0.75,1,1.25: slower by more than the number of
            its passes; fcn evaluate tells what it brings and costs. The service has none of it.
        cluster: Label by Ray, with engine.threads processors an actor (2 by default): local for this machine alone,
            auto for the cluster that it is part of, or the address of its head, HOST:6379. All machines must see
            bundle, pictures and out at the same paths. See docs/scaling.md.
    """
    from model.runtime.folder import ThisProcess, predict_folder

    workers: Workers = ThisProcess()
    if cluster is not None:
        from model.cluster import RayWorkers

        workers = RayWorkers(cluster)
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
        tta=tta,
        workers=workers,
    )
    say(
        f"{summary.written} labelled in {summary.seconds:.1f} s, {summary.skipped} done before, "
        f"{len(summary.failed)} could not be read",
        *([f"test-time augmentation ({tta.told}): {tta.passes} passes a picture"] if tta.active else []),
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
    target: PetTarget = "trimap",
    border: PetBorder = "ignore",
    augmented: bool | None = None,
    coarse: bool = False,
    json: bool = False,
) -> int:
    """Look through a labelled data set before training: pairs, sizes, labels, shares, splits.

    Args:
        path: Folder of the data set; may be left out, or -, for a public one where `fcn data download` put it.
        source: Kind of data set.
        val_fraction: As training will have it, where there are no split files.
        seed: As training will have it.
        remap: Labels to change while masks are read, as training will have it.
        target: As training will have it (pets).
        border: As training will have it (pets).
        augmented: As training will have it (voc).
        coarse: As training will have it (cityscapes).
        json: Print JSON instead of a table.
    """
    from data.check import run_check

    return run_check(
        None if source == "shapes" or str(path) == "-" else path,
        source,
        val_fraction=val_fraction,
        seed=seed,
        remap=remap,
        target=target,
        border=border,
        augmented=augmented,
        coarse=coarse,
        json=json,
    )


def data_import(
    export: Path,
    out: Path = Path("imported"),
    images: Path | None = None,
    kind: Kind = "auto",
    link: bool = False,
    overlap: Literal["auto", "order", "area"] = "auto",
    unlabelled: str = "background",
    unannotated: Literal["skip", "unlabelled"] = "skip",
    crowd: Literal["auto", "ignore", "class"] = "auto",
    boxes: Literal["fill", "skip"] = "fill",
    annotators: Literal["latest", "first", "agree"] = "latest",
    predictions: bool = False,
    classes: list[str] = [],  # noqa: B006  read only
    skip_faulty: bool = False,
    json: bool = False,
) -> None:
    """Make of an export of COCO, CVAT or Label Studio a folder of pictures and masks to train on.

    Args:
        export: What the labelling tool exported: a file, a folder or a zip file.
        out: Folder to make.
        images: Folder with its pictures, where the export does not hold them.
        kind: Tool that wrote it; auto looks.
        link: Link the pictures instead of copying them.
        overlap: Where classes overlap: order (the later annotation wins), area (the smaller), auto (area for COCO, else
            order); CVAT's z_order comes first.
        unlabelled: Class of pixels without annotation, put in front if the export lacks it; or ignore.
        unannotated: Pictures without annotation: skip them, or take them as unlabelled all over.
        crowd: COCO's crowd regions: ignore, class, or auto (ignore, unless all annotations are crowds).
        boxes: Fill rectangles, or skip them.
        annotators: Of several annotations of one task: latest, first, or agree (ignore pixels on which they differ).
        predictions: Take a task's predictions where it has no annotation.
        classes: Names of the classes wanted, in their order, such as --classes road,car; all by default.
        skip_faulty: Leave faulty pictures out instead of importing nothing.
        json: Print JSON instead of sentences.
    """
    from data.imports.config import ImportConfig
    from data.imports.folder import import_export

    config = ImportConfig(
        kind,
        images,
        link,
        overlap,
        unlabelled,
        unannotated,
        crowd,
        boxes,
        annotators,
        predictions,
        tuple(classes),
        skip_faulty,
    )
    report = import_export(export, out, config, progress=not json)
    if json:
        print(report.to_json())  # noqa: T201  the answer itself
        return
    say(
        *report.lines(),
        f"written to {out}",
        f"next: fcn data check {quoted(out)}; fcn train --data.root {quoted(out)}",
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
    say(f"page: {page}", f"text: {page.with_suffix('.md')}")
