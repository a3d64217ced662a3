"""Contexts of tasks that come one after the other, on constructed data."""

from __future__ import annotations

import torch

from continual.contexts import PrototypeContexts
from continual.permuted import permutations


def test_prototypes_are_means_and_the_nearest_one_is_the_task() -> None:
    contexts = PrototypeContexts(pixels=2)
    contexts.begin_task(torch.tensor([[0.0, 0.0], [2.0, 0.0]]))
    assert contexts.prototypes.tolist() == [[1.0, 0.0]]
    assert contexts.infer(torch.tensor([[9.0, 9.0]])).tolist() == [0]
    contexts.begin_task(torch.tensor([[0.0, 4.0], [0.0, 6.0]]))
    assert contexts.infer(torch.tensor([[1.0, 1.0], [0.0, 4.0], [0.5, 0.0]])).tolist() == [0, 1, 0]


def test_permuted_images_are_told_apart() -> None:
    """Images with a bright part, shuffled in eight ways, as permutedMNIST's are."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(200, 64, generator=generator) + torch.linspace(-2, 2, 64)
    shown = permutations(8, 64, generator)
    contexts = PrototypeContexts(64)
    for pixels in shown:
        contexts.begin_task(images[:100, pixels])
    for task, pixels in enumerate(shown):
        assert (contexts.infer(images[100:, pixels]) == task).all()
