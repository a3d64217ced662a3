"""The linear map between units most of which are silent in the whole batch.

Under one context, the gates of a layer hold most units below their rivals in every sample: of 2048 units with
5 % winners, about 500 win at least once in a batch of 256. All others are columns of zeros, in the activations
and, because k-winners passes no gradient to losers, in the gradient that comes back. The product and its
gradients are computed for the remaining rows and columns. Nothing but zeros is left out: the numbers are those
of the dense product, up to the order of its sums.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dendrites.checks import require_float32_on_cpu
from dendrites.kernels import has_kernels, require_kernels
from dendrites.operators import operator

FEWEST_WEIGHTS = 2**18
"""Of a map: below, taking the blocks out and putting them back takes as long as it saves."""
_PRODUCT_DTYPES = (torch.float32, torch.bfloat16)
MULTIPLE = 64
"""The number of active units is rounded up to one: a matrix library prepares itself for each size it meets."""


def leaves_out_silent(x: Tensor, weight: Tensor, product_dtype: torch.dtype) -> bool:
    """Whether a product of `x [n, in]` of one context leaves out silent units here.

    A rule and no measurement, so that a machine always computes the same numbers.
    """
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and product_dtype in _PRODUCT_DTYPES
        and x.dim() == weight.dim() == 2
        and weight.numel() >= FEWEST_WEIGHTS
        and has_kernels()
    )


def product_of_active(
    x: Tensor, weight: Tensor, mask: Tensor | None, product_dtype: torch.dtype = torch.float32
) -> Tensor:
    """`x @ (weight * mask).T`, without the columns of x that are zero throughout.

    In those columns, the gradient of x is 0. That is right behind k-winners and ReLU, which pass no
    gradient to a zero. Weights that are not finite differ: 0 times infinity is left out here.

    Args:
        x: `[n, in]` float32 on the CPU: an activation's output, or an input that needs no gradient.
        weight: `[out, in]` float32.
        mask: `[out, in]` of ones and zeros, `None` for all ones.
        product_dtype: float32, or bfloat16, which rounds the factors and the result.

    Returns:
        `[n, out]` float32.

    Raises:
        ValueError: shapes do not fit, or a tensor is not float32 on the CPU.
    """
    for name, tensor in (("x", x), ("weight", weight), ("mask", mask)):
        if tensor is not None:
            require_float32_on_cpu(name, tensor)
    fits = x.dim() == weight.dim() == 2 and x.shape[1] == weight.shape[1]
    if not fits or (mask is not None and mask.shape != weight.shape):
        shapes = [None if one is None else list(one.shape) for one in (x, weight, mask)]
        raise ValueError(
            f"x, weight, mask must have shapes [n, in], [out, in], [out, in], got {shapes}"
        )
    if product_dtype not in _PRODUCT_DTYPES:
        raise ValueError(f"product_dtype must be float32 or bfloat16, got {product_dtype}")
    product: Tensor = _ProductOfActive.apply(x, weight, mask, product_dtype)
    return product


def _active(rows: Tensor) -> Tensor:
    """Which columns of `[n, units]` are not zero throughout, and some more, `[active]` int32."""
    active = rows.new_empty(rows.shape[1], dtype=torch.int32)
    count = require_kernels().active_columns(
        rows.data_ptr(), *rows.shape, MULTIPLE, active.data_ptr()
    )
    if count < 0:
        raise MemoryError("not enough memory for the product of active units")
    return active[:count]


def _block(
    matrix: Tensor,
    mask: Tensor | None,
    rows: Tensor | None,
    columns: Tensor,
    dtype: torch.dtype,
) -> Tensor:
    """`(matrix * mask)[rows][:, columns]` in a dtype; all rows where they are `None`."""
    height = len(matrix) if rows is None else len(rows)
    block = matrix.new_empty(height, len(columns), dtype=dtype)
    require_kernels().gather_block(
        *(matrix.data_ptr(), _address(mask), matrix.shape[1], _address(rows), height),
        *(columns.data_ptr(), len(columns), dtype == torch.bfloat16, block.data_ptr()),
        torch.get_num_threads(),
    )
    return block


def _put_back(
    block: Tensor, mask: Tensor | None, rows: Tensor | None, columns: Tensor, shape: torch.Size
) -> Tensor:
    """The float32 matrix whose `[rows][:, columns]` are the block times the mask; 0 elsewhere."""
    matrix = block.new_empty(shape, dtype=torch.float32)
    require_kernels().scatter_block(
        *(block.data_ptr(), block.dtype == torch.bfloat16, _address(rows), len(block)),
        *(columns.data_ptr(), len(columns), _address(mask), *shape, matrix.data_ptr()),
        torch.get_num_threads(),
    )
    return matrix


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


# Operators of their own: torch.compile cannot know how many units will be active.


@operator(
    "dendrites::active_product",
    lambda x, weight, mask, product_dtype: x.new_empty(x.shape[0], weight.shape[0]),
)
def _product(x: Tensor, weight: Tensor, mask: Tensor | None, product_dtype: torch.dtype) -> Tensor:
    x, weight, mask = x.contiguous(), weight.contiguous(), _contiguous(mask)
    columns = _active(x)
    few = _block(x, None, None, columns, product_dtype)  # [n, active]
    return (few @ _block(weight, mask, None, columns, product_dtype).T).to(x.dtype)


@operator(
    "dendrites::active_gradients",
    lambda grad, x, weight, mask, product_dtype, needs_x: (
        x.new_empty(x.shape if needs_x else 0),
        weight.new_empty(weight.shape),
    ),
)
def _gradients(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    product_dtype: torch.dtype,
    needs_x: bool,
) -> tuple[Tensor, Tensor]:
    """Of x `[n, in]` (`[0]` if it is not needed), and of the weights `[out, in]`."""
    grad, x, weight, mask = (
        grad.contiguous(),
        x.contiguous(),
        weight.contiguous(),
        _contiguous(mask),
    )
    rows, columns = _active(grad), _active(x)
    few_grad = _block(grad, None, None, rows, product_dtype)  # [n, active out]
    few_x = _block(x, None, None, columns, product_dtype)  # [n, active in]
    of_weight = _put_back(few_grad.T @ few_x, mask, rows, columns, weight.shape)
    if not needs_x:
        return x.new_empty(0), of_weight
    block = _block(weight, mask, rows, columns, product_dtype)  # [active out, active in]
    return _put_back(few_grad @ block, None, None, columns, x.shape), of_weight


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


class _ProductOfActive(torch.autograd.Function):
    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, mask: Tensor | None, product_dtype: torch.dtype
    ) -> Tensor:
        return _product(x, weight, mask, product_dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, mask, ctx.product_dtype = inputs
        ctx.save_for_backward(x, weight, mask)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        (x, weight, mask), needs_x = ctx.saved_tensors, ctx.needs_input_grad[0]
        of_x, of_weight = _gradients(grad, x, weight, mask, ctx.product_dtype, needs_x)
        return of_x if needs_x else None, of_weight, None, None
