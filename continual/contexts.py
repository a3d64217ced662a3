"""Where a network's context comes from when it learns one task after the other.

Prototypes (Iyer et al. 2022, arXiv 2201.00042, on permutedMNIST): a method that uses them is told where a
task begins while it learns, and nothing at test.
"""

from __future__ import annotations

import torch
from torch import Tensor


class PrototypeContexts:
    """The mean image of each task; at test, an image belongs to the task with the nearest one.

    Args:
        pixels: of an image.
    """

    def __init__(self, pixels: int) -> None:
        self.prototypes = torch.empty(0, pixels)  # [tasks so far, pixels]

    def begin_task(self, images: Tensor) -> None:
        """A task begins; `images [n, pixels]` are its training images."""
        self.prototypes = torch.cat([self.prototypes, images.mean(dim=0, keepdim=True)])

    def infer(self, images: Tensor) -> Tensor:
        """The task of each image `[n, pixels] -> [n]` int64, by the nearest prototype."""
        return torch.cdist(images, self.prototypes).argmin(dim=1)
