"""Which segment wins for which task, and how far it opens its unit.

With one-hot contexts a task's gates are the same in every step: no roll-out is needed. The measure of
distinct segments is the published one for a single context per task: two tasks that a unit recognises with
the same segment overlap in that unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from agent.policy import Policy
from analysis.activity import Floats
from dendrites import DendriticLayer, DendriticSegments, strongest_segment


@dataclass(frozen=True)
class LayerGates:
    """One hidden layer of U units in T tasks.

    Attributes:
        gate: `[T, U]` factor of a unit (additive_bias: the addend).
        segment: `[T, U]` index of the one that wins; with attention the one with the largest share.
        num_segments: J; 1 where a unit has one gate per task and no choice.
    """

    gate: Floats
    segment: NDArray[np.int64]
    num_segments: int

    @property
    def chooses(self) -> bool:
        """Whether a unit has several segments, of which one wins."""
        return self.num_segments > 1

    @property
    def same_segment(self) -> Floats:
        """Fraction of the units that two tasks open with the same segment `[T, T]`; 1 / J by chance."""
        same: Floats = (self.segment[:, None] == self.segment[None, :]).mean(axis=-1)
        return same

    @property
    def alike(self) -> Floats:
        """Correlation of two tasks' gates over the units `[T, T]`; NaN where gates are constant."""
        with np.errstate(invalid="ignore"):
            return np.atleast_2d(np.corrcoef(self.gate))


@torch.no_grad()
def measure_gates(policy: Policy) -> list[LayerGates | None]:
    """Of every hidden layer; `None` for one without dendrites."""
    trunk = policy.actor.trunk
    found: list[LayerGates | None] = []
    for module, gate in zip(trunk.layers, trunk.gates(), strict=True):
        dendrites = cast(DendriticLayer, module).dendrites
        if dendrites is None or gate is None:
            found.append(None)
            continue
        factor = dendrites.factor(gate)  # [T, U]
        segment, number = torch.zeros_like(factor, dtype=torch.int64), 1
        if isinstance(dendrites, DendriticSegments):
            activations = dendrites.activations(trunk.context)  # [T, J, U]
            segment = strongest_segment(activations, dendrites.gating)  # [T, U]
            number = activations.shape[1]
        found.append(
            LayerGates(
                gate=factor.double().cpu().numpy(),
                segment=segment.cpu().numpy(),
                num_segments=number,
            )
        )
    return found
