"""Accuracies on permuted images, and their batches, image by image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.random import SeedSequence
from torch import Generator

from configs.permuted_mnist import PermutedConfig
from configs.permuted_mnist.schema import NetworkConfig
from continual.contexts import OneHotContexts, PrototypeContexts
from permuted_mnist.evaluation import accuracies
from permuted_mnist.images import Images
from permuted_mnist.network import PermutedNetwork
from permuted_mnist.tasks import PermutedTasks, permutations

PIXELS, TASKS = 12, 3


def seeded(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> Images:
    """Labels are no function of the place: a wrong image for a label shows."""
    drawn = seeded(5)
    return Images(
        name="noise",
        train=torch.randn(40, PIXELS, generator=drawn),
        train_labels=torch.randint(10, (40,), generator=drawn),
        test=torch.randn(1_100, PIXELS, generator=drawn),  # more than go through together
        test_labels=torch.randint(10, (1_100,), generator=drawn),
    )


@pytest.fixture
def tasks(images: Images) -> PermutedTasks:
    return PermutedTasks(images, TASKS, seeded(3), SeedSequence(7))


def naive_accuracy(network, contexts, images, shown, task) -> float:
    right = 0
    for image, label in zip(images.test.tolist(), images.test_labels.tolist(), strict=True):
        permuted = torch.tensor([image[pixel] for pixel in shown])
        if isinstance(contexts, OneHotContexts):
            row = task
        else:  # the nearest prototype
            distances = [float((permuted - one).square().sum()) for one in contexts.table]
            row = int(np.argmin(distances))
        gates = network.gates(contexts.table[row : row + 1])
        right += int(network(permuted[None], gates)[0].argmax()) == label
    return right / len(images.test)


@pytest.mark.parametrize("kind", ["one_hot", "prototypes"])
def test_accuracies_are_those_of_a_loop(kind: str, images: Images, tasks: PermutedTasks) -> None:
    size = TASKS if kind == "one_hot" else PIXELS
    contexts = OneHotContexts(TASKS) if kind == "one_hot" else PrototypeContexts(PIXELS)
    for task in range(TASKS):
        contexts.begin_task(task, tasks.train_images(task))
    small = NetworkConfig(hidden=(20, 16), winners_density=0.25, num_segments=3)
    network = PermutedNetwork(
        replace(PermutedConfig(), network=small).network,
        pixels=PIXELS,
        context_size=size,
        product_dtype=None,
        generator=seeded(1),
    )
    found = accuracies(network, contexts, tasks, [2, 0])
    shown = permutations(TASKS, PIXELS, seeded(3)).tolist()
    with torch.no_grad():
        expected = [naive_accuracy(network, contexts, images, shown[t], t) for t in (2, 0)]
    assert found == pytest.approx(expected)
    assert found[0] != found[1]


def test_batches_are_the_tasks_images_with_their_labels(
    images: Images, tasks: PermutedTasks
) -> None:
    """Every image once an epoch, but those that no whole batch is left for; each epoch in another order."""
    shown = permutations(TASKS, PIXELS, seeded(3)).tolist()
    rows = {tuple(row): index for index, row in enumerate(images.train.tolist())}
    back = [shown[2].index(pixel) for pixel in range(PIXELS)]
    epochs: list[list[int]] = [[], []]
    for number, (batch, labels) in enumerate(tasks.batches(2, epochs=2, batch_size=16)):
        for image, label in zip(batch.tolist(), labels.tolist(), strict=True):
            row = rows[tuple(image[place] for place in back)]
            assert label == int(images.train_labels[row])
            epochs[number // 2].append(row)
    assert [len(epoch) for epoch in epochs] == [32, 32]
    assert [len(set(epoch)) for epoch in epochs] == [32, 32]
    assert epochs[0] != epochs[1]
