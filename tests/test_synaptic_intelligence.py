"""Synaptic Intelligence against computations by hand and in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from continual.synaptic_intelligence import SynapticIntelligence


def step(loss: Tensor, protection: SynapticIntelligence, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    loss.backward()
    protection.before_step()
    optimizer.step()
    protection.after_step()


def test_two_weights_and_two_tasks_by_hand() -> None:
    """Task one: (a - 1)^2, so b is of no importance. Task two: (a + 1)^2 + (b - 2)^2."""
    a, b = nn.Parameter(torch.tensor([0.0])), nn.Parameter(torch.tensor([0.0]))
    protection = SynapticIntelligence([a, b], strength=0.5, damping=0.1)
    optimizer = torch.optim.SGD([a, b], lr=0.25)

    # g = 2 (0 - 1) = -2, a = 0.5, gain = 2 * 0.5 = 1; then g = -1, a = 0.75, gain = 1 + 0.25.
    for _ in range(2):
        step((a - 1).square().sum() + 0 * b.sum(), protection, optimizer)
    assert (a.item(), b.item()) == (0.75, 0.0)
    assert protection.penalty().item() == 0  # nothing is held before a task has ended
    protection.end_task()
    importance = 1.25 / (0.75**2 + 0.1)
    assert protection.importance[0].item() == pytest.approx(importance)
    assert protection.importance[1].item() == 0

    # The anchor's pull is 0 at the first step of task two: g_a = 2 (0.75 + 1) = 3.5, g_b = -4.
    step((a + 1).square().sum() + (b - 2).square().sum(), protection, optimizer)
    assert (a.item(), b.item()) == (-0.125, 1.0)
    assert protection.penalty().item() == pytest.approx(0.5 * importance * 0.875**2)
    # At the second: task's g_a = 2 (-0.125 + 1) = 1.75, pull = 2 * 0.5 * importance * (-0.875).
    step((a + 1).square().sum() + (b - 2).square().sum(), protection, optimizer)
    moved = -0.25 * (1.75 - importance * 0.875)
    assert a.item() == pytest.approx(-0.125 + moved)
    # Gains count the task's gradient only: 3.5 * 0.875 - 1.75 * moved; b: 4 * 1 + 2 * 0.5.
    protection.end_task()
    gained = max(0.0, 3.5 * 0.875 - 1.75 * moved)
    apart = (-0.125 + moved - 0.75) ** 2 + 0.1
    assert protection.importance[0].item() == pytest.approx(importance + gained / apart)
    assert protection.importance[1].item() == pytest.approx(5 / (1.5**2 + 0.1))


def test_importance_of_gradient_descent_sums_to_what_the_loss_has_lost() -> None:
    """In small steps, the gains are a path integral of the gradient: the whole decrease of the loss."""
    torch.manual_seed(0)
    x, y = torch.randn(50, 3, dtype=torch.float64), torch.randn(50, 1, dtype=torch.float64)
    linear = nn.Linear(3, 1).double()
    protection = SynapticIntelligence(linear.parameters(), strength=1.0, damping=0.1)
    optimizer = torch.optim.SGD(linear.parameters(), lr=1e-3)
    start = [parameter.detach().clone() for parameter in linear.parameters()]
    losses = []
    for _ in range(2000):
        loss = (linear(x) - y).square().mean()
        losses.append(loss.item())
        step(loss, protection, optimizer)
    protection.end_task()
    gains = [
        importance * ((parameter - before).square() + 0.1)
        for importance, parameter, before in zip(
            protection.importance, linear.parameters(), start, strict=True
        )
    ]
    end = (linear(x) - y).square().mean().item()
    assert sum(gain.sum().item() for gain in gains) == pytest.approx(losses[0] - end, rel=2e-3)


def test_a_strong_hold_keeps_what_the_first_task_needed_and_leaves_the_rest_free() -> None:
    first, second = nn.Parameter(torch.zeros(2)), torch.tensor([-1.0, 1.0])
    protection = SynapticIntelligence([first], strength=100.0, damping=0.01)
    optimizer = torch.optim.Adam([first], lr=0.01)
    for _ in range(300):
        step((first[0] - 1).square(), protection, optimizer)
    protection.end_task()
    for _ in range(1000):
        step((first - second).square().sum(), protection, optimizer)
    assert first[0].item() == pytest.approx(1, abs=0.05)
    assert first[1].item() == pytest.approx(1, abs=0.05)


def test_a_parameter_without_a_gradient_is_left_alone() -> None:
    used, unused = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    protection = SynapticIntelligence([used, unused], strength=1.0, damping=0.1)
    step(used.square().sum(), protection, torch.optim.SGD([used, unused], lr=0.1))
    protection.end_task()
    assert unused.item() == 1
    assert protection.importance[1].item() == 0


def test_large_parameters_are_held_as_the_formulas_say() -> None:
    """More numbers than are worked on at a time, of which the last are few."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(3, 2**14 + 1, dtype=torch.float64))
    protection = SynapticIntelligence([weight], strength=0.7, damping=0.1)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    theta, importance, anchor = weight.detach().clone(), 0.0, weight.detach().clone()
    for target in (torch.randn_like(theta), torch.randn_like(theta)):
        gain = torch.zeros_like(theta)
        for _ in range(3):
            step((weight - target).square().sum() / 2, protection, optimizer)
            gradient = theta - target
            move = -0.1 * (gradient + 2 * 0.7 * importance * (theta - anchor))
            gain -= gradient * move
            theta = theta + move
        torch.testing.assert_close(weight.detach(), theta)
        protection.end_task()
        importance = importance + gain.clamp(min=0) / ((theta - anchor).square() + 0.1)
        anchor = theta.clone()
        torch.testing.assert_close(protection.importance[0], importance)
