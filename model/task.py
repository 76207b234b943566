"""What Lightning trains: the network, its loss, its rates and the score of its validation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics.classification import MulticlassConfusionMatrix

from data.errors import RunError
from data.labels import IGNORE_INDEX
from model.depthwise import use_fast_depthwise
from model.fcn import make_network
from model.losses import SegmentationLoss
from model.metrics import Scores
from model.phases import use_phases

if TYPE_CHECKING:
    from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
    from numpy.typing import NDArray

    from data.dataset import SegmentationData
    from data.labels import LabelMap
    from model.config import OptimiserConfig, TrainConfig
    from model.fcn import FCN


class FCNTask(LightningModule):
    """Training step, validation and optimiser of one FCN.

    Args:
        config: Of the run.
        labels: Names of the classes.
        label_counts: Pixels a class in the training split, shape (C,).
    """

    def __init__(self, config: TrainConfig, labels: LabelMap, label_counts: NDArray[np.int64]) -> None:
        super().__init__()
        self._config = config
        self._labels = labels
        self.network = make_network(config.model, labels.num_classes).to(memory_format=torch.channels_last)
        use_fast_depthwise(self.network)
        use_phases(self.network)
        for module in self.network.modules():
            if isinstance(module, nn.ReLU6):
                module.inplace = False  # in place it copies its input first, for the gradient
        self.loss = SegmentationLoss(config.loss, label_counts)
        self.confusion = MulticlassConfusionMatrix(labels.num_classes, ignore_index=IGNORE_INDEX, validate_args=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) on the 0 to 255 scale to logits (N, C, H, W)."""
        logits: torch.Tensor = self.network(image.contiguous(memory_format=torch.channels_last))
        return logits

    def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
        """Let dropout and the loss draw from (seed, epoch, step, process) alone: a resumed run draws the same."""
        entropy = [self._config.seed, self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """The loss of one batch.

        Raises:
            RunError: the loss is not finite.
        """
        image, target = batch
        loss: torch.Tensor = self.loss(self(image), target)
        if not bool(torch.isfinite(loss)):
            data: SegmentationData = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it late
            names = ", ".join(data.names(self.current_epoch, batch_idx))
            where = f"epoch {self.current_epoch + 1}, step {self.global_step + 1}"
            raise RunError(
                f"the loss is {loss.item()} in {where}, of {names}: "
                "lower --optimiser.decoder_rate and --optimiser.encoder_rate; the last good checkpoint is kept"
            )
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(image), sync_dist=True)
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        """Count one picture."""
        image, target = batch
        logits = self(image)
        self.confusion.update(logits.argmax(dim=1), target.long())

    def on_validation_epoch_end(self) -> None:
        """Log mIoU and its kin."""
        scores = Scores.from_confusion(self.confusion.compute().cpu().numpy())
        self.confusion.reset()
        # Every process holds the same summed matrix: nothing is left to reduce.
        self.log("val/miou", scores.miou, prog_bar=True, rank_zero_only=False, sync_dist=False)
        self.log("val/pixel_accuracy", scores.pixel_accuracy)
        for name, iou in zip(self._labels.names, scores.class_iou, strict=True):
            if not math.isnan(iou):
                self.log(f"val/iou/{name}", float(iou))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with a rate for each part and one schedule for all."""
        optimiser_config = self._config.optimiser
        optimiser = torch.optim.AdamW(parameter_groups(self.network, optimiser_config))
        total = int(self.trainer.estimated_stepping_batches)
        schedule = LambdaLR(optimiser, lambda step: rate_factor(optimiser_config, step, total))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def parameter_groups(network: FCN, config: OptimiserConfig) -> list[dict[str, Any]]:
    """Parameters by rate and weight decay: encoder, score heads, upsamplers; no decay on vectors and upsamplers."""
    upsampling = {id(p) for module in network.upsampler_modules() for p in module.parameters()}
    encoder = {id(p) for p in network.encoder.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        if id(parameter) in upsampling:
            key = (config.upsampler_rate, 0.0)
        elif id(parameter) in encoder:
            key = (config.encoder_rate, decay)
        else:
            key = (config.decoder_rate, decay)
        groups.setdefault(key, []).append(parameter)
    return [{"params": parameters, "lr": rate, "weight_decay": decay} for (rate, decay), parameters in groups.items()]


def rate_factor(config: OptimiserConfig, step: int, total: int) -> float:
    """Learning rate over its peak.

    Args:
        config: Gives the shape and the share of the warm-up.
        step: From 0.
        total: Steps of the whole run.

    Returns:
        Linear rise over the warm-up, then: constant; cosine to 0; poly, (1 - t)^0.9 (Chen et al., DeepLab,
        2017); or one-cycle (Smith, 2018), whose rise starts at 1/25 and which falls as a cosine to 1e-4.
    """
    warm = max(1, round(config.warmup * total))
    one_cycle = config.schedule == "one-cycle"
    if step < warm and config.warmup:
        if one_cycle:
            return 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * step / warm)) / 2
        return (step + 1) / (warm + 1)
    done = min(1.0, (step - warm) / max(1, total - warm)) if config.warmup else min(1.0, step / max(1, total))
    match config.schedule:
        case "constant":
            return 1.0
        case "poly":
            return float((1 - done) ** 0.9)
        case _:
            floor = 1e-4 if one_cycle else 0.0
            return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2
