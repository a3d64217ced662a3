"""The hidden activations that the settings ask for, and how they follow training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from configs.network import NetworkConfig
from dendrites import (
    AnnealedKWinners,
    BoostedKWinners,
    NucleusWinners,
    OtherWinners,
    SoftWinners,
    ThresholdWinners,
)
from dendrites.layer import Activation


def winners_density(config: NetworkConfig, index: int) -> float | None:
    """Fraction of active units in hidden layer `index`; `None` for ReLU."""
    if config.activation == "relu":
        return None
    densities = config.winners_density
    return densities[0] if len(densities) == 1 else densities[index]


def first_density(config: NetworkConfig, index: int) -> float:
    """Fraction of active units that initial weights are made for; 1 for ReLU.

    It is that at the start of training, but for two kinds: `threshold_winners` begin with half of the units, and
    `nucleus_winners` have as many as `winners_mass` says.
    """
    if config.activation == "annealed_k_winners":
        return config.first_winners_density
    return winners_density(config, index) or 1.0


def other_winners(
    config: NetworkConfig, index: int, units: int, *, num_tasks: int, stack: int | None
) -> OtherWinners | None:
    """The activation of hidden layer `index`, of so many `units`; `None` for k-winners and ReLU."""
    density, annealing = winners_density(config, index), config.winners_annealing
    if density is None or config.activation == "k_winners":
        return None
    if config.activation == "annealed_k_winners":
        return AnnealedKWinners(units, density, annealing, config.first_winners_density)
    if config.activation == "boosted_k_winners":
        strength = config.winners_boost
        return BoostedKWinners(
            units, density, annealing, num_tasks=num_tasks, strength=strength, stack=stack
        )
    if config.activation == "soft_winners":
        return SoftWinners(units, density, annealing)
    if config.activation == "threshold_winners":
        return ThresholdWinners(units, density, stack=stack)
    return NucleusWinners(units, density, config.winners_mass)


def of_task(activation: Activation, task: Tensor | None) -> Callable[[Tensor], Tensor]:
    """The activation for rows of these tasks: other winners may ask for them."""
    return partial(activation, task=task) if isinstance(activation, OtherWinners) else activation


def winners_of(network: nn.Module) -> list[OtherWinners]:
    """All of a network's that follow training."""
    return [module for module in network.modules() if isinstance(module, OtherWinners)]


@contextmanager
def unchanged(winners: Sequence[OtherWinners]) -> Iterator[None]:
    """After it, duty cycles, thresholds and progress are what they were before."""
    states = [copy.deepcopy(module.state_dict()) for module in winners]
    yield
    for module, state in zip(winners, states, strict=True):
        module.load_state_dict(state)


@contextmanager
def following(winners: Sequence[OtherWinners]) -> Iterator[None]:
    """Within it, duty cycles and thresholds follow what passes through; elsewhere they stay as they are."""
    for module in winners:
        module.train()
    try:
        yield
    finally:
        for module in winners:
            module.eval()
