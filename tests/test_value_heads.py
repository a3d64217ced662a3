"""How a critic's outputs stand for a value: by hand and by numeric integration."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from agent.value_heads import HLGaussValue, ScalarValue, make_value_head
from configs.agent import AgentConfig


def test_scalar_value_by_hand():
    value, raw = ScalarValue(), torch.tensor([[[1.0], [2.0]], [[-1.0], [5.0]]])
    assert value.output_size == 1
    assert value.mean(raw).tolist() == [[1.0, 2.0], [-1.0, 5.0]]
    loss = value.loss(raw, torch.tensor([3.0, 2.0]))
    assert loss.tolist() == [[2.0, 0.0], [8.0, 4.5]]


BINS, LOW, HIGH = 11, -2.0, 3.0
WIDTH = (HIGH - LOW) / BINS
TARGETS = [-2.0, -1.9, -0.5, 0.0, 0.123, 1.0, 2.99, 3.0]


def naive_probabilities(target):
    """Mass of N(target, (0.75 width)^2) in each bin, renormalised, by numeric integration."""
    edges = [LOW + i * WIDTH for i in range(BINS + 1)]

    def density(x):
        return stats.norm.pdf(x, target, 0.75 * WIDTH)

    masses = [integrate.quad(density, a, b)[0] for a, b in itertools.pairwise(edges)]
    return [mass / sum(masses) for mass in masses]


@pytest.mark.parametrize("target", TARGETS)
def test_target_probabilities_equal_numeric_integrals(target):
    actual = HLGaussValue(BINS, LOW, HIGH).target_probabilities(torch.tensor(target))
    assert actual.tolist() == pytest.approx(naive_probabilities(target), abs=1e-6)


def test_target_probabilities_sum_to_one_everywhere():
    target = torch.linspace(-50, 50, 999).view(27, 37)
    probabilities = HLGaussValue(101, -10.0, 10.0).target_probabilities(target)
    assert probabilities.shape == (27, 37, 101)
    assert (probabilities >= 0).all()
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(27, 37), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("outside", "clamped"), [(3.5, 3.0), (1e6, 3.0), (-3.0, -2.0)])
def test_targets_outside_the_support_are_clamped_to_it(outside, clamped):
    value = HLGaussValue(BINS, LOW, HIGH)
    far = value.target_probabilities(torch.tensor(outside))
    assert far.tolist() == pytest.approx(naive_probabilities(clamped), abs=1e-6)


def test_the_mean_of_the_projection_is_the_target_inside_the_support():
    value = HLGaussValue(101, -10.0, 10.0)
    target = torch.linspace(-9.3, 9.3, 501)  # four sigma from the ends
    logits = value.target_probabilities(target).clamp(min=1e-30).log()
    torch.testing.assert_close(value.mean(logits), target, rtol=0, atol=1e-3)


def test_the_mean_of_uniform_logits_is_the_middle_and_of_a_sharp_one_its_center():
    value = HLGaussValue(BINS, LOW, HIGH)
    logits = torch.zeros(2, BINS)
    logits[1, 8] = 100
    assert value.mean(logits).tolist() == pytest.approx([0.5, LOW + 8.5 * WIDTH], abs=1e-6)


def test_categorical_loss_equals_a_float64_cross_entropy():
    raw = 3 * torch.randn(2, len(TARGETS), BINS, generator=torch.Generator().manual_seed(0))
    loss = HLGaussValue(BINS, LOW, HIGH).loss(raw, torch.tensor(TARGETS))
    probabilities = np.array([naive_probabilities(target) for target in TARGETS])
    log_softmax = special.log_softmax(raw.double().numpy(), axis=-1)
    expected = -(probabilities * log_softmax).sum(-1)
    np.testing.assert_allclose(loss.numpy(), expected, rtol=2e-6)


def test_categorical_loss_is_smallest_at_the_target_distribution():
    value = HLGaussValue(BINS, LOW, HIGH)
    target = torch.tensor([0.3])
    best = value.target_probabilities(target).clamp(min=1e-12).log().requires_grad_()
    (gradient,) = torch.autograd.grad(value.loss(best, target).sum(), [best])
    assert gradient.abs().max() < 1e-6


def test_the_config_names_the_value_head():
    config = AgentConfig(value_bins=7, value_range=(-3.0, 4.0))
    assert isinstance(make_value_head(replace(config, critic_loss="mse")), ScalarValue)
    head = make_value_head(replace(config, critic_loss="hl_gauss"))
    assert isinstance(head, HLGaussValue)
    assert (head.output_size, head.low, head.high) == (7, -3.0, 4.0)
    assert head.edges.tolist() == [-3, -2, -1, 0, 1, 2, 3, 4]
    assert head.centers.tolist() == [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5]
    assert not head.state_dict()  # nothing that a checkpoint would have to hold
