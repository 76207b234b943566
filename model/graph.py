"""Graph: a network as ONNX, from picture to label map and confidence."""

from __future__ import annotations

import logging
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from data.errors import ExportError
from model.fcn import COARSEST_STRIDE
from model.runtime.engine import INPUT, OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model.fcn import FCN

OPSET: Final = 20


class Labeller(nn.Module):
    """The exported graph: picture in, label map and confidence out.

    The argmax belongs inside: full-size logits never leave the engine.

    Args:
        network: In evaluation mode.
    """

    def __init__(self, network: FCN) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Label a batch.

        Args:
            image: RGB, shape (N, H, W, 3), uint8, sides multiples of 32.

        Returns:
            Label map and confidence, both (N, H, W) uint8; a confidence of 255 is a probability of 1.
        """
        logits = self.network(image.permute(0, 3, 1, 2))
        top = logits.amax(dim=1)
        # The softmax of the largest logit: 1 / sum exp(logit - largest).
        confidence = 1 / (logits - top[:, None]).exp().sum(dim=1)
        return logits.argmax(dim=1).to(torch.uint8), (confidence * 255).round().to(torch.uint8)


def to_onnx(network: FCN) -> bytes:
    """The graph from uint8 picture to label map and confidence, with dynamic batch and sides.

    Args:
        network: Any FCN.

    Raises:
        ExportError: torch cannot export this network (some encoders hold what ONNX does not).
    """
    labeller = Labeller(network).eval()
    # Unequal sides, and a batch above 1: sizes of 1 would be taken as constants.
    example = torch.zeros(2, 3 * COARSEST_STRIDE, 4 * COARSEST_STRIDE, 3, dtype=torch.uint8)
    rows, columns = torch.export.Dim("rows", min=1, max=4096), torch.export.Dim("columns", min=1, max=4096)
    shapes = {"image": {0: torch.export.Dim("batch", min=1), 1: COARSEST_STRIDE * rows, 2: COARSEST_STRIDE * columns}}
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder, _nothing_in_place(labeller):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                labeller,
                (example,),
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_shapes=shapes,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
            if program is None:
                raise ExportError(f"torch gave no ONNX graph of {network.name}")
            path = Path(folder) / "model.onnx"
            program.save(path, external_data=False)
            return path.read_bytes()
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as error:
        raise ExportError(f"{network.name} cannot be exported to ONNX: {str(error).splitlines()[0]}") from error
    finally:
        logger.setLevel(level)


@contextmanager
def _nothing_in_place(network: nn.Module) -> Iterator[None]:
    """Let activations give new tensors while the block runs.

    Those in place have no ONNX form of their own: torch takes each apart by symbolic arithmetic over the dynamic
    sides, which took 7 s of an export's 18.
    """
    changed = [module for module in network.modules() if getattr(module, "inplace", False) is True]
    for module in changed:
        vars(module)["inplace"] = False
    try:
        yield
    finally:
        for module in changed:
            vars(module)["inplace"] = True
