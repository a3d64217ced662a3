"""Pictures of the actor's hidden layers for TensorBoard, painted by hand: a plot takes a hundred times as long."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from agent.policy import Policy
from analysis.activity import Floats
from analysis.gates import measure_gates
from analysis.measure import measure_layers
from envs.rollout import EpisodeSteps

_CELL = 16
"""Width and height of a pair of tasks [pixels]."""
_UNIT = 4
"""Width of a unit [pixels]."""
_PAIRS = 20
"""Steps of each task that are paired: memory grows with the square of tasks times steps."""

Picture = NDArray[np.uint8]
"""`[height, width, 3]`."""


def hidden_layer_pictures(policy: Policy, steps: EpisodeSteps) -> dict[str, Picture]:
    """Of every hidden layer of the actor, from the episodes of an evaluation of all tasks.

    | key | rows | columns | colour, dark to light |
    |---|---|---|---|
    | network/actor/layer_<i>/overlap | tasks | tasks | units in common of the most used quarter, 0 to 1 |
    | network/actor/layer_<i>/activity | tasks | units | fraction of steps in which the unit is on |
    | network/actor/layer_<i>/gates | tasks | units | gate, 0 to 1 (additive_bias: least to largest) |
    | network/actor/layer_<i>/segments | tasks | units | index of the segment that wins |
    """
    pictures: dict[str, Picture] = {}
    layers = measure_layers(policy, steps, _PAIRS)
    for index, (layer, gates) in enumerate(zip(layers, measure_gates(policy), strict=True)):
        prefix = f"network/actor/layer_{index}"
        pictures[f"{prefix}/overlap"] = _painted(layer.most_used, _CELL, _CELL)
        pictures[f"{prefix}/activity"] = _painted(layer.on_rate, _CELL, _UNIT)
        if gates is not None:
            pictures[f"{prefix}/gates"] = _painted(_scaled(gates.gate), _CELL, _UNIT)
        if gates is not None and gates.num_segments > 1:
            share = gates.segment / (gates.num_segments - 1)
            pictures[f"{prefix}/segments"] = _painted(share, _CELL, _UNIT, "turbo")
    return pictures


def _scaled(gates: Floats) -> Floats:
    """Gates as they are; addends (additive_bias), which know no bounds, from their least to their largest."""
    low, high = min(0.0, gates.min()), max(1.0, gates.max())
    return (gates - low) / (high - low)


def _painted(values: Floats, height: int, width: int, colours: str = "viridis") -> Picture:
    painted = colormaps[colours](np.clip(values, 0, 1), bytes=True)[..., :3]
    larger: Picture = painted.repeat(height, axis=0).repeat(width, axis=1)
    return larger
