"""Which settings do something only with certain values of others.

A run that sets one of them in vain is not refused, for a file may be made for several runs. A note says so: who compares
runs that differ in such a setting alone, compares nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from configs.network import NetworkConfig
from configs.schema import Config


@dataclass(frozen=True)
class Effect:
    """Whether a setting does something.

    Attributes:
        decided_by: dotted names of the settings that decide it, for the note.
        acts: of the whole config.
    """

    decided_by: tuple[str, ...]
    acts: Callable[[Any], bool]


Effects = Mapping[str, Effect]
"""By the dotted name of the setting. One that isn't there always does something."""


def _of_network(decided_by: str, acts: Callable[[NetworkConfig], bool]) -> Effect:
    names = tuple(f"network.{name}" for name in decided_by.split())
    return Effect(names, lambda config: acts(config.network))


def with_winners(*kinds: str) -> Effect:
    """Of a setting that only these kinds of winners have."""
    return _of_network("activation", lambda network: network.activation in kinds)


def _gives_scale(config: Config) -> bool:
    """Whether rewards are scaled to the range of values."""
    return config.normalization.reward_scaling != "none"


PROTECTION = Effect(("protection.strength",), lambda config: config.protection.strength > 0)

MULTI_TASK_EFFECTS: Effects = {
    "env.steps_per_task": Effect(
        ("env.schedule",), lambda config: config.env.schedule == "one_by_one"
    ),
    "exploration.hold_steps": Effect(
        ("exploration.hold_rate",), lambda config: config.exploration.hold_rate > 0
    ),
    "agent.value_bins": Effect(
        ("agent.critic_loss",), lambda config: config.agent.critic_loss == "hl_gauss"
    ),
    "agent.value_range": Effect(
        ("agent.critic_loss", "normalization.reward_scaling"),
        lambda config: config.agent.critic_loss == "hl_gauss" or _gives_scale(config),
    ),
    "agent.protects": PROTECTION,
    "protection.damping": PROTECTION,
    # An MLP, and gates with fewer parameters, are matched to the segments that are not there.
    "network.num_segments": _of_network(
        "kind gating match_parameters",
        lambda network: (
            network.match_parameters
            or (network.kind == "dendritic" and network.gating not in ("single_segment", "film"))
        ),
    ),
    "network.segment_density": _of_network(
        "kind gating match_parameters",
        lambda network: (
            network.match_parameters or (network.kind == "dendritic" and network.gating != "film")
        ),
    ),
    "network.weight_density": _of_network(
        "kind match_parameters",
        lambda network: network.match_parameters or network.kind == "dendritic",
    ),
    "network.dendritic_layers": _of_network(
        "kind match_parameters",
        lambda network: network.match_parameters or network.kind == "dendritic",
    ),
    "network.gating": _of_network(  # gating_mlp has a size of its own, to which an MLP is matched
        "kind", lambda network: network.kind == "dendritic" or network.gating == "gating_mlp"
    ),
    "network.attention_temperature": _of_network(
        "kind gating",
        lambda network: network.kind == "dendritic" and network.gating == "attention",
    ),
    "network.context_density": _of_network(
        "kind gating",
        lambda network: (
            network.kind == "dendritic" and network.gating not in ("film", "gating_mlp")
        ),
    ),
    "network.embedding_size": _of_network(
        "context", lambda network: network.context == "embedding"
    ),
    "network.winners_density": _of_network(
        "activation", lambda network: network.activation != "relu"
    ),
    "network.first_winners_density": with_winners("annealed_k_winners"),
    "network.winners_annealing": with_winners(
        "annealed_k_winners", "boosted_k_winners", "soft_winners"
    ),
    "network.winners_boost": with_winners("boosted_k_winners"),
    "network.winners_mass": with_winners("nucleus_winners"),
    "evaluation.episodes_per_goal": Effect(
        ("evaluation.actions",), lambda config: config.evaluation.actions == "sample"
    ),
    "machine.ray_address": Effect(
        ("machine.workers_backend",), lambda config: config.machine.workers_backend == "ray"
    ),
}
"""Of train_mt10.py."""
