"""Contexts of tasks that come one after the other, on constructed data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Generator, Tensor

from continual.clustering import ClusteredContexts, hotelling_p_value
from continual.contexts import OneHotContexts, PrototypeContexts
from permuted_mnist.tasks import permutations


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def shown_images(count: int) -> Tensor:
    """Images with a bright part and pixels that never vary, as those of MNIST."""
    images = torch.randn(count, 64, generator=generator()) + torch.linspace(-2, 2, 64)
    images[:, ::8] = 0
    return images


def test_prototypes_are_means_and_the_nearest_one_is_the_task() -> None:
    contexts = PrototypeContexts(pixels=2)
    contexts.begin_task(0, torch.tensor([[0.0, 0.0], [2.0, 0.0]]))
    assert contexts.table.tolist() == [[1.0, 0.0]]
    assert contexts.infer(torch.tensor([[9.0, 9.0]]), 7).tolist() == [0]
    contexts.begin_task(1, torch.tensor([[0.0, 4.0], [0.0, 6.0]]))
    assert contexts.of_batch(torch.zeros(1, 2)) == 1
    images = torch.tensor([[1.0, 1.0], [0.0, 4.0], [0.5, 0.0]])
    assert contexts.infer(images, 7).tolist() == [0, 1, 0]


def test_permuted_images_are_told_apart() -> None:
    images, shown = shown_images(200), permutations(8, 64, generator(1))
    contexts = PrototypeContexts(64)
    for task, pixels in enumerate(shown):
        contexts.begin_task(task, images[:100, pixels])
    for task, pixels in enumerate(shown):
        assert (contexts.infer(images[100:, pixels], -1) == task).all()


def test_a_one_hot_context_is_told_the_task() -> None:
    contexts = OneHotContexts(3)
    contexts.begin_task(2, torch.zeros(1, 5))
    assert contexts.of_batch(torch.zeros(4, 5)) == 2
    assert contexts.infer(torch.zeros(4, 5), 1).tolist() == [1, 1, 1, 1]
    assert contexts.table[2].tolist() == [0, 0, 1]


# --- clustering ----------------------------------------------------------------------------------


def clusters(pixels: int = 64, compared: int = 64, exemplars: int = 100) -> ClusteredContexts:
    return ClusteredContexts(pixels, compared, exemplars, 1e-9, generator(5))


def test_clusters_find_tasks_that_come_one_after_the_other_and_know_them_again() -> None:
    images, shown = shown_images(2_000), permutations(6, 64, generator(1))
    contexts = clusters()
    found = []
    for pixels in [*shown, *shown]:  # each task twice
        rows = torch.randperm(2_000, generator=generator(3)).view(-1, 100)
        found.append({contexts.of_batch(images[batch][:, pixels]) for batch in rows})
    assert found == [{0}, {1}, {2}, {3}, {4}, {5}] * 2
    for task, pixels in enumerate(shown):
        assert (contexts.infer(images[:, pixels], -1) == task).all()


def test_a_prototype_is_the_mean_of_what_joined_when_the_cluster_last_doubled() -> None:
    images = shown_images(700)
    contexts = clusters()
    for count, seen in [(1, 100), (2, 200), (3, 200), (4, 400), (5, 400), (6, 400), (7, 400)]:
        contexts.of_batch(images[100 * (count - 1) : 100 * count])
        torch.testing.assert_close(contexts.table[0], images[:seen].mean(dim=0))


@pytest.mark.parametrize(("batch", "exemplars"), [(8, 100), (32, 16), (2, 2)])
def test_small_batches_and_few_exemplars_are_compared_on_fewer_pixels(
    batch: int, exemplars: int
) -> None:
    images, shown = shown_images(20 * batch), permutations(2, 64, generator(1))
    contexts = clusters(exemplars=exemplars)
    found = [
        [contexts.of_batch(rows[:, pixels]) for rows in images.split(batch)] for pixels in shown
    ]
    assert found[0] == [0] * 20  # a known task opens no cluster, whatever the power to tell apart
    assert batch == 2 or set(found[1]) == {1}


def test_a_row_of_the_table_that_someone_holds_stays_what_it_is() -> None:
    images, contexts = shown_images(300), clusters()
    contexts.of_batch(images[:100])
    held = contexts.table[0]
    before = held.clone()
    contexts.of_batch(images[100:200])  # doubles the cluster
    assert torch.equal(held, before)
    assert not torch.equal(contexts.table[0], before)


def test_clusters_go_on_from_a_checkpoint_as_if_never_stopped() -> None:
    images, shown = shown_images(1_000), permutations(3, 64, generator(1))
    one, other = clusters(compared=20), clusters(compared=20)
    for batch in range(10):
        rows = images[100 * batch : 100 * batch + 100][:, shown[batch // 4]]
        if batch == 5:
            other.load_state_dict({key: value.clone() for key, value in one.state_dict().items()})
        assert one.of_batch(rows) == batch // 4
        if batch >= 5:
            other.of_batch(rows)
    for key, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


def test_hotelling_by_hand_in_one_dimension() -> None:
    """There T2 is the square of Student's t, whose two-sided p-value is known."""
    from scipy.stats import ttest_ind

    first, second = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[3.0], [5.0], [7.0], [6.0]])
    expected = ttest_ind(first.numpy(), second.numpy()).pvalue.item()
    assert hotelling_p_value(first.double(), second.double()) == pytest.approx(expected)


def test_hotelling_is_uniform_under_chance_though_pixels_depend_on_each_other() -> None:
    """The rank counts, not the number of pixels: half of the twenty are copies of the others."""
    draws = np.random.default_rng(2)
    values = []
    for _ in range(400):
        independent = torch.from_numpy(draws.normal(size=(70, 10)))
        samples = torch.cat([independent, independent @ torch.eye(10).double() * 3 + 1], dim=1)
        values.append(hotelling_p_value(samples[:40], samples[40:]))
    assert kstest(values, "uniform").pvalue > 0.01


def test_a_difference_where_nothing_varies_is_proof() -> None:
    first = torch.randn(30, 3, generator=generator()).double()
    second = torch.randn(30, 3, generator=generator(1)).double()
    first[:, 0], second[:, 0] = 0, 1
    assert hotelling_p_value(first, second) == 0
    assert hotelling_p_value(torch.zeros(3, 2).double(), torch.zeros(4, 2).double()) == 1
