"""Permuted images: every task shows the same images with its own fixed shuffling of the pixels.

Task 0 shows them as they are. The labels stay: one head of ten classes for all tasks, which is the
domain-incremental scenario (van de Ven et al. 2022, doi 10.1038/s42256-022-00568-3).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from numpy.random import SeedSequence
from torch import Generator, Tensor

from configs.permuted_mnist.schema import DataConfig
from permuted_mnist.download import downloaded_mnist, expanded
from permuted_mnist.images import Images, digits, held_back, mnist
from training.streams import torch_generator

SCENARIO = "domain-incremental: one head of ten classes for all tasks"


def permutations(num_tasks: int, pixels: int, generator: Generator) -> Tensor:
    """Which pixel each task shows in each place: `[T, pixels]` int64, the first in order."""
    shuffled = [torch.randperm(pixels, generator=generator) for _ in range(num_tasks - 1)]
    return torch.stack([torch.arange(pixels), *shuffled])


def load_images(config: DataConfig) -> Images:
    """The images that the settings name.

    Raises:
        UsageError: files are missing, damaged, or can't be downloaded.
    """
    if config.name == "digits":
        images = digits(config.scaling)
    else:
        images = mnist(
            downloaded_mnist() if config.folder == "download" else expanded(config.folder),
            config.scaling,
        )
    return held_back(images) if config.evaluate_on == "validation" else images


class PermutedTasks:
    """The tasks of a run.

    Args:
        images: that all tasks show.
        num_tasks: T.
        generator: of the permutations.
        order: seeds the order of the images, task by task and epoch by epoch.
    """

    def __init__(
        self, images: Images, num_tasks: int, generator: Generator, order: SeedSequence
    ) -> None:
        self.images, self.num_tasks, self._order = images, num_tasks, order
        self._permutations = permutations(num_tasks, self.pixels, generator)

    @property
    def pixels(self) -> int:
        """Of an image."""
        return self.images.train.shape[1]

    def train_images(self, task: int) -> Tensor:
        """All training images of a task `[n, pixels]`."""
        return self.images.train[:, self._permutations[task]]

    def test_images(self, task: int) -> Tensor:
        """All test images of a task `[n, pixels]`."""
        return self.images.test[:, self._permutations[task]]

    def steps_per_epoch(self, batch_size: int) -> int:
        """Whole batches in a pass over the training images."""
        return len(self.images.train) // batch_size

    def batches(
        self, task: int, epochs: int, batch_size: int, first: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Images `[b, pixels]` and labels `[b]` of a task, in an order that depends on the seed alone.

        `first` of the batches, over all epochs, are left out: those before a resumed run was stopped.
        """
        images, labels, shown = (
            self.images.train,
            self.images.train_labels,
            self._permutations[task],
        )
        per_epoch = self.steps_per_epoch(batch_size)
        for epoch in range(first // per_epoch, epochs):
            seed = SeedSequence(
                self._order.entropy, spawn_key=(*self._order.spawn_key, task, epoch)
            )
            rows = torch.randperm(len(images), generator=torch_generator(seed))
            for index in range(first % per_epoch if epoch == first // per_epoch else 0, per_epoch):
                chosen = rows[index * batch_size : (index + 1) * batch_size]
                yield images[chosen][:, shown], labels[chosen]
