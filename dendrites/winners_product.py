"""k-winners and the linear map after them as one operation, which leaves out the losers.

At 25 % winners three of four multiplications of a product would be with 0. Where it pays
(`skips_losers`), the winners of a sample are kept as a list, and the product and both of its gradients
go through the lists (`kernels/winners_product.c`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dendrites.checks import require_features, require_float32_on_cpu, require_positive
from dendrites.kernels import has_kernels, require_kernels
from dendrites.operators import operator

LARGEST_DENSITY = 1 / 3
"""Of winners, for which lists are faster than the dense product, on AVX2 and on AVX512."""
FEWEST_OUTPUTS = 8
"""One vector of AVX2. With fewer, most of a vector would be empty."""
MOST_WEIGHTS = 2**18
"""Of one map, 1 MB: more do not stay in the second cache, and the dense product reads them less often."""


def skips_losers(
    units: int, winners: int, outputs: int, dtype: torch.dtype, device: torch.device
) -> bool:
    """Whether a map from `units` with so many `winners` to `outputs` goes through lists here.

    A rule and no measurement, so that a machine always computes the same numbers. `dtype` is that of
    the product: processors that multiply bfloat16 natively do it several times as fast as float32.
    """
    return (
        device.type == "cpu"
        and dtype == torch.float32
        and winners <= LARGEST_DENSITY * units
        and outputs >= FEWEST_OUTPUTS
        and units * outputs <= MOST_WEIGHTS
        and has_kernels()
    )


def product_of_winners(z: Tensor, k: int, weight: Tensor) -> Tensor:
    """`k_winners(z, k) @ weight.mT`, equal to it and its gradients up to float32 rounding.

    Weights that are not finite differ: 0 times infinity is left out here, and a NaN otherwise.

    Args:
        z: `[..., in]` float32 on the CPU; with a stack `[E, ..., in]`.
        k: winners per row.
        weight: `[out, in]`, or `[E, out, in]`.

    Returns:
        `[..., out]`, or `[E, ..., out]`.

    Raises:
        ValueError: k is below 1, shapes do not fit, or a tensor is not float32 on the CPU.
    """
    require_positive(k=k)
    for name, tensor in (("z", z), ("weight", weight)):
        require_float32_on_cpu(name, tensor)
    if weight.dim() not in (2, 3):
        raise ValueError(f"weight must be [out, in] or [E, out, in], got {list(weight.shape)}")
    require_features("z", z, weight.shape[-1], weight.shape[0] if weight.dim() == 3 else None)
    product: Tensor = _ProductOfWinners.apply(z, k, weight)[0]
    return product


# A list holds a sample's winners, 8 bytes for each (`kernels/winners.h`), in a row with room for all
# units: a tie has more winners than k, and in a row with a NaN or infinity all units pass. What lies
# beyond the count is never written and never read.


@operator("dendrites::winners_product", lambda z, weight, k: _outputs(z, weight))
def _product(z: Tensor, weight: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The product `[..., out]`, the lists `[rows, in]` and where each lies `[rows, 2]`, both int64."""
    z, weight, kernels, threads = z.contiguous(), weight.contiguous(), require_kernels(), _threads()
    y, lists, spans = _outputs(z, weight)
    stack, rows, units = _sizes(z, weight)
    pointers = lists.data_ptr(), spans.data_ptr()
    kernels.k_winners_lists(z.data_ptr(), stack * rows, units, k, *pointers, threads)
    sizes, out = (stack, rows, units), weight.shape[-2]
    _check(
        kernels.winners_product(*pointers, *sizes, weight.data_ptr(), out, y.data_ptr(), threads)
    )
    return y, lists, spans


@operator(
    "dendrites::winners_input_gradient",
    lambda grad, weight, lists, spans: grad.new_empty(*grad.shape[:-1], weight.shape[-1]),
)
def _input_gradient(grad: Tensor, weight: Tensor, lists: Tensor, spans: Tensor) -> Tensor:
    """The gradient of z `[..., in]`: of the winners only, 0 for the losers."""
    grad, weight, kernels = grad.contiguous(), weight.contiguous(), require_kernels()
    z_gradient = grad.new_empty(*grad.shape[:-1], weight.shape[-1])
    sizes, out = _sizes(z_gradient, weight), weight.shape[-2]
    pointers = lists.data_ptr(), spans.data_ptr()
    products = weight.data_ptr(), out, grad.data_ptr(), z_gradient.data_ptr()
    _check(kernels.winners_input_gradient(*pointers, *sizes, *products, _threads()))
    return z_gradient


@operator(
    "dendrites::winners_weight_gradient",
    lambda grad, weight, lists, spans: weight.new_empty(weight.shape),
)
def _weight_gradient(grad: Tensor, weight: Tensor, lists: Tensor, spans: Tensor) -> Tensor:
    """The gradient of the weights, of whom only the shape is read, `[out, in]` or `[E, out, in]`."""
    grad, kernels = grad.contiguous(), require_kernels()
    w_gradient = torch.empty_like(weight, memory_format=torch.contiguous_format)
    stack, units = (weight.shape[0] if weight.dim() == 3 else 1), weight.shape[-1]
    sizes = stack, len(spans) // stack, units, weight.shape[-2]
    pointers = lists.data_ptr(), spans.data_ptr()
    products = grad.data_ptr(), w_gradient.data_ptr()
    _check(kernels.winners_weight_gradient(*pointers, *sizes, *products, _threads()))
    return w_gradient


def _outputs(z: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows = z.shape[:-1].numel()
    return (
        z.new_empty(*z.shape[:-1], weight.shape[-2]),
        z.new_empty(rows, z.shape[-1], dtype=torch.int64),
        z.new_empty(rows, 2, dtype=torch.int64),
    )


def _sizes(z: Tensor, weight: Tensor) -> tuple[int, int, int]:
    """Copies in the stack, rows of each, units."""
    stack = weight.shape[0] if weight.dim() == 3 else 1
    return stack, z.shape[:-1].numel() // stack, z.shape[-1]


def _threads() -> int:
    return torch.get_num_threads()


def _check(enough_memory: int) -> None:
    if not enough_memory:
        raise MemoryError("not enough memory for the product of winners")


class _ProductOfWinners(torch.autograd.Function):
    @staticmethod
    def forward(z: Tensor, k: int, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _product(z, weight, k)

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, int, Tensor], output: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(inputs[2], *output[1:])

    @staticmethod
    def backward(
        ctx: Any, grad: Tensor, _lists: None, _spans: None
    ) -> tuple[Tensor | None, None, Tensor | None]:
        needs_z, _, needs_weight = ctx.needs_input_grad
        saved = ctx.saved_tensors
        z_gradient = _input_gradient(grad, *saved) if needs_z else None
        w_gradient = _weight_gradient(grad, *saved) if needs_weight else None
        return z_gradient, None, w_gradient
