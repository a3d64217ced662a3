"""The outputs of a policy's hidden layers, and the policy with some of its units silenced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from agent.policy import Policy
from dendrites import DendriticLayer, SparseLinear

Units = NDArray[np.bool_]
"""Of one hidden layer `[U]`."""


@torch.no_grad()
def hidden_activations(policy: Policy, obs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """What each hidden layer of the actor says to observations `[T, n, obs]`: `[T, n, U]` each."""
    device = policy.observations.mean.device
    trunk = policy.actor.trunk
    features = policy.observations(torch.from_numpy(obs).to(device))
    return [output.cpu().numpy() for output in trunk.hidden(features)]


@contextmanager
def silenced(policy: Policy, units: Sequence[Units]) -> Iterator[None]:
    """Meanwhile the given units of every hidden layer say 0 to the next layer, whatever the task.

    They still compete among the k-winners: a unit that would have won is missing, and no other takes its
    place. The policy's own weights are changed, and put back at the end.

    Args:
        policy: acts.
        units: of each hidden layer `[U]`, those to silence.
    """
    maps = _maps_after_hidden_layers(policy)
    before = [one.weight.detach().clone() for one in maps]
    try:
        with torch.no_grad():
            for one, which in zip(maps, units, strict=True):
                one.weight[:, torch.from_numpy(which).to(one.weight.device)] = 0
        yield
    finally:
        with torch.no_grad():
            for one, weight in zip(maps, before, strict=True):
                one.weight.copy_(weight)


def _maps_after_hidden_layers(policy: Policy) -> list[SparseLinear]:
    layers = [cast(DendriticLayer, layer) for layer in policy.actor.trunk.layers]
    return [*(layer.linear for layer in layers[1:]), policy.actor.head]
