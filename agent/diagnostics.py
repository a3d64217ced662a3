"""What the hidden layers do: active units, dead units, gates. Read-only, outside the hot path."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agent.layers import HiddenLayer
from agent.networks import Trunk
from agent.replay import Batch
from agent.sac import SAC


@torch.no_grad()
def network_statistics(agent: SAC, batch: Batch) -> dict[str, float]:
    """Statistics of every hidden layer on a task-major batch; keys as in docs/metrics.md.

    The critics' figures are means over the two.
    """
    obs = agent.scaled(batch.obs)
    inputs = {
        "actor": (agent.actor, (obs,)),
        "critic": (agent.critic, (obs, batch.action)),
    }
    statistics: dict[str, float] = {}
    for name, (network, arguments) in inputs.items():
        outputs = _hidden_outputs(network, arguments)
        for index, (layer, output) in enumerate(outputs):
            prefix = f"network/{name}/layer_{index}"
            units = output.shape[-1]
            # [E, samples of all tasks, units]; E = 1 for the actor
            active = output.reshape(agent_copies(network.trunk), -1, units) != 0
            statistics[f"{prefix}/active_density"] = active.float().mean().item()
            statistics[f"{prefix}/dead_units"] = (~active.any(dim=1)).float().mean().item()
            if layer.dendrites is not None:
                gates = gate_values(layer, network.trunk.context).reshape(len(active), -1)
                statistics[f"{prefix}/gate_mean"] = gates.mean().item()
                statistics[f"{prefix}/gate_std"] = gates.std(dim=1).mean().item()
    return statistics


def gate_values(layer: HiddenLayer, context: Tensor) -> Tensor:
    """What each unit's pre-activation is multiplied with (additive_bias: added), `[*E, T, units]`."""
    assert layer.dendrites is not None
    dendrite = layer.dendrites.selected(context)
    return dendrite if layer.dendrites.gating == "additive_bias" else torch.sigmoid(dendrite)


def agent_copies(trunk: Trunk) -> int:
    """Networks in a stack: 2 for the critics, 1 for the actor."""
    return trunk.stack or 1


def _hidden_outputs(
    network: nn.Module, arguments: tuple[Tensor, ...]
) -> list[tuple[HiddenLayer, Tensor]]:
    layers = [module for module in network.modules() if isinstance(module, HiddenLayer)]
    outputs: list[tuple[HiddenLayer, Tensor]] = []
    hooks = [
        layer.register_forward_hook(lambda own, _, output: outputs.append((own, output)))
        for layer in layers
    ]
    try:
        network(*arguments)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs
