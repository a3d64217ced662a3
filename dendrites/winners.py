"""Hidden activations: ReLU, and k-winners-take-all, which keeps the k largest units of a row.

Source of k-winners: Ahmad & Scheinkman 2019 (arXiv 1903.11257); used as in Iyer et al. 2022
(arXiv 2201.00042): no ReLU, so a negative winner passes, and no boosting.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dendrites.checks import require_fraction, require_positive
from dendrites.kernels import load_kernels
from dendrites.operators import operator


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

    Raises:
        ValueError: k is below 1.
    """
    require_positive(k=k)
    if k >= x.shape[-1]:
        return x
    winners: Tensor = _KWinners.apply(x, k)
    return winners


def relu(x: Tensor) -> Tensor:
    """`max(x, 0)`, with the gradient 0 at 0; its derivative is kept out of the compiler's hands."""
    out: Tensor = _ReLU.apply(x)
    return out


class KWinners(nn.Module):
    """`k_winners` as a module, for a layer of `units` of which the fraction `density` wins.

    Raises:
        ValueError: there are no units, or the density is outside (0, 1].
    """

    def __init__(self, units: int, density: float) -> None:
        super().__init__()
        require_positive(units=units)
        require_fraction("density", density)
        self.units, self.density = units, density
        self.count = winners_count(units, density)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., units] -> [..., units]`."""
        return k_winners(x, self.count)

    def extra_repr(self) -> str:
        """How many win, for `print`."""
        return f"{self.count} of {self.units} win"


class ReLU(nn.Module):
    """`relu` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        """`[...] -> [...]`."""
        return relu(x)


# Three ways to the same result, for rows of float32 on the CPU, for other numbers on the CPU, and
# for anything else.


def winners_by_c(rows: Tensor, k: int, kernels: ctypes.CDLL) -> Tensor:
    """`kwinners.c`; `rows [n, units]` is contiguous float32 on the CPU."""
    out = torch.empty_like(rows)
    threads = torch.get_num_threads()
    kernels.k_winners(rows.data_ptr(), *rows.shape, k, out.data_ptr(), threads)
    return out


def winners_by_partition(rows: Tensor, k: int) -> Tensor:
    """Numpy's partition; `rows [n, units]` is on the CPU and of a dtype that numpy has."""
    return _at_least(rows, _lowest_by_partition(rows, k))


def winners_by_topk(rows: Tensor, k: int) -> Tensor:
    """`torch.topk`; any `rows [n, units]`."""
    return _at_least(rows, _lowest_by_topk(rows, k))


def _lowest_by_partition(rows: Tensor, k: int) -> Tensor:
    """The k-th largest of each row, `[n, units] -> [n, 1]`."""
    return torch.from_numpy(np.partition(rows.numpy(), -k, axis=-1)[:, -k, None])


def lowest_by_sort(rows: Tensor, count: Tensor) -> Tensor:
    """The `count []`-th largest of each row, `[n, units] -> [n, 1]`.

    `count` stays on its device: the CPU may not wait for a GPU while CUDA records a graph.
    """
    place = (count.long() - 1).clamp(max=rows.shape[-1] - 1).expand(len(rows), 1)
    return rows.sort(dim=-1, descending=True).values.gather(-1, place)


def _lowest_by_topk(rows: Tensor, k: int) -> Tensor:
    return rows.topk(k, dim=-1).values[:, -1:]


def _at_least(rows: Tensor, threshold: Tensor) -> Tensor:
    """Values of `rows [n, units]` that reach `threshold [n, 1]`; a row with a fault whole."""
    threshold = torch.where(rows.isfinite().all(dim=-1, keepdim=True), threshold, torch.nan)
    return torch.where(rows < threshold, 0.0, rows)


def _kernels_for(x: Tensor) -> ctypes.CDLL | None:
    return load_kernels() if x.device.type == "cpu" and x.dtype == torch.float32 else None


# Operators of their own, opaque to torch.compile: fused into the graph, the selection would be
# repeated for every use of its result, and the mask of active units would cross from the forward to
# the backward pass as booleans, which the compiler's CPU code stores and reads one by one.


def _like_first(first: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(first, memory_format=torch.contiguous_format)


@operator("dendrites::k_winners", _like_first)
def _winners(x: Tensor, k: int) -> Tensor:
    rows = x.detach().contiguous().view(-1, x.shape[-1])
    kernels = _kernels_for(x)
    if kernels is not None:
        winners = winners_by_c(rows, k, kernels)
    elif x.device.type == "cpu" and x.dtype != torch.bfloat16:  # numpy has no bfloat16
        winners = winners_by_partition(rows, k)
    else:
        winners = winners_by_topk(rows, k)
    return winners.view(x.shape)


@operator("dendrites::gradient_of_active", _like_first)
def gradient_of_active(grad: Tensor, output: Tensor) -> Tensor:
    """The gradient of active units, recognised by their output, which the next layer keeps anyway."""
    kernels = _kernels_for(grad)
    if kernels is None:
        return torch.where(output != 0, grad, 0.0).contiguous()  # as the compiler was told
    grad, output = grad.contiguous(), output.contiguous()
    masked = torch.empty_like(grad)
    pointers, threads = (grad.data_ptr(), output.data_ptr()), torch.get_num_threads()
    kernels.gradient_of_active(*pointers, grad.numel(), masked.data_ptr(), threads)
    return masked


@operator("dendrites::keep_largest", _like_first)
def keep_largest(y: Tensor, score: Tensor, count: Tensor) -> Tensor:
    """`y [..., units]` where `score [..., units]` is among the `count []` largest of its row, else 0."""
    rows = score.contiguous().view(-1, y.shape[-1])
    if rows.device.type == "cpu" and rows.dtype != torch.bfloat16:
        lowest = _lowest_by_partition(rows, min(int(count), y.shape[-1]))  # [n, 1]
    else:
        lowest = lowest_by_sort(rows, count)
    return torch.where(score < lowest.view(*score.shape[:-1], 1), 0.0, y).contiguous()


class _KWinners(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, k: int) -> Tensor:
        return _winners(x, k)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return gradient_of_active(grad, ctx.saved_tensors[0]), None


class _ReLU(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.relu(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        masked: Tensor = gradient_of_active(grad, ctx.saved_tensors[0])
        return masked
