"""What a run will need, told before it starts: parameters, memory, disk."""

from __future__ import annotations

from dataclasses import replace

import torch

from agent.replay import ReplayBuffer, free_bytes
from agent.sizing import count_parameters, matched_network
from configs.schema import Config
from envs.goals import ACTION_SIZE, OBS_SIZE


def describe(config: Config, device: torch.device) -> str:
    """A few lines for the console: this network and its opponent, replay buffer, checkpoints."""
    tasks = len(config.env.tasks)
    replay = ReplayBuffer.bytes_needed(tasks, config.replay.capacity, OBS_SIZE, ACTION_SIZE)
    lines = []
    for kind in ("dendritic", "mlp"):
        network = matched_network(
            replace(config.network, kind=kind), tasks, OBS_SIZE, ACTION_SIZE, config.agent
        )
        values = 1 if config.agent.critic_loss == "mse" else config.agent.value_bins
        actor = count_parameters(network, network.actor_hidden, tasks, OBS_SIZE, 2 * ACTION_SIZE)
        critic = count_parameters(
            network, network.critic_hidden, tasks, OBS_SIZE + ACTION_SIZE, values
        )
        use = "this run" if kind == config.network.kind else "for comparison"
        lines.append(
            f"{kind} ({use}): actor {_widths(network.actor_hidden)}, {actor:,} non-zero parameters; "
            f"each critic {_widths(network.critic_hidden)}, {critic:,}"
        )
    lines.append(
        f"replay buffer: {config.replay.capacity:,} transitions, {replay / 1e9:.2f} GB on {device} "
        f"({free_bytes(device) / 1e9:.1f} GB free); a checkpoint takes about as much disk"
    )
    return "\n".join(lines)


def _widths(hidden: tuple[int, ...]) -> str:
    return " x ".join(str(units) for units in hidden)
