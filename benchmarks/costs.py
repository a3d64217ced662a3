"""What an update costs at least: FLOP and bytes from the configuration, rates from the machine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise

import torch

from agent.devices import resolve_precision
from agent.sizing import matched_network
from configs.schema import Config
from envs import ACTION_SIZE, OBS_SIZE


@dataclass(frozen=True)
class Costs:
    """Of one update."""

    float32_flop: float
    """Products of first layers and heads (and of all layers, without bfloat16)."""
    bfloat16_flop: float
    """Products between hidden layers."""
    activation_bytes: float
    """Reads and writes of hidden activations, if no pass is fused with another."""
    parameter_bytes: float
    """Reads and writes of weights, gradients, Adam's moments and target weights."""

    def ceiling_ms(self, rates: Rates) -> float:
        """Time of the products alone at the machine's measured rates [ms]."""
        seconds = (
            self.float32_flop / rates.float32_flops + self.bfloat16_flop / rates.bfloat16_flops
        )
        return 1e3 * seconds


@dataclass(frozen=True)
class Rates:
    """What this machine was measured to do."""

    float32_flops: float
    bfloat16_flops: float


def update_costs(config: Config, device: torch.device) -> Costs:
    """Count the matrix products and the memory traffic of `SAC.update`.

    Products per layer, for n samples: the actor works forward for the next action, forward and backward
    (weights, and inputs but for the first layer) for its loss. Each critic works forward as target,
    forward and backward for its loss, forward and back to its inputs for the actor's.
    """
    agent, tasks, n = config.agent, len(config.env.tasks), config.replay.batch_size
    network = matched_network(config.network, tasks, OBS_SIZE, ACTION_SIZE, agent)
    context = tasks if network.kind == "mlp" else 0
    values = 1 if agent.critic_loss == "mse" else agent.value_bins
    sizes = {
        "actor": (OBS_SIZE + context, *network.actor_hidden, 2 * ACTION_SIZE),
        "critic": (OBS_SIZE + ACTION_SIZE + context, *network.critic_hidden, values),
    }
    low = resolve_precision(config.precision, device) == torch.bfloat16
    flop = {torch.float32: 0.0, torch.bfloat16: 0.0}
    activations = parameters = 0.0
    for name, widths in sizes.items():
        copies, forward, target = (1, 2, 0) if name == "actor" else (2, 3, 1)
        for index, (inputs, outputs) in enumerate(pairwise(widths)):
            products = forward + 1 + (index > 0) + (name == "critic")
            hidden = 0 < index < len(widths) - 2
            dtype = torch.bfloat16 if hidden and low else torch.float32
            flop[dtype] += 2 * n * copies * products * inputs * outputs
            # product, norm and gate, activation: each writes n x outputs, the next one reads it
            activations += copies * (forward + 1 + (name == "critic")) * 6 * 4 * n * outputs
            # read by every product; Adam reads 4 and writes 3; the targets' average reads 2, writes 1
            parameters += copies * (products + 7 + 3 * target) * 4 * inputs * outputs
    return Costs(flop[torch.float32], flop[torch.bfloat16], activations, parameters)


def measure_rates(device: torch.device) -> Rates:
    """FLOP/s of large matrix products on a device, with the current number of threads."""
    rates, size = {}, 1536 if device.type == "cpu" else 8192
    for dtype in (torch.float32, torch.bfloat16):
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        seconds = []
        for _ in range(10):
            start = time.perf_counter()
            torch.mm(left, right)
            wait_for(device)
            seconds.append(time.perf_counter() - start)
        rates[dtype] = 2 * size**3 / min(seconds)
    return Rates(rates[torch.float32], rates[torch.bfloat16])


def wait_for(device: torch.device) -> None:
    """Return when the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
