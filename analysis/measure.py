"""Everything about a policy's hidden units, from real roll-outs: what `evaluate.py --analyze` measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.policy import Policy
from analysis.activity import Floats, LayerActivity, measure_layer
from analysis.gates import LayerGates, measure_gates
from analysis.hidden_units import hidden_activations
from analysis.silencing import Silencing, measure_silencing
from envs.rollout import EpisodeResults, EpisodeSteps

FIRST_STEPS = 100
"""Of each episode: most tasks are solved by then, and standing at the goal says little."""
FRACTION = 0.25
"""Of every layer's units: as many as win in each step with the default k-winners."""
RANDOM_DRAWS = 3


@dataclass(frozen=True)
class Analysis:
    """What was measured.

    Attributes:
        tasks: names.
        goals: of each task, one episode on each.
        layers: of every hidden layer.
        gates: of every hidden layer; `None` for one without dendrites.
        silencing: success without some of the units.
    """

    tasks: tuple[str, ...]
    goals: int
    layers: list[LayerActivity]
    gates: list[LayerGates | None]
    silencing: Silencing


def analyze(policy: Policy, play: Callable[[bool], EpisodeResults], seed: int) -> Analysis:
    """Roll the policy out, whole and with units silenced.

    Args:
        policy: that `play` lets act; unchanged in the end.
        play: runs the same episodes in every call, and keeps every step if told so.
        seed: of the units that are silenced at random.
    """
    results = play(True)
    assert results.steps is not None
    layers = measure_layers(policy, results.steps)

    def success_rates() -> Floats:
        rates: Floats = play(False).success.mean(axis=1)
        return rates

    silencing = measure_silencing(
        policy,
        success_rates,
        on_rates=[layer.on_rate for layer in layers],
        fraction=FRACTION,
        random_draws=RANDOM_DRAWS,
        generator=np.random.default_rng(seed),
    )
    episodes = results.success.shape[1]
    return Analysis(results.tasks, episodes, layers, measure_gates(policy), silencing)


def measure_layers(
    policy: Policy, steps: EpisodeSteps, pairs_per_task: int = 100
) -> list[LayerActivity]:
    """What every hidden layer of the actor does in the first steps of each episode.

    Args:
        policy: whose layers they are.
        steps: of episodes of all its tasks.
        pairs_per_task: as in `measure_layer`.
    """
    obs: NDArray[np.float32] = steps.obs[:, :, :FIRST_STEPS]  # [T, K, 100, 39]
    flat = obs.reshape(len(obs), -1, obs.shape[-1])
    return [measure_layer(layer, pairs_per_task) for layer in hidden_activations(policy, flat)]
