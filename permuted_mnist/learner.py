"""Gradient steps on one task after the other: Adam, the winning segments, and the protection."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from configs.permuted_mnist.schema import PermutedConfig
from continual.synaptic_intelligence import SynapticIntelligence
from continual.winning_segments import WinningSegments
from dendrites import DendriticLayer, DendriticSegments
from machine.compilation import Compiled
from permuted_mnist.network import Gates, PermutedNetwork

FEWEST_WEIGHTS = 2**21
"""Feed-forward, for which compiling (half a minute) is shorter than what it saves: MNIST's networks."""


class Learner:
    """Trains a network under one context at a time.

    Args:
        network: on its device already.
        config: settings of learning and protection.
    """

    def __init__(self, network: PermutedNetwork, config: PermutedConfig) -> None:
        self.network, self.settings = network, config.learning
        feed_forward = network.feed_forward()
        large = sum(parameter.numel() for parameter in feed_forward) >= FEWEST_WEIGHTS
        self._objective = Compiled(self.objective, config.machine.compile if large else "never")
        protection = config.protection
        self.protection = (
            SynapticIntelligence(feed_forward, protection.strength, protection.damping)
            if protection.strength
            else None
        )
        self.winning: list[
            WinningSegments
        ] = []  # of every dendritic layer, once there is a context
        self.context: Tensor | None = None  # [C], that is being learned
        self._gates: Gates = []  # those that no step changes
        self.optimizer = self._adam()

    def enter(self, context: Tensor) -> None:
        """Another context `[C]`: a task begins, and the one before it is over."""
        self.write_back()
        if self.protection is not None and self.context is not None:
            self.protection.end_task()
        moments = {} if self.settings.reset_optimizer else dict(self.optimizer.state)
        self._set_context(context)
        self.optimizer = self._adam()
        for parameter in self.network.feed_forward():
            if parameter in moments:
                self.optimizer.state[parameter] = moments[parameter]

    def is_in(self, context: Tensor) -> bool:
        """Whether this is the very context `[C]` that is being learned."""
        return self.context is not None and torch.equal(context, self.context)

    def move(self, context: Tensor) -> None:
        """The same task's context `[C]` has become more exact."""
        self.context = context
        for winning in self.winning:
            winning.move(context, self.optimizer)

    def update(self, images: Tensor, labels: Tensor, progress: float) -> dict[str, Tensor | float]:
        """One gradient step.

        Args:
            images: `[b, pixels]`.
            labels: `[b]` int64.
            progress: fraction of the task's steps made so far, for the learning rate.

        Returns:
            Its metrics.
        """
        fraction = 1 - (1 - self.settings.final_lr_fraction) * progress
        reaches = [1.0, *(winning.reach for winning in self.winning)]
        for group, reach in zip(self.optimizer.param_groups, reaches, strict=True):
            group["lr"] = self.settings.lr * fraction * reach
        self.optimizer.zero_grad()
        loss, logits = self._objective(images, labels, self._gates_now())
        loss.backward()
        if self.protection is not None:
            self.protection.before_step()
        self.optimizer.step()
        if self.protection is not None:
            self.protection.after_step()
        changed = sum(winning.after_step(self.optimizer) for winning in self.winning)
        correct = (logits.argmax(dim=1) == labels).float().mean()
        return {
            "losses/cross_entropy": loss.detach(),
            "train/accuracy": correct,
            "segments/winners_changed": float(changed),
        }

    def objective(self, images: Tensor, labels: Tensor, gates: Gates) -> tuple[Tensor, Tensor]:
        """The loss, scalar, and the logits without a gradient `[b, 10]`; arguments as in `update`.

        `gates`: of each hidden layer `[units]`, or `None`.
        """
        logits = self.network(images, gates)
        smoothing = self.settings.label_smoothing
        return F.cross_entropy(logits, labels, label_smoothing=smoothing), logits.detach()

    def write_back(self) -> None:
        """Bring the network's own segments up to date; learning may go on afterwards."""
        for winning in self.winning:
            winning.write_back()

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Parts of a checkpoint, next to the network's own weights as they are."""
        moments = {
            f"{index}.{key}": value
            for index, parameter in enumerate(self._optimized())
            for key, value in self.optimizer.state.get(parameter, {}).items()
        }
        winning = {
            f"{index}.{key}": value
            for index, one in enumerate(self.winning)
            for key, value in one.state_dict().items()
        }
        protection = {} if self.protection is None else self.protection.state_dict()
        return {"optimizer": moments, "winning": winning, "protection": protection}

    def load_state_dict(self, state: dict[str, dict[str, Tensor]], context: Tensor | None) -> None:
        """Restore `state_dict()`, after the network's own weights.

        Args:
            state: of a checkpoint.
            context: `[C]` that was being learned, `None` before the first.

        Raises:
            KeyError, IndexError, RuntimeError: a tensor is missing or of another shape.
        """
        if context is not None:
            self._set_context(context)
            for index, one in enumerate(self.winning):
                one.load_state_dict(_group(state["winning"], index))
            self.optimizer = self._adam()
        for index, parameter in enumerate(self._optimized()):
            moments = _group(state["optimizer"], index)
            if moments:
                if moments["exp_avg"].shape != parameter.shape:
                    raise RuntimeError(f"moments of parameter {index} have another shape")
                self.optimizer.state[parameter] = {
                    key: value.to(parameter.device) for key, value in moments.items()
                }
        if self.protection is not None:
            self.protection.load_state_dict(state["protection"])

    def _set_context(self, context: Tensor) -> None:
        self.context = context
        layers = [cast(DendriticLayer, layer) for layer in self.network.layers]
        dendrites = [
            one for layer in layers if isinstance(one := layer.dendrites, DendriticSegments)
        ]
        self.winning = [WinningSegments(one, context) for one in dendrites]
        self._gates = self._fixed_gates(context)

    def _fixed_gates(self, context: Tensor) -> Gates:
        if self.winning:
            return [None] * len(self.network.layers)
        gates = self.network.gates(context.unsqueeze(0))
        return [None if gate is None else gate.squeeze(0) for gate in gates]

    def _gates_now(self) -> Gates:
        return [winning.gate() for winning in self.winning] if self.winning else self._gates

    def _optimized(self) -> list[Tensor]:
        return [*self.network.feed_forward(), *(winning.activation for winning in self.winning)]

    def _adam(self) -> torch.optim.Adam:
        settings = self.settings
        own = [
            {"params": [one.activation], "eps": settings.segment_epsilon} for one in self.winning
        ]
        feed_forward = {
            "params": self.network.feed_forward(),
            "eps": settings.epsilon,
            "betas": (0.9, settings.beta2),
        }
        return torch.optim.Adam([feed_forward, *own], lr=settings.lr, fused=True)


def _group(tensors: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    """The tensors whose names begin with `index.`, without it."""
    prefix = f"{index}."
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
