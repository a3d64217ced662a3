"""Gradient descent on a network whose parameters lie in one vector: one call steps them all."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_CACHE_LINE_BYTES = 64


class Descent:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) for the parameters of one network.

    A network has a dozen small parameters, and an optimiser that goes from one to the next spends
    more time on the way than on the sums. So all of them become views of one vector.

    Args:
        parameters: on their device and of their dtype already; they must not be moved afterwards.
        lr: learning rate.
        weight_decay: decoupled weight decay.

    Attributes:
        vector: `[P]`, all parameters, each at the start of a cache line, with zeros in between.
        optimizer: torch's AdamW of `vector`; its state and its learning rate.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        self._parameters = list(parameters)
        self.vector = nn.Parameter(gather(self._parameters))
        self._gradient = torch.zeros_like(self.vector)
        self._gradients = _views(self._gradient, self._parameters)
        self.vector.grad = self._gradient
        self.optimizer = torch.optim.AdamW(
            [self.vector], lr=lr, weight_decay=weight_decay, fused=True
        )

    def step(self, loss: Tensor) -> Tensor:
        """One step down a scalar loss; with a gradient that is not finite none.

        Returns:
            1 if nothing was changed, else 0; float32, scalar.
        """
        gradients = torch.autograd.grad(loss, self._parameters)
        torch._foreach_copy_(self._gradients, gradients)
        skip = 1 - self._gradient.sum().isfinite().float()
        self.optimizer.found_inf = skip  # type: ignore[attr-defined]  # it then leaves everything as it is
        self.optimizer.step()
        return skip


def gather(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Move parameters into a new vector, and make each of them a view of its place there.

    Returns:
        `[P]`; networks of the same shapes have the same places.
    """
    parameters = list(parameters)
    vector = parameters[0].new_zeros(sum(_room(parameter) for parameter in parameters))
    for parameter, view in zip(parameters, _views(vector, parameters), strict=True):
        parameter.data = view.copy_(parameter.data)
    return vector


def _views(vector: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    """The place of each parameter in a vector, in its shape."""
    places = vector.split([_room(parameter) for parameter in parameters])
    return [
        place[: parameter.numel()].view(parameter.shape)
        for place, parameter in zip(places, parameters, strict=True)
    ]


def _room(parameter: nn.Parameter) -> int:
    """Elements of a parameter, rounded up to whole cache lines."""
    line = _CACHE_LINE_BYTES // parameter.element_size()
    return -(-parameter.numel() // line) * line
