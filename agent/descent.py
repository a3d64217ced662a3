"""Gradient descent: AdamW for the parameters of a network, with little on the way to the sums."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor, nn

from continual.synaptic_intelligence import SynapticIntelligence

_BETAS, _EPSILON = (0.9, 0.999), 1e-8


class StepResult(NamedTuple):
    """What a step says of itself; float32 scalars."""

    skipped: Tensor  # 1 if nothing was changed, else 0
    gradient_norm: Tensor  # L2, over all parameters


class Descent:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) for a list of parameters.

    A gradient that is not finite changes nothing. The sums are torch's fused kernel, as in
    `torch.optim.AdamW`, whose Python around it takes three times as long at our sizes. Gradients and
    moments of all parameters lie in one vector each.

    Args:
        parameters: on their device and of their dtype already.
        lr: learning rate; the attribute may be changed.
        weight_decay: decoupled weight decay.
        protection: holds some of the parameters, and watches their steps; `None` holds none.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float,
        protection: SynapticIntelligence | None = None,
    ) -> None:
        self.parameters: list[Tensor] = list(parameters)
        self.protection = protection
        self.lr, self.weight_decay = lr, weight_decay
        first = self.parameters[0]
        size = sum(parameter.numel() for parameter in self.parameters)
        self._steps = torch.zeros((), device=first.device)
        self._gradient, self._mean, self._square = (
            first.detach().new_zeros(size) for _ in range(3)
        )
        vectors = self._gradient, self._mean, self._square
        self._views = [_views(vector, self.parameters) for vector in vectors]
        if protection is not None:  # it adds to .grad, which is then the gradient of the step
            for parameter, gradient in zip(self.parameters, self._views[0], strict=True):
                parameter.grad = gradient

    @torch.no_grad()
    def step(self, gradients: list[Tensor]) -> StepResult:
        """One step down the gradients of the parameters; if one of them is not finite none."""
        own, means, squares = self._views
        torch._foreach_copy_(own, gradients)  # the kernel ignores strides
        gradient_norm = torch.linalg.vector_norm(self._gradient)
        finite = self._gradient.sum().isfinite().float()
        skipped = 1 - finite
        if self.protection is not None:
            self._gradient.masked_fill_(skipped.bool(), 0)  # a skipped step has gained nothing
            self.protection.before_step()
        torch._fused_adamw_(
            self.parameters,
            own,
            means,
            squares,
            [],
            [self._steps.add_(finite)] * len(own),
            lr=self.lr,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            weight_decay=self.weight_decay,
            eps=_EPSILON,
            amsgrad=False,
            maximize=False,
            found_inf=skipped,  # it then leaves everything as it is
        )
        if self.protection is not None:
            self.protection.after_step()
        return StepResult(skipped, gradient_norm)

    def end_task(self, forget_moments: bool) -> None:
        """A task is learned and another begins: what the last one needs is held from here on.

        Args:
            forget_moments: begin anew with steps and moments as well.
        """
        if self.protection is not None:
            self.protection.end_task()
        if forget_moments:
            for tensor in self.state_dict().values():
                tensor.zero_()

    def state_dict(self) -> dict[str, Tensor]:
        """What a step changes apart from the parameters: steps so far, and both moments `[P]`."""
        return {"steps": self._steps, "mean": self._mean, "square": self._square}


def descend(loss: Tensor, *descents: Descent) -> list[StepResult]:
    """One step of each descent down the same scalar loss; returns what each `step` returned."""
    gradients = iter(torch.autograd.grad(loss, [p for one in descents for p in one.parameters]))
    return [one.step(list(islice(gradients, len(one.parameters)))) for one in descents]


def _views(vector: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    """The part of a vector for each parameter, in its shape."""
    parts = vector.split([parameter.numel() for parameter in parameters])
    return [part.view_as(one) for part, one in zip(parts, parameters, strict=True)]
