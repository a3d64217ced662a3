"""The policy's density: numeric integrals, slopes of distributions, its samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from network_samples import (
    ACTION,
    OBS,
    PER_TASK,
    TASKS,
    assert_close,
    make_actor,
    make_config,
    randn,
)
from scipy import integrate, stats

from agent.networks import squashed_log_prob


def log_density(action, mean, std):
    """Log pi(action) of a one-dimensional policy, through the tested function."""
    mean = torch.tensor([mean], dtype=torch.float64)
    std = torch.tensor([std], dtype=torch.float64)
    pre_tanh = torch.tensor([action], dtype=torch.float64).atanh()
    return squashed_log_prob(pre_tanh, (pre_tanh - mean) / std, std.log()).item()


POLICIES = [(0.0, 1.0), (0.5, 0.3), (-1.2, 0.7), (0.1, 0.02), (2.0, 0.5)]


@pytest.mark.parametrize(("mean", "std"), POLICIES)
def test_density_integrates_to_one(mean, std):
    total, _ = integrate.quad(
        lambda a: math.exp(log_density(a, mean, std)),
        -1,
        1,
        points=np.tanh(mean + std * np.array([-3, -1, 0, 1, 3])),
        limit=200,
    )
    assert total == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("mean", "std"), POLICIES)
def test_density_is_the_slope_of_the_transformed_normals_distribution(mean, std):
    def distribution(action):
        return stats.norm.cdf(math.atanh(action), mean, std)

    for action in np.tanh(mean + std * np.linspace(-2, 2, 9)):
        h = 1e-5 * (1 - action**2) * std
        slope = (distribution(action + h) - distribution(action - h)) / (2 * h)
        assert math.exp(log_density(action, mean, std)) == pytest.approx(slope, rel=1e-5)


def test_log_probabilities_of_action_dimensions_add_up():
    pre_tanh, noise, log_std = (randn(6, 3, seed=seed) for seed in (1, 2, 3))
    together = squashed_log_prob(pre_tanh, noise, log_std)
    apart = [
        squashed_log_prob(pre_tanh[:, i : i + 1], noise[:, i : i + 1], log_std[:, i : i + 1])
        for i in range(3)
    ]
    assert together.shape == (6,)
    assert_close(together, sum(apart))


@pytest.mark.parametrize("u", [-40.0, -12.0, 12.0, 40.0])
def test_log_probability_is_exact_where_the_action_saturates(u):
    # tanh(u) is 1 in float32 here; log(1 - tanh^2) = -2 log cosh u stays finite
    log_cosh = abs(u) + math.log1p(math.exp(-2 * abs(u))) - math.log(2)
    expected = stats.norm.logpdf(0.0) + 2 * log_cosh
    zero = torch.zeros(1)
    actual = squashed_log_prob(torch.tensor([u]), zero, zero)
    assert actual.item() == pytest.approx(expected, rel=1e-6)


def test_samples_follow_mean_and_deviation_and_carry_their_log_probability():
    actor = make_actor(make_config())
    obs, noise = randn(TASKS, PER_TASK, OBS), randn(TASKS, PER_TASK, ACTION, seed=2)
    mean, log_std = actor(obs)
    action, log_prob = actor.sample(obs, noise)
    assert_close(action, torch.tanh(mean + log_std.exp() * noise))
    squashed = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(mean, log_std.exp()), torch.distributions.TanhTransform()
    )
    assert_close(log_prob, squashed.log_prob(action).sum(-1))


def test_log_deviation_stays_within_its_bounds():
    actor = make_actor(make_config(), log_std_bounds=(-0.5, 0.25))
    actor.head.bias.data[ACTION:] = torch.tensor([50.0, -50.0])
    _, log_std = actor(randn(TASKS, PER_TASK, OBS))
    assert log_std[..., 0].unique().tolist() == [0.25]
    assert log_std[..., 1].unique().tolist() == [-0.5]
