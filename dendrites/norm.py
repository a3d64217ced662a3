"""LayerNorm, alone or as a stack of independent copies."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dendrites.checks import require_positive


class StackedLayerNorm(nn.Module):
    """LayerNorm over the last dimension (Ba et al. 2016, arXiv 1607.06450).

    Args:
        units: size of the last dimension.
        stack: `None`, or E copies, each with its own scale and shift.

    Raises:
        ValueError: a size is below 1.
    """

    def __init__(self, units: int, stack: int | None = None) -> None:
        super().__init__()
        require_positive(units=units, stack=stack)
        shape = (units,) if stack is None else (stack, units)
        self.units, self.stack = units, stack
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        """`[..., units] -> [..., units]`; with a stack `[E, ..., units]`."""
        if self.stack is None:
            return F.layer_norm(x, self.weight.shape, self.weight, self.bias)
        shape = (self.stack, *(1,) * (x.dim() - 2), self.units)  # [E, 1.., units]
        normed = F.layer_norm(x, (self.units,))
        return torch.addcmul(self.bias.view(shape), normed, self.weight.view(shape))

    def extra_repr(self) -> str:
        """Sizes, for `print`."""
        stack = "" if self.stack is None else f", stack={self.stack}"
        return f"units={self.units}{stack}"
