"""What a run will need, told before it starts: parameters, memory, disk."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch

from agent.devices import resolve_precision
from agent.replay import ReplayBuffer, free_bytes
from agent.sizing import count_parameters, matched_network
from configs.errors import UsageError
from configs.schema import Config
from envs.goals import ACTION_SIZE, OBS_SIZE


def describe(config: Config, device: torch.device) -> str:
    """A few lines for the console: this network and its opponent, replay buffer, checkpoints."""
    lines = [_describe_network(config, "dendritic"), _describe_network(config, "mlp")]
    replay, where = _replay_bytes(config), replay_device(config, device)
    # Weights, two Adam moments, and the target critics; two checkpoints exist while one is written,
    # and the best one, which has no moments.
    actor, critic = _dense_parameters(config)
    checkpoint, best = replay + 4 * (3 * actor + 8 * critic), 4 * (actor + 4 * critic)
    lines.append(
        f"replay buffer: {config.replay.capacity:,} transitions, {replay / 1e9:.2f} GB on {where} "
        f"({free_bytes(where) / 1e9:.1f} GB free); disk for checkpoints: about "
        f"{(2 * checkpoint + best) / 1e9:.2f} GB"
    )
    lines.append(_describe_update(config, device))
    return "\n".join(lines)


def _describe_update(config: Config, device: torch.device) -> str:
    dtype = str(resolve_precision(config.precision, device)).removeprefix("torch.")
    where = f"{torch.get_num_threads()} CPU threads" if device.type == "cpu" else str(device)
    compiled = "not compiled" if config.compile == "never" else "compiled at the first one"
    return f"gradient steps: on {where}, {dtype} between hidden layers, {compiled}"


def require_memory(config: Config, device: torch.device) -> None:
    """Raise `UsageError` before anything is started if networks or replay buffer will not fit."""
    require_network_memory(config, device)
    tasks, capacity = len(config.env.tasks), config.replay.capacity
    where = replay_device(config, device)
    ReplayBuffer.require_memory(tasks, capacity, OBS_SIZE, ACTION_SIZE, where)


def require_network_memory(config: Config, device: torch.device) -> None:
    """Raise `UsageError` if the networks, with their optimisers and targets, will not fit."""
    actor, critic = _dense_parameters(config)
    needed, free = 4 * (4 * actor + 10 * critic), free_bytes(device)
    if needed > free:
        raise UsageError(
            f"network.actor_hidden and critic_hidden: need {needed / 1e9:.1f} GB and {device} has "
            f"{free / 1e9:.1f} GB free; use smaller ones"
        )


def least_agent_bytes(config: Config) -> int:
    """What the weights of such an agent take in a file, at least."""
    actor, critic = _dense_parameters(config)
    return 4 * (actor + 2 * critic)


def replay_device(config: Config, learner: torch.device) -> torch.device:
    """Where the replay buffer lives: beside the learner if it fits there, else on the CPU."""
    return ReplayBuffer.choose_device(_replay_bytes(config), learner, free_bytes(learner))


def _replay_bytes(config: Config) -> int:
    tasks, capacity = len(config.env.tasks), config.replay.capacity
    return ReplayBuffer.bytes_needed(tasks, capacity, OBS_SIZE, ACTION_SIZE)


def _describe_network(config: Config, kind: Literal["dendritic", "mlp"]) -> str:
    use = "this run" if kind == config.network.kind else "for comparison"
    config = replace(config, network=replace(config.network, kind=kind))
    network = matched_network(
        config.network, len(config.env.tasks), OBS_SIZE, ACTION_SIZE, config.agent
    )
    actor, critic = _parameters(config)
    return (
        f"{kind} ({use}): actor {_widths(network.actor_hidden)}, {actor:,} non-zero parameters; "
        f"each critic {_widths(network.critic_hidden)}, {critic:,}"
    )


def _parameters(config: Config) -> tuple[int, int]:
    """Non-zero trainable parameters of the actor and of one critic."""
    tasks, agent = len(config.env.tasks), config.agent
    network = matched_network(config.network, tasks, OBS_SIZE, ACTION_SIZE, agent)
    values = 1 if agent.critic_loss == "mse" else agent.value_bins
    return (
        count_parameters(network, network.actor_hidden, tasks, OBS_SIZE, 2 * ACTION_SIZE),
        count_parameters(network, network.critic_hidden, tasks, OBS_SIZE + ACTION_SIZE, values),
    )


def _dense_parameters(config: Config) -> tuple[int, int]:
    """As `_parameters`, of the same widths, with the zeros: what is stored."""
    widths = matched_network(
        config.network, len(config.env.tasks), OBS_SIZE, ACTION_SIZE, config.agent
    )
    dense = replace(widths, match_parameters=False, weight_density=1.0, segment_density=1.0)
    return _parameters(replace(config, network=dense))


def _widths(hidden: tuple[int, ...]) -> str:
    return " x ".join(str(units) for units in hidden)
