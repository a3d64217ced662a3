"""Which settings do something only with certain values of others.

A run that sets one of them in vain is not refused, for a file may be made for several runs. A note says so: who compares
runs that differ in such a setting alone, compares nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Needs:
    """What another setting must be.

    Attributes:
        key: its dotted name.
        values: one of these; none: a number above 0.
    """

    key: str
    values: tuple[Any, ...] = ()

    def holds(self, value: Any) -> bool:
        """Whether this value of `key` is such a one."""
        return value in self.values if self.values else value > 0


EffectNeeds = Mapping[str, tuple[Needs, ...]]
"""Dotted name of a setting -> what it needs, all of it."""

_DENDRITIC = Needs("network.kind", ("dendritic",))
_HL_GAUSS = Needs("agent.critic_loss", ("hl_gauss",))
_PROTECTED = Needs("protection.strength")
_CLUSTERING = Needs("context.kind", ("clustering",))


def _winners(*kinds: str) -> tuple[Needs, ...]:
    return (Needs("network.activation", tuple(f"{kind}_winners" for kind in kinds)),)


MULTI_TASK_NEEDS: EffectNeeds = {
    "env.steps_per_task": (Needs("env.schedule", ("one_by_one",)),),
    "exploration.hold_steps": (Needs("exploration.hold_rate"),),
    "agent.value_bins": (_HL_GAUSS,),
    "agent.value_range": (_HL_GAUSS,),
    "agent.protects": (_PROTECTED,),
    "protection.damping": (_PROTECTED,),
    "network.attention_temperature": (_DENDRITIC, Needs("network.gating", ("attention",))),
    "network.embedding_size": (Needs("network.context", ("embedding",)),),
    "network.context_density": (_DENDRITIC,),
    "network.winners_density": _winners(
        "k", "annealed_k", "boosted_k", "soft", "threshold", "nucleus"
    ),
    "network.first_winners_density": _winners("annealed_k"),
    "network.winners_annealing": _winners("annealed_k", "boosted_k", "soft"),
    "network.winners_boost": _winners("boosted_k"),
    "network.winners_mass": _winners("nucleus"),
    "machine.start_method": (Needs("machine.workers_backend", ("processes",)),),
    "machine.ray_address": (Needs("machine.workers_backend", ("ray",)),),
}
"""Of train_mt10.py."""

PERMUTED_NEEDS: EffectNeeds = {
    "context.cluster_pixels": (_CLUSTERING,),
    "context.cluster_exemplars": (_CLUSTERING,),
    "context.cluster_p_value": (_CLUSTERING,),
    "network.winners_density": _winners("k"),
    "network.num_segments": (_DENDRITIC,),
    "network.context_density": (_DENDRITIC,),
    "network.gated_off": (Needs("network.kind", ("xdg",)),),
    "learning.segment_epsilon": (_DENDRITIC,),
    "protection.damping": (_PROTECTED,),
}
"""Of train_permuted_mnist.py."""
