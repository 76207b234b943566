"""The model card: what a network was made of, how good and how sure it is, and what is known to be weak, as Markdown.

Its front matter is that of the Hugging Face hub (https://huggingface.co/docs/hub/model-cards), which shows a bundle's
README.md as the page of the model.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

if TYPE_CHECKING:
    from collections.abc import Mapping

    from data.licences import Licence
    from model.runtime.manifest import Manifest
    from model.survey import Survey

WEAK_IOU: Final = 0.5
"""Classes below are named among the known limits."""

UNSURE_ERROR: Final = 0.05
"""Expected calibration error above which the card says so."""

_HUB_LICENCES: Final = frozenset(
    {"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0"}
    | {"cc-by-nc-sa-4.0", "gpl-3.0", "agpl-3.0", "lgpl-3.0", "mpl-2.0", "openrail", "unlicense", "unknown"}
)
"""Those that the hub knows by an identifier, as far as they are usual; any other goes there by its name."""


def write_model_card(
    manifest: Manifest, version: str, training: Survey, licence: str | None, data: Licence, encoder: Licence
) -> str:
    """The card of an exported network.

    Args:
        manifest: With scores, ``scores["calibration"]`` and provenance.
        version: First digits of the sha256 of its ``model.onnx``.
        training: Of the training pictures.
        licence: Under which the weights are given, as the person who exports says; None where nothing was said.
        data: Of the pictures and masks.
        encoder: Of the weights that training started from.

    Returns:
        Markdown, with YAML front matter.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # noqa: S701  Markdown; names go through ``cell``
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": _percent, "cell": _cell, "count": lambda value: f"{value:,}".replace(",", " ")}
    scores, provenance = manifest.scores, manifest.provenance
    total = max(1, int(training.pixels.sum()))
    return environment.get_template("model_card.md.jinja").render(
        front=yaml.safe_dump(_front_matter(manifest, licence), sort_keys=False, allow_unicode=True, width=1000),
        manifest=manifest,
        version=version,
        differing=max(provenance["engine_agreement"]["share_of_differing_pixels"].values()),
        scores=scores,
        calibration=scores["calibration"],
        provenance=provenance,
        training=training,
        rows=[
            {
                "name": name,
                "share": int(training.pixels[index]) / total,
                "width": None if training.widths[index] != training.widths[index] else float(training.widths[index]),
                "iou": scores["class_iou"][name],
                "accuracy": scores["class_accuracy"][name],
                "boundary_iou": scores["class_boundary_iou"][name],
            }
            for index, name in enumerate(manifest.labels.names)
        ],
        limits=known_limits(manifest, training),
        made=_made(provenance),
        licence=licence,
        data_licence=data,
        encoder_licence=encoder,
        recipe=_as_yaml(provenance["recipe"]),
        data_settings=_as_yaml(provenance["data_settings"]),
    )


