"""How many parameters a network has when masked weights do not count."""

from __future__ import annotations

from torch import nn

from dendrites.segments import DendriticSegments
from dendrites.sparse_linear import SparseLinear


def nonzero_parameters(module: nn.Module) -> int:
    """Parameters of `module` and all its parts, less the weights that masks hold at 0."""
    total = sum(parameter.numel() for parameter in module.parameters())
    for part in module.modules():
        if isinstance(part, SparseLinear | DendriticSegments) and part.mask is not None:
            total -= int((part.mask == 0).sum())
    return total
