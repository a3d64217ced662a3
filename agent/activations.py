"""Hidden activations: ReLU, and k-winners-take-all, which keeps the k largest units of a row.

Source of k-winners: Ahmad & Scheinkman 2019 (arXiv 1903.11257); used as in Iyer et al. 2022
(arXiv 2201.00042): no ReLU, so a negative winner passes, and no boosting.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from agent.native import load_kernels


def winners_count(units: int, density: float) -> int:
    """How many win in a layer of `units`: `round(units * density)`, at least 1."""
    return max(1, round(units * density))


def k_winners(x: Tensor, k: int) -> Tensor:
    """Keep the k largest values along the last dimension, set the others to 0.

    Ties rule: every value equal to the k-th largest is kept, so more than k can win. The gradient is
    the identity on non-zero winners and 0 elsewhere. A row with a NaN or infinity passes unchanged,
    so that the fault shows.

    Args:
        x: `[..., units]`, floating point; float32 is fastest on the CPU.
        k: winners per row; `k >= units` returns `x`.

    Returns:
        `[..., units]`, dtype of `x`.
    """
    if k >= x.shape[-1]:
        return x
    winners: Tensor = _KWinners.apply(x, k)
    return winners


def relu(x: Tensor) -> Tensor:
    """`max(x, 0)`, with the gradient 0 at 0; its derivative is kept out of the compiler's hands."""
    out: Tensor = _ReLU.apply(x)
    return out


# Operators of their own, opaque to torch.compile: fused into the graph, the selection would be
# repeated for every use of its result, and the mask of active units would cross from the forward to
# the backward pass as booleans, which the compiler's CPU code stores and reads one by one.


@torch.library.custom_op("active_dendrites::k_winners", mutates_args=())
def _winners(x: Tensor, k: int) -> Tensor:
    """The CPU uses `kwinners.c`, or numpy's partition without a C compiler; a GPU `torch.topk`."""
    rows = x.detach().contiguous().view(-1, x.shape[-1])
    kernels = load_kernels()
    if _c_can(x) and kernels is not None:
        out = torch.empty_like(rows)
        threads = torch.get_num_threads()
        kernels.k_winners(rows.data_ptr(), *rows.shape, k, out.data_ptr(), threads)
        return out.view(x.shape)
    if x.device.type == "cpu" and x.dtype != torch.bfloat16:  # numpy has no bfloat16
        threshold = torch.from_numpy(np.partition(rows.numpy(), -k, axis=-1)[:, -k, None])
    else:
        threshold = rows.topk(k, dim=-1).values[:, -1:]
    threshold = torch.where(rows.isfinite().all(dim=-1, keepdim=True), threshold, torch.nan)
    return torch.where(rows < threshold, 0.0, rows).view(x.shape)


@torch.library.custom_op("active_dendrites::gradient_of_active", mutates_args=())
def _gradient_of_active(grad: Tensor, output: Tensor) -> Tensor:
    """The gradient of active units, recognised by their output, which the next layer keeps anyway."""
    kernels = load_kernels()
    if kernels is None or not _c_can(grad):
        return torch.where(output != 0, grad, 0.0)
    grad, output = grad.contiguous(), output.contiguous()
    masked = torch.empty_like(grad)
    pointers, threads = (grad.data_ptr(), output.data_ptr()), torch.get_num_threads()
    kernels.gradient_of_active(*pointers, grad.numel(), masked.data_ptr(), threads)
    return masked


def _c_can(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32


def _like_first(first: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(first, memory_format=torch.contiguous_format)


_winners.register_fake(_like_first)
_gradient_of_active.register_fake(_like_first)


class _KWinners(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, k: int) -> Tensor:
        winners: Tensor = _winners(x, k)
        return winners

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _gradient_of_active(grad, ctx.saved_tensors[0]), None


class _ReLU(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.relu(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        masked: Tensor = _gradient_of_active(grad, ctx.saved_tensors[0])
        return masked
