"""Correlated exploration noise and held actions against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agent.exploration import ExplorationNoise, HeldActions

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
    with pytest.raises(ValueError, match="'noise' is float32"):
        ExplorationNoise(SHAPE, 0.9).load_state_dict(state)


def played(held, steps, seed, policy=5.0):
    """Actions `[steps, T, N, a]` if the policy always said the same, a value no hold can have."""
    generator, shape = seeded(seed), tuple(held.state_dict()["value"].shape)
    return np.stack(
        [held.apply(np.full(shape, policy, np.float32), generator) for _ in range(steps)]
    )


def runs(series, policy=5.0):
    """Lengths of the stretches of equal held values along the first axis, the last one left out."""
    lengths = []
    for column in series.reshape(len(series), -1).T:
        edges = np.flatnonzero(np.diff(column)) + 1
        lengths += [len(piece) for piece in np.split(column, edges)[:-1] if piece[0] != policy]
    return lengths


def test_holds_begin_at_the_rate_and_last_up_to_the_longest():
    series = played(HeldActions((20, 20, 4), 0.02, 6), 500, seed=1)
    lengths = np.array(runs(series))
    assert lengths.min() == 1
    assert lengths.max() == 6
    assert lengths.mean() == pytest.approx(3.5, abs=0.05)
    # A renewal process: 1 / rate - 1 free steps before a hold, on average, and 3.5 held ones.
    share = (series[50:] != 5).mean()
    assert share == pytest.approx(3.5 / (3.5 + 1 / 0.02 - 1), rel=0.05)
    values = series[series != 5]
    assert (np.abs(values) <= 1).all()
    assert values.mean() == pytest.approx(0, abs=0.03)
    assert values.std() == pytest.approx(1 / np.sqrt(3), abs=0.02)  # uniform on [-1, 1]


def test_dimensions_are_held_on_their_own():
    held = played(HeldActions((30, 30, 4), 0.05, 10), 200, seed=2) != 5
    together = (held[..., 0] & held[..., 1])[50:].mean()
    assert together == pytest.approx(held[50:, ..., 0].mean() * held[50:, ..., 1].mean(), rel=0.1)


def test_an_ended_episode_lets_go():
    held = HeldActions(SHAPE, 0.5, 50)
    played(held, 20, seed=3)
    before = held.state_dict()["steps_left"].copy()
    done = np.zeros(SHAPE[:2], bool)
    done[1, 2] = True
    assert before[1, 2].any()
    held.forget(done)
    after = held.state_dict()["steps_left"]
    assert not after[1, 2].any()
    assert np.array_equal(after[~done], before[~done])


def test_at_rate_0_the_policy_acts_and_no_random_number_is_drawn():
    generator = seeded(6)
    actions = np.ones(SHAPE, np.float32)
    assert HeldActions(SHAPE, 0.0, 20).apply(actions, generator) is actions
    assert torch.equal(generator.get_state(), seeded(6).get_state())


def test_restored_holds_go_on_alike():
    original = HeldActions(SHAPE, 0.1, 20)
    played(original, 30, seed=7)
    restored = HeldActions(SHAPE, 0.1, 20)
    restored.load_state_dict({k: v.copy() for k, v in original.state_dict().items()})
    assert np.array_equal(played(original, 40, seed=8), played(restored, 40, seed=8))
    with pytest.raises(ValueError, match="'steps_left' is int64"):
        restored.load_state_dict(HeldActions((2, 4, 2), 0.1, 20).state_dict())


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("steps_left", -1, "'steps_left' is not within 0 and 20"),
        ("steps_left", 21, "'steps_left' is not within 0 and 20"),
        ("value", 1.5, "'value' is not within -1 and 1"),
        ("value", float("nan"), "'value' is not"),
    ],
)
def test_load_refuses_holds_that_cannot_be(name, value, fault):
    held = HeldActions(SHAPE, 0.1, 20)
    state = {key: array.copy() for key, array in held.state_dict().items()}
    state[name][1, 2, 0] = value
    with pytest.raises(ValueError, match=fault):
        held.load_state_dict(state)
    assert not held.state_dict()["value"].any()
    assert not held.state_dict()["steps_left"].any()
