"""What the hidden layers do: active units, dead units, gates. Read-only, outside the hot path."""

from __future__ import annotations

import torch
from torch import Tensor

from agent.networks import Actor, TwinCritic
from agent.replay import Batch
from agent.sac import SAC
from dendrites import DendriticLayer


@torch.no_grad()
def network_statistics(agent: SAC, batch: Batch) -> dict[str, float]:
    """Statistics of every hidden layer on a batch; keys as in docs/metrics.md.

    The critics' figures are means over the two.
    """
    task = batch.task
    obs = agent.observations(batch.obs, task)
    inputs: dict[str, tuple[Actor | TwinCritic, tuple[Tensor | None, ...]]] = {
        "actor": (agent.policy.actor, (obs, task)),
        "critic": (agent.critic, (obs, batch.action, task)),
    }
    statistics: dict[str, float] = {}
    for name, (network, arguments) in inputs.items():
        copies = network.trunk.stack or 1  # 2 critics, 1 actor
        gates = network.trunk.gates()  # [*E, T, units] of each layer
        for index, output in enumerate(_hidden_outputs(network, arguments)):
            prefix = f"network/{name}/layer_{index}"
            active = output.reshape(copies, -1, output.shape[-1]) != 0  # [E, samples, units]
            statistics[f"{prefix}/active_density"] = active.float().mean().item()
            statistics[f"{prefix}/dead_units"] = (~active.any(dim=1)).float().mean().item()
            gate = gates[index]
            if gate is not None:
                flat = gate.reshape(copies, -1)
                statistics[f"{prefix}/gate_mean"] = flat.mean().item()
                statistics[f"{prefix}/gate_std"] = flat.std(dim=1).mean().item()
    return statistics


def _hidden_outputs(
    network: Actor | TwinCritic, arguments: tuple[Tensor | None, ...]
) -> list[Tensor]:
    """What each hidden layer gives, in order."""
    outputs: list[Tensor] = []
    layers = [layer for layer in network.modules() if isinstance(layer, DendriticLayer)]
    hooks = [
        layer.activation.register_forward_hook(lambda _own, _inputs, output: outputs.append(output))
        for layer in layers
    ]
    try:
        network(*arguments)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs
