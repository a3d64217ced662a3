"""Permuted images: every task shows the same images with its own fixed shuffling of the pixels.

Task 0 shows them as they are. The labels stay: one head of ten classes for all tasks, which is the
domain-incremental scenario (van de Ven et al. 2022, doi 10.1038/s42256-022-00568-3).
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def permutations(num_tasks: int, pixels: int, generator: Generator) -> Tensor:
    """Which pixel each task shows in each place: `[T, pixels]` int64, the first in order."""
    shuffled = [torch.randperm(pixels, generator=generator) for _ in range(num_tasks - 1)]
    return torch.stack([torch.arange(pixels), *shuffled])
