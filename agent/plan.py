"""The configuration resolved once: every `auto` decided, every derived size computed."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from agent.replay import ReplayBuffer
from agent.sizing import matched_network, value_outputs
from configs.network import NetworkConfig
from configs.schema import Config
from envs import ACTION_SIZE, OBS_SIZE
from machine.cores import usable_cores
from machine.device import free_bytes, resolve_device, resolve_precision


@dataclass(frozen=True)
class Plan:
    """What a run is, on this machine. Everything after the command line reads it from here."""

    config: Config
    tasks: tuple[str, ...]
    """Names, in one-hot order."""
    network: NetworkConfig
    """With the widths that are built, matched where `match_parameters` asks for it."""
    value_outputs: int
    """Outputs of a critic's head: 1, or the bins of its value distribution."""
    target_entropy: float
    """Of each task's policy [nats]."""
    device: torch.device
    """Of the learner."""
    precision: torch.dtype
    """Of the products between hidden layers in the update."""
    threads: int
    """CPU threads of the learner."""
    workers: int
    """Simulator processes while training."""
    evaluation_workers: int
    """Simulator processes of evaluations, in which the learner waits."""
    replay_bytes: int
    """Of the replay buffer."""
    replay_device: torch.device
    """Of the replay buffer: the learner's if it fits there, else the CPU."""
    obs_size: int = OBS_SIZE
    action_size: int = ACTION_SIZE


def resolve(config: Config, device: torch.device | None = None) -> Plan:
    """The plan of a config on a device; `None` takes the device that the config names.

    Half of the usable cores are the learner's, if it runs on the CPU: threads of one product wait for
    each other, so a core that a simulator takes away stalls them all. The simulators get the others.

    Raises:
        UsageError: the device is not in this machine.
    """
    tasks, machine = config.env.task_names, config.machine
    device = resolve_device(machine.device) if device is None else device
    cores = usable_cores()
    threads = max(1, cores // 2) if machine.threads == "auto" else machine.threads
    busy = threads if device.type == "cpu" else 1
    entropy = config.agent.target_entropy
    environments = len(tasks) * config.env.copies_per_task
    workers = max(1, cores - busy) if machine.workers == "auto" else machine.workers
    replay_bytes = ReplayBuffer.bytes_needed(
        len(tasks), config.env.copies_per_task, config.replay.capacity, OBS_SIZE, ACTION_SIZE
    )
    return Plan(
        config=config,
        tasks=tasks,
        network=matched_network(config.network, len(tasks), OBS_SIZE, ACTION_SIZE, config.agent),
        value_outputs=value_outputs(config.agent),
        target_entropy=-float(ACTION_SIZE) if entropy == "auto" else entropy,
        device=device,
        precision=resolve_precision(machine.precision, device),
        threads=threads,
        workers=min(workers, environments),
        evaluation_workers=min(
            cores if machine.workers == "auto" else machine.workers,
            len(tasks) * config.evaluation.copies_per_task,
        ),
        replay_bytes=replay_bytes,
        replay_device=ReplayBuffer.choose_device(replay_bytes, device, free_bytes(device)),
    )