def known_limits(manifest: Manifest, training: Survey) -> list[str]:
    """What is known to be weak or unknown, a sentence or two each, from the figures alone.

    Args:
        manifest: With scores and provenance.
        training: Of the training pictures.
    """
    names, scores, limits = manifest.labels.names, manifest.scores, []
    unseen = [name for name, pixels in zip(names, training.pixels, strict=True) if not pixels]
    if unseen:
        told = "in training" if training.counted == training.pictures else f"in {training.counted} training pictures"
        limits.append(f"Never seen {told}, so never to be trusted: {_listed(unseen)}.")
    for name, width in zip(names, training.widths, strict=True):
        iou = scores["class_iou"][name]
        if iou is None or iou >= WEAK_IOU:
            continue
        stride = manifest.finest_stride
        thin = f" Its pieces are about {width:.0f} pixels wide, and the network predicts once every {stride} pixels."
        weak = f"`{_code(name)}` is weak: IoU {_percent(iou)} %."
        limits.append(weak + (thin if width < 2 * stride else ""))
    unscored = [name for name in names if scores["class_iou"][name] is None]
    if unscored:
        limits.append(f"Without a score, as it does not occur in the validation pictures: {_listed(unscored)}.")
    error = scores["calibration"]["expected_calibration_error"]
    if error is not None and error > UNSURE_ERROR:
        mean, accuracy = scores["calibration"]["mean_confidence"], scores["calibration"]["accuracy"]
        way = "higher" if mean > accuracy else "lower"
        limits.append(
            f"Its confidence is not a probability to rely on: {way} on average than the share of right pixels "
            f"({_percent(mean)} against {_percent(accuracy)} %)."
        )
    if training.ignored:
        share = training.ignored / (training.ignored + int(training.pixels.sum()))
        limits.append(
            f"{_percent(share)} % of the training pixels have no label. The network gives such places one of its "
            "classes all the same, and no score counts them."
        )
    (low, left), (high, right) = training.smallest, training.largest
    sizes = f"{left}x{low}" if training.smallest == training.largest else f"{left}x{low} to {right}x{high}"
    augment = manifest.provenance["recipe"]["augment"]
    crop, scale = augment["crop_size"], augment["scale"]
    limits.append(
        f"Trained on pictures of {sizes} pixels, in crops of {crop[1]}x{crop[0]} zoomed by {scale[0]:g} to "
        f"{scale[1]:g}. Pictures of any size are labelled; things much larger or smaller in them than in training are "
        "not covered."
    )
    limits.append(
        "The checkpoint with the best validation score was taken, so that score is a little too good; it is of one "
        "training with one seed, and says nothing of pictures from elsewhere."
        if manifest.provenance.get("checkpoint") == "best"
        else "The scores are of one training with one seed, and say nothing of pictures from elsewhere."
    )
    limits.append("Every pixel gets one of the classes: there is no answer for what is none of them.")
    return limits


def _made(provenance: Mapping[str, Any]) -> list[str]:
    """Where the network comes from; what a run does not tell, as one of an earlier version, is unknown."""
    known = provenance.get
    seconds = known("training_seconds")
    minutes = f", {seconds / 60:.1f} minutes" if seconds else ""
    machine = [str(value) for value in (known("machine") or {}).values()]
    packages = [f"{name} {version}" for name, version in (known("packages") or {}).items() if version]
    return [
        f"Commit: {known('git_commit') or 'unknown'}",
        f"Training: started {known('started') or 'unknown'}, {known('epochs_done') or 'unknown'} epochs{minutes}; "
        f"checkpoint `{known('checkpoint')}`",
        f"Machine (processor, cores, system): {_cell('; '.join(machine)) or 'unknown'}",
        f"Python {known('python') or 'unknown'}; {', '.join(packages) or 'packages unknown'}",
    ]


def _front_matter(manifest: Manifest, licence: str | None) -> dict[str, Any]:
    known = (licence or "unknown").lower().replace(" ", "-")
    given = {"license": known} if known in _HUB_LICENCES else {"license": "other", "license_name": licence}
    scores, source = manifest.scores, manifest.provenance["data"]
    values = [
        ("mean_iou", "mean IoU", scores["miou"]),
        ("mean_boundary_iou", "mean boundary IoU", scores["boundary_iou"]),
        ("pixel_accuracy", "pixel accuracy", scores["pixel_accuracy"]),
    ]
    return {
        **given,
        "library_name": "fcn-segmenter",
        "pipeline_tag": "image-segmentation",
        "tags": ["image-segmentation", "semantic-segmentation", "fcn", "onnx", "openvino"],
        # A folder of one's own is no data set that a hub could know.
        **({"datasets": [source]} if source != "folder" else {}),
        "metrics": ["mean_iou"],
        "model-index": [
            {
                "name": manifest.name,
                "results": [
                    {
                        "task": {"type": "image-segmentation"},
                        "dataset": {"name": source, "type": source, "split": scores["split"]},
                        "metrics": [
                            {"type": kind, "name": name, "value": round(value, 4)}
                            for kind, name, value in values
                            if value is not None
                        ],
                    }
                ],
            }
        ],
    }


def _percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f}"


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{_code(name)}`" for name in names)


def _code(name: str) -> str:
    return re.sub(r"[`\s]+", " ", name)


def _cell(value: object) -> str:
    """A text that stays one cell of a table, whatever it holds."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", re.sub(r"\s+", " ", str(value)))


def _as_yaml(values: object) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
