"""k-winners-take-all: keep the k largest units of a row, silence the rest.

Source: Ahmad & Scheinkman 2019 (arXiv 1903.11257); used as in Iyer et al. 2022 (arXiv 2201.00042):
no ReLU, so a negative winner passes, and no boosting.
"""

from __future__ import annotations

import torch
from torch import Tensor


def winners_count(units: int, density: float) -> int:
    """K for a layer of `units`: `round(units * density)`, at least 1."""
    return max(1, round(units * density))


def k_winners(x: Tensor, k: int) -> Tensor:
    """Keep the k largest values along the last dimension, set the others to 0.

    Ties rule: every value equal to the k-th largest is kept, so more than k can win. The gradient is
    the identity on winners and 0 elsewhere.

    Args:
        x: `[..., units]`, floating point.
        k: winners per row; `k >= units` returns `x`.

    Returns:
        `[..., units]`, dtype of `x`.
    """
    if k >= x.shape[-1]:
        return x
    threshold = x.detach().topk(k, dim=-1, sorted=True).values[..., -1:]  # [..., 1]
    return torch.where(x >= threshold, x, 0.0)
