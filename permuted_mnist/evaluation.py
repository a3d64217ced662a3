"""Accuracy on the tasks, with the contexts that the method infers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from continual.contexts import Contexts
from permuted_mnist.network import PermutedNetwork
from permuted_mnist.tasks import PermutedTasks

_CHUNK = 1_000
"""Images that go through the network together."""


@torch.no_grad()
def accuracies(
    network: PermutedNetwork,
    contexts: Contexts,
    tasks: PermutedTasks,
    which: Iterable[int],
    between: Callable[[], None] = lambda: None,
) -> list[float]:
    """Fraction of right answers on the test images of some tasks.

    Args:
        network: with its segments up to date.
        contexts: that infer each image's context; where none is known yet, it is all zeros.
        tasks: all of the run.
        which: tasks, by index.
        between: called before each task; may raise to stop.
    """
    device = next(network.parameters()).device
    known = contexts.table if len(contexts.table) else torch.zeros(1, contexts.table.shape[1])
    gates = network.gates(known.to(device))  # [K, units] for each layer
    results = []
    for task in which:
        between()
        images, labels = tasks.test_images(task), tasks.images.test_labels
        right = 0
        for start in range(0, len(images), _CHUNK):
            part = images[start : start + _CHUNK]
            row = _rows(contexts, part, task).to(device)
            own = [None if gate is None else gate[row] for gate in gates]
            answers = network(part.to(device), own).argmax(dim=1).cpu()
            right += int((answers == labels[start : start + _CHUNK]).sum())
        results.append(right / len(images))
    return results


def _rows(contexts: Contexts, images: Tensor, task: int) -> Tensor:
    if not len(contexts.table):
        return torch.zeros(len(images), dtype=torch.int64)
    return contexts.infer(images, task)
