"""The learner's process on a CPU: what it computes with."""

from __future__ import annotations

import torch

from agent.descent import Descent
from machine.device import configure_cpu


def test_subnormals_are_zero_for_the_learner() -> None:
    tiny = torch.full((64,), 1e-20)
    assert tiny.square().count_nonzero() == 64
    configure_cpu(torch.get_num_threads())
    assert tiny.square().count_nonzero() == 0


def test_moments_of_a_silent_weight_reach_zero() -> None:
    configure_cpu(torch.get_num_threads())
    descent = Descent([torch.nn.Parameter(torch.ones(2))], lr=1e-3, weight_decay=0.0)
    for step in range(1000):
        descent.step([torch.tensor([1e-3, 1e-3 if step == 0 else 0.0])])
    (moment,) = (value for name, value in descent.state_dict().items() if "mean" in name)
    assert moment[0] > 9e-4
    assert moment[1] == 0  # without, it stays at 5.6e-45, rounded up again in each step
