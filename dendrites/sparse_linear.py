"""A linear map with an exact weight density, alone or as a stack of independent copies."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from dendrites.active_product import leaves_out_silent, product_of_active
from dendrites.checks import require_features, require_fraction, require_positive
from dendrites.winners import KWinners, ReLU
from dendrites.winners_product import product_of_winners, skips_losers


def exact_density_mask(
    shape: tuple[int, ...], density: float, generator: Generator | None = None
) -> Tensor | None:
    """Random boolean mask with exactly `nonzeros_per_row` ones in every row.

    Rows run along the last dimension; positions are drawn without replacement. `None` if every
    weight stays, so that dense layers pay nothing.
    """
    ones = nonzeros_per_row(shape[-1], density)
    if ones == shape[-1]:
        return None
    return torch.rand(shape, generator=generator).argsort(dim=-1) < ones


def nonzeros_per_row(columns: int, density: float) -> int:
    """Non-zero weights in a row of `columns`: `round(density * columns)`, at least 1."""
    return max(1, round(density * columns))


def stacked_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, product_dtype: torch.dtype | None = None
) -> Tensor:
    """`x @ weight.T + bias`, one map or E independent maps in one product.

    Args:
        x: `[..., in]`, or `[E, ..., in]` for a stack.
        weight: `[out, in]`, or `[E, out, in]`.
        bias: `[out]`, or `[E, out]`.
        product_dtype: of the product, `None` for the weights'; bfloat16 rounds its factors and its
            result.

    Returns:
        `[..., out]`, or `[E, ..., out]`, of the dtype of `weight`.
    """
    dtype = product_dtype or weight.dtype
    if weight.dim() == 2:
        out = F.linear(x.to(dtype), weight.to(dtype)).to(weight.dtype)
        return out if bias is None else out + bias
    rows = x.flatten(1, -2) if x.dim() > 2 else x.unsqueeze(1)  # [E, n, in]
    out = torch.bmm(rows.to(dtype), weight.to(dtype).mT).to(weight.dtype)  # [E, n, out]
    if bias is not None:
        out = out + bias.unsqueeze(1)
    return out.view(*x.shape[:-1], weight.shape[-2])


class SparseLinear(nn.Module):
    """Linear map whose weight keeps an exact density through training.

    Masked weights start at 0 and their gradient is masked, so Adam never moves them. The mask is kept as
    1.0 and 0.0: a product with booleans takes twice the time on a CPU.

    Initialisation (as in the code published with arXiv 2201.00042): weights `U(-h, h)` with
    `h = 1 / sqrt(input_density * weight_density * in)`, so that sparse inputs and sparse rows give
    outputs of the usual size; biases `U(-1/sqrt(in), 1/sqrt(in))`.

    Args:
        in_features, out_features: sizes.
        weight_density: fraction of non-zero weights in each row, in (0, 1].
        input_density: expected fraction of non-zero inputs, for the initialisation only.
        stack: `None` for one map, or E independent copies with a leading dimension.
        product_dtype: dtype of the product, `None` for the weights'; the attribute may be changed.
        generator: source of all randomness, `None` for torch's own.

    Raises:
        ValueError: a size is below 1, or a density outside (0, 1].
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        weight_density: float = 1.0,
        input_density: float = 1.0,
        stack: int | None = None,
        product_dtype: torch.dtype | None = None,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        require_positive(in_features=in_features, out_features=out_features, stack=stack)
        require_fraction("weight_density", weight_density)
        require_fraction("input_density", input_density)
        self.in_features, self.out_features, self.stack = in_features, out_features, stack
        self.weight_density, self.product_dtype = weight_density, product_dtype
        lead = () if stack is None else (stack,)
        shape = (*lead, out_features, in_features)
        bound = 1 / math.sqrt(input_density * weight_density * in_features)
        bias_bound = 1 / math.sqrt(in_features)
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(
            torch.empty(*lead, out_features).uniform_(-bias_bound, bias_bound, generator=generator)
        )
        mask = exact_density_mask(shape, weight_density, generator)
        self.register_buffer("mask", None if mask is None else mask.to(self.weight.dtype))
        self.mask: Tensor | None
        if self.mask is not None:
            self.weight.data *= self.mask

    def forward(
        self,
        x: Tensor,
        after: Callable[[Tensor], Tensor] | None = None,
        one_context: bool = False,
    ) -> Tensor:
        """`[..., in] -> [..., out]`; with a stack `[E, ..., in] -> [E, ..., out]`.

        Args:
            x: the input.
            after: an activation that x has still to go through. With k-winners, it and the product are
                one operation where that is faster (`skips_losers`).
            one_context: whether one context gates all samples before winners are chosen among the
                outputs, so that few units are active at all: the others are left out where that is
                faster (`leaves_out_silent`).

        Raises:
            ValueError: x is of another size, or of another stack.
        """
        require_features("input", x, self.in_features, self.stack)
        dtype = self.product_dtype or self.weight.dtype
        # Silent columns get no gradient: right behind an activation that passes none to them.
        passes_none = isinstance(after, KWinners | ReLU) or not x.requires_grad
        if one_context and passes_none and leaves_out_silent(x, self.weight, dtype):
            x = x if after is None else after(x)
            return product_of_active(x, self.weight, self.mask, dtype) + self.bias
        weight = self.weight if self.mask is None else self.weight * self.mask
        if isinstance(after, KWinners) and self._skips_losers(x, after):
            product = product_of_winners(x, after.count, weight)
            lead = () if self.stack is None else (self.stack, *(1,) * (x.dim() - 2))
            return product + self.bias.view(*lead, self.out_features)
        x = x if after is None else after(x)
        return stacked_linear(x, weight, self.bias, self.product_dtype)

    def _skips_losers(self, x: Tensor, after: KWinners) -> bool:
        hooks = [after._forward_hooks, after._forward_pre_hooks]
        hooks += [after._backward_hooks, after._backward_pre_hooks]
        if any(hooks) or x.dtype != self.weight.dtype:  # hooks want to see all activations
            return False
        dtype = self.product_dtype or self.weight.dtype
        return skips_losers(self.in_features, after.count, self.out_features, dtype, x.device)

    def extra_repr(self) -> str:
        """Sizes and density, for `print`."""
        stack = "" if self.stack is None else f", stack={self.stack}"
        dtype = "" if self.product_dtype is None else f", product_dtype={self.product_dtype}"
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"weight_density={self.weight_density}{stack}{dtype}"
        )
