"""Correlated exploration noise against its definition."""

import numpy as np
import pytest
import torch

from agent.exploration import ExplorationNoise

SHAPE = (3, 4, 2)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(noise, steps, generator):
    return torch.stack([noise.next(generator).clone() for _ in range(steps)])  # [steps, T, N, a]


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_the_spread_is_one_and_the_correlation_falls_geometrically(rho):
    series = drawn(ExplorationNoise((50, 20, 4), rho), 200, seeded()).numpy()
    assert series.std(axis=(1, 2, 3)) == pytest.approx(np.ones(200), abs=0.05)
    for lag in (1, 2, 5):
        products = series[lag:] * series[:-lag]
        assert products.mean() == pytest.approx(rho**lag, abs=0.01)


def test_one_step_by_hand():
    noise = ExplorationNoise(SHAPE, 0.6)
    first = noise.next(seeded(1)).clone()
    assert torch.equal(first, torch.randn(SHAPE, generator=seeded(1)))
    fresh = torch.randn(SHAPE, generator=seeded(2))
    torch.testing.assert_close(noise.next(seeded(2)), 0.6 * first + 0.8 * fresh)


def test_an_ended_episode_leaves_no_trace():
    noise = ExplorationNoise(SHAPE, 0.9)
    noise.next(seeded(1))
    done = np.zeros(SHAPE[:2], bool)
    done[1, 2] = True
    noise.forget(done)
    second, fresh = noise.next(seeded(2)), torch.randn(SHAPE, generator=seeded(2))
    assert (second == fresh).all(dim=-1).tolist() == done.tolist()


def test_without_correlation_it_is_the_generators_own_noise():
    noise, generator = ExplorationNoise(SHAPE, 0.0), seeded(3)
    expected = torch.stack([torch.randn(SHAPE, generator=generator) for _ in range(5)])
    torch.testing.assert_close(drawn(noise, 5, seeded(3)), expected, rtol=0, atol=0)


def test_restored_noise_goes_on_alike():
    original, generator = ExplorationNoise(SHAPE, 0.9), seeded()
    drawn(original, 3, generator)
    original.forget(np.eye(3, 4, dtype=bool))
    restored = ExplorationNoise(SHAPE, 0.9)
    restored.load_state_dict({k: v.copy() for k, v in original.state_dict().items()})
    one, other = (drawn(noise, 4, seeded(7)) for noise in (original, restored))
    assert torch.equal(one, other)


def test_load_refuses_another_shape():
    state = ExplorationNoise((2, 4, 2), 0.9).state_dict()
    with pytest.raises(ValueError, match="'noise' has shape"):
        ExplorationNoise(SHAPE, 0.9).load_state_dict(state)
