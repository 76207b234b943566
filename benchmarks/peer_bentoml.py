"""A peer: segmentation in torch as BentoML's own documents write a service for pictures: PIL in, nested lists out.

    python -m bentoml serve benchmarks.peer_bentoml:Segmentation

The network is that of the process that starts it (``Subject.environment``).
"""

import bentoml
import numpy as np
import torch
from PIL import Image

from benchmarks.network import network_of_environment
from benchmarks.seeded import THREADS


@bentoml.service(traffic={"timeout": 300})
class Segmentation:
    """Label every pixel of a picture."""

    def __init__(self) -> None:
        torch.set_num_threads(THREADS)
        self.network = network_of_environment()

    @bentoml.api
    def segment(self, image: Image.Image) -> list:
        """The label map as rows of class indices."""
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).unsqueeze(0).float()
        with torch.inference_mode():
            return self.network(pixels).softmax(dim=1).argmax(dim=1)[0].tolist()
