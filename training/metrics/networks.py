"""What the hidden layers do: active units, dead units, gates. Read-only, outside the hot path."""

from __future__ import annotations

from typing import cast

import torch

from agent.batch import Batch
from agent.sac import SAC
from dendrites import DendriticLayer


@torch.no_grad()
def network_statistics(agent: SAC, batch: Batch) -> dict[str, float]:
    """Statistics of every hidden layer on a batch; keys as in docs/metrics.md.

    The critics' figures are means over the two.
    """
    task = batch.task
    obs = agent.observations(batch.obs, task)
    critic_input = torch.cat([obs, batch.action], dim=-1)
    inputs = {
        "actor": (agent.policy.actor.trunk, obs),
        "critic": (agent.critic.trunk, critic_input),
    }
    statistics: dict[str, float] = {}
    for name, (trunk, features) in inputs.items():
        copies = trunk.stack or 1  # 2 critics, 1 actor
        gates = trunk.gates()  # [*E, T, units] of each layer; twice as many with film
        for index, output in enumerate(trunk.hidden(features, task)):
            prefix = f"network/{name}/layer_{index}"
            active = output.reshape(copies, -1, output.shape[-1]) != 0  # [E, samples, units]
            statistics[f"{prefix}/active_density"] = active.float().mean().item()
            statistics[f"{prefix}/dead_units"] = (~active.any(dim=1)).float().mean().item()
            gate, dendrites = gates[index], cast(DendriticLayer, trunk.layers[index]).dendrites
            if gate is not None and dendrites is not None:
                flat = dendrites.factor(gate).reshape(copies, -1)
                statistics[f"{prefix}/gate_mean"] = flat.mean().item()
                statistics[f"{prefix}/gate_std"] = flat.std(dim=1).mean().item()
    return statistics
