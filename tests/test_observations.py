"""How the networks see an observation, against numpy and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from agent.observations import (
    MAX_SPREADS,
    MIN_SPREAD,
    ObservationNormalizer,
    relative,
)
from agent.plan import resolve
from agent.sac import SAC
from configs import load_config
from configs.schema import NormalizationConfig

TASKS, COPIES, OBS = 3, 2, 4
PLAIN = NormalizationConfig(observation_frame="world", observation_scaling="none")
SCALED = replace(PLAIN, observation_scaling="per_task")
RELATIVE = replace(SCALED, observation_frame="relative")


def observations(steps, seed, size=OBS):
    """`[steps, T, N, size]` far from zero, of all sizes, with a feature that never moves."""
    rng = np.random.default_rng(seed)
    offset = rng.uniform(-5, 5, (TASKS, 1, size))
    spread = np.resize([0.0, 0.05, 1.0, 30.0], size)
    noise = rng.standard_normal((steps, TASKS, COPIES, size))
    return (offset + spread * noise).astype(np.float32)


def ends(*where):
    done = np.zeros((TASKS, COPIES), bool)
    for place in where:
        done[place] = True
    return done


def fed(config, obs, size=OBS):
    """A normalizer that has seen observations `[steps, T, N, size]`; an episode ends at the last."""
    normalizer = ObservationNormalizer(config, TASKS, size)
    for step, values in enumerate(obs):
        normalizer.observe(values, ends((0, 0)) if step == len(obs) - 1 else ends())
    return normalizer


def naive(obs, seen):
    """Observations `[T, n, size]` in units of all of those that were seen, in float64."""
    scaled = np.empty(obs.shape)
    for task in range(TASKS):
        own = np.array(
            [one for step in seen for one in step[task]], np.float64
        )  # [steps * N, size]
        spread = np.maximum(own.std(axis=0), MIN_SPREAD)
        scaled[task] = (obs[task].astype(np.float64) - own.mean(axis=0)) / spread
    return np.clip(scaled, -MAX_SPREADS, MAX_SPREADS)


# --- scaling -----------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 30])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_learned_and_applied_equals_numpy_over_everything_seen(steps, seed):
    seen = observations(steps, seed)
    normalizer = fed(SCALED, seen)
    new = observations(20, seed + 10).swapaxes(0, 1).reshape(TASKS, -1, OBS)  # [T, n, obs]
    scaled = normalizer(torch.from_numpy(new))
    assert scaled.dtype == torch.float32
    # a float32 mean of 5 and a spread of 0.02: an error of 5 * 2^-24 / 0.02
    np.testing.assert_allclose(scaled, naive(new, seen), rtol=1e-4, atol=1e-4)
    assert (normalizer.spread[:, 0] == np.float32(MIN_SPREAD)).all()  # the one that never moves


def test_the_scale_changes_only_when_an_episode_ends_and_then_that_of_all_tasks():
    seen = observations(5, seed=3)
    normalizer = ObservationNormalizer(SCALED, TASKS, OBS)
    obs = torch.from_numpy(seen[0])
    for step, values in enumerate(seen):
        assert torch.equal(normalizer(obs), obs.clamp(-MAX_SPREADS, MAX_SPREADS))
        normalizer.observe(values, ends((1, 0)) if step == 4 else ends())
    np.testing.assert_allclose(normalizer(obs), naive(seen[0], seen), rtol=1e-4, atol=1e-4)
    frozen = normalizer(obs)
    normalizer.observe(100 * seen[0], ends())
    assert torch.equal(normalizer(obs), frozen)


def test_every_sample_of_a_batch_is_scaled_by_its_own_task():
    normalizer = fed(SCALED, observations(30, seed=4))
    obs = torch.from_numpy(observations(10, seed=5)).transpose(0, 1).flatten(1, 2)  # [T, 20, obs]
    task = torch.arange(TASKS).repeat_interleave(20)
    order = torch.randperm(TASKS * 20, generator=torch.Generator().manual_seed(0))
    shuffled = normalizer(obs.flatten(0, 1)[order], task[order])
    assert torch.equal(shuffled, normalizer(obs).flatten(0, 1)[order])


def test_what_is_far_away_is_cut():
    normalizer = fed(SCALED, observations(30, seed=4))
    far = torch.full((TASKS, 1, OBS), 1e6)
    assert (normalizer(far) == MAX_SPREADS).all()
    assert (normalizer(-far) == -MAX_SPREADS).all()


def test_without_scaling_the_networks_see_what_the_simulator_says():
    normalizer = fed(PLAIN, observations(30, seed=4))
    obs = torch.from_numpy(1e6 * observations(1, seed=5)[0])
    assert torch.equal(normalizer(obs), obs)
    assert normalizer.moments.count.tolist() == [0] * TASKS


def test_the_scale_is_part_of_the_module_and_the_frame_is_not():
    """The frame is in the code; what was learned travels with the agent."""
    original = fed(SCALED, observations(9, seed=6))
    assert set(ObservationNormalizer(RELATIVE, TASKS, 39).state_dict()) == {"mean", "spread"}
    restored = ObservationNormalizer(SCALED, TASKS, OBS)
    restored.load_state_dict(original.state_dict())
    obs = torch.from_numpy(observations(1, seed=7)[0])
    assert torch.equal(restored(obs), original(obs))


def test_before_any_episode_has_ended_nothing_is_scaled():
    normalizer = ObservationNormalizer(SCALED, TASKS, OBS)
    obs = torch.linspace(-9, 9, TASKS * OBS).view(TASKS, 1, OBS)
    assert torch.equal(normalizer(obs), obs)


# --- the frame ---------------------------------------------------------------------------------


def by_hand(obs):
    """The relative frame of one observation `[39]`, in plain indices (float64)."""
    seen = obs.copy()
    for axis in range(3):
        seen[4 + axis] = obs[4 + axis] - obs[axis]  # object from the hand
        seen[36 + axis] = obs[36 + axis] - obs[4 + axis]  # goal from the object
    for feature in range(18):
        seen[18 + feature] = obs[feature] - obs[18 + feature]  # change since the step before
    return seen


def test_the_relative_frame_is_differences_and_loses_nothing():
    obs = np.random.default_rng(0).uniform(-1, 1, (20, 39))
    seen = relative(torch.from_numpy(obs)).numpy()
    assert np.array_equal(seen, np.stack([by_hand(one) for one in obs]))
    frame = relative(torch.eye(39, dtype=torch.float64)).numpy()  # the same as a matrix
    assert np.linalg.matrix_rank(frame) == 39
    np.testing.assert_allclose(obs @ frame, seen, atol=1e-15)
    with pytest.raises(ValueError, match="39 features, not 4"):
        ObservationNormalizer(RELATIVE, TASKS, 4)


@pytest.mark.parametrize("scaling", ["none", "per_task"])
def test_in_the_relative_frame_the_differences_are_scaled(scaling):
    """Not the positions that they are differences of."""
    obs = np.random.default_rng(1).uniform(-1, 1, (TASKS, 30, 39)).astype(np.float32)
    normalizer = ObservationNormalizer(replace(RELATIVE, observation_scaling=scaling), TASKS, 39)
    normalizer.observe(obs, np.ones((TASKS, 30), bool))
    seen = np.apply_along_axis(by_hand, -1, obs.astype(np.float64))
    if scaling == "per_task":
        seen = (seen - seen.mean(axis=1, keepdims=True)) / seen.std(axis=1, keepdims=True)
    np.testing.assert_allclose(normalizer(torch.from_numpy(obs)), seen, atol=2e-6)


def test_differences_of_positions_are_exact_to_their_last_bit():
    """As in float64, rounded once."""
    obs = np.random.default_rng(2).uniform(-1, 1, (200, 39)).astype(np.float32)
    obs[:, 4] = obs[:, 0] * np.float32(1.000001)  # a micrometre apart
    exact = np.stack([by_hand(one) for one in obs.astype(np.float64)]).astype(np.float32)
    assert np.array_equal(relative(torch.from_numpy(obs)).numpy(), exact)


# --- in the agent ------------------------------------------------------------------------------


@pytest.mark.parametrize("normalization", [PLAIN, SCALED])
def test_the_agent_learns_from_and_acts_on_what_its_normalizer_says(normalization):
    config = load_config("smoke")
    small = {"actor_hidden": (16,), "critic_hidden": (16,), "dendritic_layers": (0,)}
    config = replace(
        config,
        env=replace(config.env, tasks=config.env.task_names[:TASKS]),
        network=replace(config.network, **small),
        normalization=normalization,
    )
    plan = replace(resolve(config, torch.device("cpu")), obs_size=OBS, action_size=2)
    agent = SAC(plan, torch.Generator().manual_seed(0))
    seen = observations(30, seed=8)
    for obs in seen:
        agent.observations.observe(obs, ends((2, 1)))
    obs = seen[0]
    expected = naive(obs, seen).astype(np.float32) if normalization is SCALED else obs
    mean, _ = agent.policy.actor(torch.from_numpy(expected))
    np.testing.assert_allclose(
        agent.policy.act(obs, None), mean.tanh().detach(), rtol=1e-3, atol=1e-4
    )
