"""Synaptic Intelligence: weights that mattered for earlier tasks are held where they were.

Zenke, Poole & Ganguli 2017 (arXiv 1703.04200). While a task is learned, each weight collects how much
its own moves have lowered the task's loss: omega -= g * (change of theta), with the gradient g of the
task's loss alone (eq. 3). At the end of the task its importance grows by
Omega += max(omega, 0) / ((theta - theta at the task's start)^2 + damping) (eq. 5), and from then on the
loss has the term strength * sum Omega (theta - theta*)^2, theta* being the weights at the end of the
last task (eq. 4).

The publication of active dendrites uses it with strength 0.1 and damping 0.1. Two things differ from its
code on purpose: every task after the first is protected (there, the second is not), and g is the gradient
of the task's loss (there, of the loss with the term above).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

_PIECE = 2**15
"""Numbers of each tensor for each thread, 128 kB, that are worked on together: six such pieces fit into a
core's second cache, so that a number goes through memory once in a step and not once for each operation."""


class SynapticIntelligence:
    """Watches the steps of an optimiser, and adds the term's gradient to those it is given.

    An optimiser's step is framed by two calls:

        loss.backward()                     # the task's loss alone
        protection.before_step()            # adds the term's gradient to every .grad
        optimizer.step()
        protection.after_step()

    and `end_task()` is called between two tasks.

    Args:
        parameters: tensors that are optimised, on their device already.
        strength: of the term.
        damping: keeps the importance of a weight that hardly moved finite.

    Attributes:
        importance: Omega of each parameter, in its shape; 0 until the first task ends.
        anchors: theta*, in the same order.
    """

    def __init__(self, parameters: Iterable[Tensor], strength: float, damping: float) -> None:
        self.parameters = list(parameters)
        self.strength, self.damping = strength, damping
        self.importance = self._zeros()
        self.anchors = self._copies()
        self._gain = self._zeros()  # omega, of the task that is learned
        self._before = self._copies()  # theta before the step
        self._gradient = self._zeros()  # g of the step

    @torch.no_grad()
    def before_step(self) -> None:
        """Remember the task's gradient and the weights; add the gradient of the term."""
        gradients = [self._gradient_of(one) for one in self.parameters]
        held = self._gradient, self._before, self.parameters, self.anchors, self.importance
        for gradient, *piece in _pieces(gradients, *held):
            task_gradient, before, parameter, anchor, importance = piece
            torch._foreach_copy_(task_gradient, gradient)
            torch._foreach_copy_(before, parameter)
            pull = torch._foreach_sub(parameter, anchor)
            torch._foreach_addcmul_(gradient, importance, pull, value=2 * self.strength)

    @torch.no_grad()
    def after_step(self) -> None:
        """Credit each weight with what its move has lowered the loss."""
        held = self._gain, self._gradient, self.parameters, self._before
        for gain, gradient, parameter, before in _pieces(*held):
            moves = torch._foreach_sub(parameter, before)
            torch._foreach_addcmul_(gain, gradient, moves, value=-1)

    @torch.no_grad()
    def end_task(self) -> None:
        """The task is learned: its gains become importance, and the weights are held from here on."""
        now = [*zip(self.importance, self.anchors, self._gain, self.parameters, strict=True)]
        for importance, anchor, gain, parameter in now:
            moved = parameter - anchor  # since the task began: anchors are set at a task's end
            importance += gain.clamp(min=0) / (moved.square() + self.damping)
            anchor.copy_(parameter)
            gain.zero_()

    @torch.no_grad()
    def penalty(self) -> Tensor:
        """The term itself, scalar."""
        total = torch.zeros(())
        for importance, anchor, parameter in zip(
            self.importance, self.anchors, self.parameters, strict=True
        ):
            total += (importance * (parameter - anchor).square()).sum().cpu()
        return self.strength * total

    def state_dict(self) -> dict[str, Tensor]:
        """Importance, anchors and gains of each parameter, for a checkpoint between two steps."""
        parts = {"importance": self.importance, "anchor": self.anchors, "gain": self._gain}
        return {
            f"{name}.{index}": tensor
            for name, tensors in parts.items()
            for index, tensor in enumerate(tensors)
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore `state_dict()`.

        Raises:
            KeyError: a tensor is missing.
            RuntimeError: one has another shape.
        """
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])

    def _zeros(self) -> list[Tensor]:
        return [torch.zeros_like(one, requires_grad=False) for one in self.parameters]

    def _copies(self) -> list[Tensor]:
        return [one.detach().clone() for one in self.parameters]

    @staticmethod
    def _gradient_of(parameter: Tensor) -> Tensor:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        return parameter.grad


def _pieces(*lists: list[Tensor]) -> Iterator[tuple[list[Tensor], ...]]:
    """Corresponding pieces of corresponding tensors, as flat views; on a GPU everything at once."""
    if lists[0][0].device.type != "cpu":
        yield lists
        return
    size = _PIECE * torch.get_num_threads()
    for tensors in zip(*lists, strict=True):
        pieces = [one.detach().view(-1).split(size) for one in tensors]
        yield from zip(*([[piece] for piece in split] for split in pieces), strict=True)
