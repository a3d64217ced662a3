"""Operators of our own: what they give, what the compiler is told, and that no gradient is made up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dendrites import k_winners
from dendrites.active_product import product_of_active
from dendrites.operators import OPERATORS, operator
from dendrites.winners_product import product_of_winners

WEIGHT = torch.randn(16, 32, generator=torch.Generator().manual_seed(0))


@operator("test_operators::halved", lambda x, of: x.new_empty(x.shape))
def halved(x: Tensor, of: int) -> Tensor:
    """Half of x where it is above `of`, else 0, chosen in Python, where no compiler can follow."""
    return torch.tensor([[value / 2 if value > of else 0.0 for value in row] for row in x.tolist()])


def test_an_operator_gives_what_its_function_gives() -> None:
    x = torch.tensor([[1.0, 4.0, -3.0]])
    assert halved(x, 2).tolist() == [[0.0, 2.0, 0.0]]
    assert OPERATORS["test_operators::halved"](x, 2).tolist() == [[0.0, 2.0, 0.0]]
    torch.library.opcheck(torch.ops.test_operators.halved, (x, 2), test_utils="test_faketensor")


def test_an_operator_gives_no_gradient_rather_than_a_wrong_one() -> None:
    x = torch.ones(1, 3, requires_grad=True)
    with pytest.raises(RuntimeError, match="no gradient"):
        (halved(x, 0) * x).sum().backward()


@pytest.mark.parametrize(
    "function",
    [
        lambda x: k_winners(x, 8),
        lambda x: k_winners(x.double(), 8),
        lambda x: product_of_winners(x, 8, WEIGHT),
        lambda x: product_of_active(x, WEIGHT, None, torch.float32),
    ],
    ids=["winners in C", "winners by numpy", "product of winners", "product of active units"],
)
def test_a_second_derivative_is_refused(function: Callable[[Tensor], Tensor]) -> None:
    """As a gradient penalty asks for it."""
    x = torch.randn(4, 32, generator=torch.Generator().manual_seed(1)).requires_grad_()
    (gradient,) = torch.autograd.grad((function(x) ** 3).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivative"):
        gradient.square().sum().backward()
