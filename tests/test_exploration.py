"""Correlated exploration noise and held actions against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from agent.exploration import ExplorationNoise, HeldActions

SHAPE = (3, 4)  # tasks and copies
ACTIONS = 2


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def drawn(
    noise: ExplorationNoise, shape: tuple[int, ...], steps: int, generator: Generator
) -> Tensor:
    """`[steps, *shape, a]` of one episode in every place."""
    memory = torch.zeros(*shape, noise.memory_size)
    return torch.stack(
        [noise.next(noise.draw(shape, generator), memory).clone() for _ in range(steps)]
    )


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_the_spread_is_one_and_the_correlation_falls_geometrically(rho: float) -> None:
    series = drawn(ExplorationNoise(4, rho), (50, 20), 200, seeded()).numpy()
    assert series.std(axis=(1, 2, 3)) == pytest.approx(np.ones(200), abs=0.05)
    for lag in (1, 2, 5):
        products = series[lag:] * series[:-lag]
        assert products.mean() == pytest.approx(rho**lag, abs=0.01)


def test_one_step_by_hand() -> None:
    noise, memory = ExplorationNoise(ACTIONS, 0.6), torch.zeros(*SHAPE, ACTIONS + 1)
    first = noise.next(noise.draw(SHAPE, seeded(1)), memory).clone()
    torch.testing.assert_close(first, torch.randn(*SHAPE, ACTIONS, generator=seeded(1)))
    fresh = torch.randn(*SHAPE, ACTIONS, generator=seeded(2))
    second = noise.next(noise.draw(SHAPE, seeded(2)), memory)
    torch.testing.assert_close(second, 0.6 * first + 0.8 * fresh)


def test_a_cleared_memory_starts_anew() -> None:
    noise, memory = ExplorationNoise(ACTIONS, 0.9), torch.zeros(*SHAPE, ACTIONS + 1)
    noise.next(noise.draw(SHAPE, seeded(1)), memory)
    memory[1, 2] = 0  # its episode has ended
    draws = noise.draw(SHAPE, seeded(2))
    same = (noise.next(draws, memory) == draws).all(dim=-1)
    assert same.nonzero().tolist() == [[1, 2]]


def test_without_correlation_it_is_the_generators_own_noise() -> None:
    generator = seeded(3)
    expected = torch.stack([torch.randn(*SHAPE, ACTIONS, generator=generator) for _ in range(5)])
    noise = drawn(ExplorationNoise(ACTIONS, 0.0), SHAPE, 5, seeded(3))
    torch.testing.assert_close(noise, expected, rtol=0, atol=0)


POLICY = 5.0  # what the policy always says here: a value that no hold can have


def played(
    held: HeldActions, shape: tuple[int, ...], steps: int, seed: int, memory: Tensor | None = None
) -> np.ndarray:
    """Actions `[steps, *shape, a]`."""
    generator = seeded(seed)
    memory = torch.zeros(*shape, held.memory_size) if memory is None else memory
    policy = torch.full((*shape, held.action_size), POLICY)
    return np.stack(
        [held.apply(policy, held.draw(shape, generator), memory).numpy() for _ in range(steps)]
    )


def runs(series: np.ndarray) -> list[int]:
    """Lengths of the stretches of equal held values along the first axis, the last one left out."""
    lengths = []
    for column in series.reshape(len(series), -1).T:
        edges = np.flatnonzero(np.diff(column)) + 1
        lengths += [len(piece) for piece in np.split(column, edges)[:-1] if piece[0] != POLICY]
    return lengths


def test_holds_begin_at_the_rate_and_last_up_to_the_longest() -> None:
    series = played(HeldActions(4, 0.02, 6), (20, 20), 500, seed=1)
    lengths = np.array(runs(series))
    assert lengths.min() == 1
    assert lengths.max() == 6
    assert lengths.mean() == pytest.approx(3.5, abs=0.05)
    # A renewal process: 1 / rate - 1 free steps before a hold, on average, and 3.5 held ones.
    share = (series[50:] != POLICY).mean()
    assert share == pytest.approx(3.5 / (3.5 + 1 / 0.02 - 1), rel=0.05)
    values = series[series != POLICY]
    assert (np.abs(values) <= 1).all()
    assert values.mean() == pytest.approx(0, abs=0.03)
    assert values.std() == pytest.approx(1 / np.sqrt(3), abs=0.02)  # uniform on [-1, 1]


def test_dimensions_are_held_on_their_own() -> None:
    held = played(HeldActions(4, 0.05, 10), (30, 30), 200, seed=2) != POLICY
    together = (held[..., 0] & held[..., 1])[50:].mean()
    assert together == pytest.approx(held[50:, ..., 0].mean() * held[50:, ..., 1].mean(), rel=0.1)


def test_a_cleared_memory_lets_go() -> None:
    held = HeldActions(ACTIONS, 0.5, 50)
    memory = torch.zeros(*SHAPE, held.memory_size)
    before = played(held, SHAPE, 20, 3, memory)[-1] != POLICY
    assert before[1, 2].any()
    assert before.sum() > 10
    memory[1, 2] = 0  # its episode has ended
    none_starts = torch.ones(*SHAPE, held.draws_size)
    policy = torch.full((*SHAPE, ACTIONS), POLICY)
    left = memory[..., :ACTIONS] > 0
    assert torch.equal(held.apply(policy, none_starts, memory) != POLICY, left)
    assert not left[1, 2].any()
