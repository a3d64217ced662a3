"""Gates and segments of an analysis, and statistics of hidden layers, against weights set by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from network_samples import HIDDEN, OBS, TASKS, make_actor, make_config
from sac_samples import make_agent, make_batch

from agent.observations import ObservationNormalizer
from agent.policy import Policy
from analysis.gates import measure_gates
from configs.schema import NormalizationConfig
from training.metrics.networks import network_statistics

WEIGHTS = torch.tensor(  # [segments, tasks] of one unit; contexts are one-hot
    [[0.5, -2.0, 1.0], [-1.0, 0.25, 0.5], [0.1, 0.1, -3.0]]
)


@pytest.mark.parametrize(
    ("gating", "segments", "chosen"),
    [("abs_max_signed", [1, 0, 2], [-1.0, -2.0, -3.0]), ("max", [0, 1, 0], [0.5, 0.25, 1.0])],
)
def test_gates_and_segments_by_hand(gating: str, segments: list[int], chosen: list[float]) -> None:
    """Units of a layer are alike, but for the last: there, the first segment alone answers."""
    scale = NormalizationConfig(observation_frame="world", observation_scaling="none")
    policy = Policy(
        ObservationNormalizer(scale, TASKS, OBS), make_actor(make_config(gating=gating))
    )
    last = torch.tensor([4.0, 3.0, 2.0])
    for layer in policy.actor.trunk.layers:
        weight = layer.dendrites.weight.data  # [J, units, C]
        weight[:] = WEIGHTS[:, None, :]
        weight[:, -1] = 0
        weight[0, -1] = last
    for found, units in zip(measure_gates(policy), HIDDEN, strict=True):
        assert found is not None
        assert found.chooses
        expected = np.repeat(np.array(segments)[:, None], units, axis=1)
        expected[:, -1] = 0
        np.testing.assert_array_equal(found.segment, expected)
        gates = np.repeat([[1 / (1 + math.exp(-d))] for d in chosen], units, axis=1)
        gates[:, -1] = torch.sigmoid(last)
        np.testing.assert_allclose(found.gate, gates, rtol=1e-6)
        for one in range(TASKS):
            for other in range(TASKS):
                same = (expected[one] == expected[other]).mean()
                assert found.same_segment[one, other] == pytest.approx(same)
        # All units but one are alike, so two tasks' gates lie on a line; it rises or falls.
        for one, other in ((0, 1), (0, 2), (1, 2)):
            rises = (gates[one, -1] - gates[one, 0]) * (gates[other, -1] - gates[other, 0]) > 0
            assert found.alike[one, other] == pytest.approx(1 if rises else -1)


def test_statistics_of_hidden_layers_are_those_of_a_loop() -> None:
    """One unit of every first layer is off in every sample of the batch."""
    agent, batch = make_agent(), make_batch()
    trunks = {"actor": agent.policy.actor.trunk, "critic": agent.critic.trunk}
    for trunk in trunks.values():
        norm = trunk.layers[0].norm
        with torch.no_grad():
            norm.weight[..., 3] = 0
            norm.bias[..., 3] = -1
    found = network_statistics(agent, batch)
    obs = agent.observations(batch.obs, batch.task)
    inputs = {"actor": obs, "critic": torch.cat([obs, batch.action], dim=-1)}
    for name, trunk in trunks.items():
        for index, output in enumerate(trunk.hidden(inputs[name], batch.task)):
            units = output.shape[-1]
            copies = output.detach().reshape(trunk.stack or 1, -1, units).tolist()
            on = [[[value != 0 for value in sample] for sample in copy] for copy in copies]
            densities = [sum(sample) / units for copy in on for sample in copy]
            dead = [not any(sample[u] for sample in copy) for copy in on for u in range(units)]
            key = f"network/{name}/layer_{index}"
            assert found[f"{key}/active_density"] == pytest.approx(np.mean(densities))
            assert found[f"{key}/dead_units"] == pytest.approx(np.mean(dead))
            assert index == 1 or found[f"{key}/dead_units"] >= 1 / units
            gates = trunk.gates()[index].detach().reshape(trunk.stack or 1, -1).double().numpy()
            assert found[f"{key}/gate_mean"] == pytest.approx(gates.mean())
            assert found[f"{key}/gate_std"] == pytest.approx(gates.std(axis=1, ddof=1).mean())
