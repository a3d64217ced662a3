"""Acting: a function of the actor's tensors, the observations' scale and some noise."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agent.networks import Actor
from agent.observations import ObservationNormalizer
from dendrites import DendriticLayer


class Policy:
    """The actor as it acts: it shares the learner's tensors, and computes in float32.

    The learner's products may be bfloat16. Those of the policy never are, so that an evaluation does
    not depend on the machine that trained.

    Args:
        observations: the scale of observations.
        actor: the network, on its device already.
    """

    def __init__(self, observations: ObservationNormalizer, actor: Actor) -> None:
        self.observations = observations
        self.actor = _float32_twin(actor)

    def tensors(self) -> list[Tensor]:
        """The scale of observations, the actor with its masks, what its winners follow.

        That is all in which agents of the same settings differ. Float32, and masks may be bool.
        """
        kept = [
            one
            for name, one in self.actor.named_buffers()
            if ".activation." in name or name.endswith(".mask")
        ]
        return [self.observations.mean, self.observations.spread, *self.actor.parameters(), *kept]

    def to(self, device: torch.device) -> Policy:
        """Itself, with its tensors moved to a device."""
        self.observations.to(device)
        self.actor.to(device)
        return self

    @torch.no_grad()
    def act(self, obs: NDArray[np.float32], noise: Tensor | None) -> NDArray[np.float32]:
        """Actions in [-1, 1] for task-major observations.

        Args:
            obs: `[T, N, obs]`.
            noise: `[T, N, action]` standard normal, or `None` for the policy's mean.

        Returns:
            `[T, N, action]`.
        """
        device = self.observations.mean.device
        mean, log_std = self.actor(self.observations(torch.from_numpy(obs).to(device)))
        if noise is not None:
            mean = mean + log_std.exp() * noise.to(device)
        return torch.tanh(mean).cpu().numpy()


def _float32_twin(actor: Actor) -> Actor:
    """An actor of the same tensors (not of copies) whose products are all float32."""
    tensors = {id(tensor): tensor for tensor in (*actor.parameters(), *actor.buffers())}
    twin = copy.deepcopy(actor, memo=tensors)
    for module in twin.modules():
        if isinstance(module, DendriticLayer):
            module.product_dtype = None
    return twin
