"""The losses by hand."""

from __future__ import annotations

import math

import pytest
import torch

from agent.losses import actor_loss, task_weights, td_target, temperature_loss


def float64(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_td_target_by_hand():
    target = td_target(
        reward=float64(1.0, 1.0, 2.0),
        discount=float64(0.9, 0.0, 0.9),  # the second terminated
        next_q=float64([3.0, 3.0, 4.0], [5.0, 5.0, 1.0]),
        next_log_prob=float64(-1.0, -1.0, 0.5),
        temperature=float64(0.5, 0.5, 4.0),
    )
    # 1 + 0.9 (3 + 0.5); terminated: the reward alone; 2 + 0.9 (1 - 2)
    assert target.tolist() == pytest.approx([4.15, 1.0, 1.1])


def test_actor_loss_by_hand():
    q = float64([3.0, 4.0], [5.0, 1.0])
    temperature, weight = float64(0.5, 2.0), float64(1.5, 0.5)
    loss = actor_loss(q, log_prob=float64(-1.0, 0.5), temperature=temperature, weight=weight)
    assert loss.item() == pytest.approx((1.5 * (-0.5 - 3) + 0.5 * (1.0 - 1)) / 2)


def test_task_weights_by_hand():
    temperature = float64(0.1, 0.2, 0.5)  # inverse: 10, 5, 2
    assert task_weights(temperature, inverse=False).tolist() == [1, 1, 1]
    expected = [30 / 17, 15 / 17, 6 / 17]
    assert task_weights(temperature, inverse=True).tolist() == pytest.approx(expected)


def test_temperature_loss_by_hand():
    log_temperature = float64(math.log(0.5), math.log(2.0)).requires_grad_()
    loss = temperature_loss(log_temperature, float64(-1.0, 0.5), target_entropy=-1.5)
    # -(-0.693147 * -2.5 + 0.693147 * -1.0) / 2
    assert loss.item() == pytest.approx(-0.5198604)
    (gradient,) = torch.autograd.grad(loss, [log_temperature])
    assert gradient.tolist() == pytest.approx([2.5 / 2, 1.0 / 2])
