"""The optimiser against torch's own, over many steps."""

from __future__ import annotations

import torch
from torch import nn

from agent.descent import Descent


def test_ten_steps_equal_those_of_torchs_adamw_with_one_left_out() -> None:
    """Changing gradients, so that both moments and their corrections count; one is not finite."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4), (5,)]
    start = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    ours, theirs = ([nn.Parameter(one.clone()) for one in start] for _ in range(2))
    descent = Descent(ours, lr=0.01, weight_decay=0.1)
    reference = torch.optim.AdamW(theirs, lr=0.01, weight_decay=0.1)  # betas 0.9 and 0.999
    for step in range(10):
        gradients = [
            10 ** (step % 3) * torch.randn(shape, generator=generator, dtype=torch.float64)
            for shape in shapes
        ]
        if step == 4:
            gradients[1][2] = torch.inf
        skipped = descent.step(gradients).skipped
        assert float(skipped) == (step == 4)
        if step != 4:
            for parameter, gradient in zip(theirs, gradients, strict=True):
                parameter.grad = gradient
            reference.step()
        for mine, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-9)
