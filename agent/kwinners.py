"""k-winners-take-all: keep the k largest units of a row, silence the rest.

Source: Ahmad & Scheinkman 2019 (arXiv 1903.11257); used as in Iyer et al. 2022 (arXiv 2201.00042):
no ReLU, so a negative winner passes, and no boosting.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from agent.native import load_kth_largest


def winners_count(units: int, density: float) -> int:
    """How many win in a layer of `units`: `round(units * density)`, at least 1."""
    return max(1, round(units * density))


def k_winners(x: Tensor, k: int) -> Tensor:
    """Keep the k largest values along the last dimension, set the others to 0.

    Ties rule: every value equal to the k-th largest is kept, so more than k can win. The gradient is
    the identity on winners and 0 elsewhere. A row with a NaN or infinity passes unchanged, so that
    the fault shows.

    Args:
        x: `[..., units]`, floating point.
        k: winners per row; `k >= units` returns `x`.

    Returns:
        `[..., units]`, dtype of `x`.
    """
    if k >= x.shape[-1]:
        return x
    return torch.where(x < kth_largest(x.detach(), k), 0.0, x)


@torch.library.custom_op("active_dendrites::kth_largest", mutates_args=())
def kth_largest(x: Tensor, k: int) -> Tensor:
    """The k-th largest value of each row: `[..., units] -> [..., 1]`, dtype of `x`; not differentiable.

    An operator of its own, so that a compiler computes it once instead of fusing (and repeating) it
    into everything that uses the result. The CPU uses `kth_largest.c`, or numpy's partition where
    there is no C compiler; other devices use `torch.topk`. All give the same value. NaN for a row
    with a NaN or infinity.
    """
    if x.device.type != "cpu":
        return torch.where(
            x.isfinite().all(dim=-1, keepdim=True), x.topk(k, dim=-1).values[..., -1:], torch.nan
        )
    rows = x.detach().float().contiguous().view(-1, x.shape[-1])
    kernel = load_kth_largest()
    out = torch.empty(*x.shape[:-1], 1)
    if kernel is not None:
        kernel(rows.data_ptr(), rows.shape[0], rows.shape[1], k, out.data_ptr())
    else:
        values = np.partition(rows.numpy(), -k, axis=-1)[:, -k]
        values[~np.isfinite(rows.numpy()).all(axis=-1)] = np.nan
        out.copy_(torch.from_numpy(values).view_as(out))
    return out.to(x.dtype)


@kth_largest.register_fake
def _(x: Tensor, k: int) -> Tensor:
    return x.new_empty(*x.shape[:-1], 1)
