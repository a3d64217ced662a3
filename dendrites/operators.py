"""Operators of our own for torch: torch.compile calls them and does not look into them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

Function = TypeVar("Function", bound=Callable[..., Any])

OPERATORS: dict[str, Callable[..., Any]] = {}
"""Name -> the Python code of each operator, `namespace::name` as given."""


def operator(name: str, like: Callable[..., Any]) -> Callable[[Function], Function]:
    """Make a function an operator, for any device and without a gradient: asking for one is an error.

    What `torch.library.custom_op` makes loads the whole compiler at its first call, also where nothing is
    compiled: a second and 70 MB in every process.

    Args:
        name: `namespace::name`.
        like: takes the same arguments without their numbers, and gives empty tensors of the shapes,
            dtypes and strides that come out.
    """
    namespace, _, short = name.partition("::")

    def make(function: Function) -> Function:
        OPERATORS[name] = function
        schema = torch.library.infer_schema(function, mutates_args=())
        torch.library.define(name, schema, tags=(torch.Tag.pt2_compliant_tag,))
        torch.library.impl(name, "CompositeExplicitAutograd", function)
        torch.library.register_fake(name, like)
        torch.library.register_autograd(name, _no_gradient)
        return cast(Function, getattr(getattr(torch.ops, namespace), short).default)

    return make


def _no_gradient(ctx: object, *grads: object) -> None:
    raise RuntimeError(
        "this operator has no gradient, so k-winners and products after them have no second derivative"
    )
