"""Milliseconds per gradient step: our whole mt10 update, and what a user would take instead.

That is Stable-Baselines3's SAC (Raffin et al. 2021) as its documentation shows it: eager, a ReLU MLP
of the same widths, two scalar critics, one temperature; observations with the task as one-hot, the
same number of transitions in its buffer, the same batch. Drawing the batch is part of both updates.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Literal

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Generator

from agent.plan import Plan, resolve
from agent.replay import ReplayBuffer
from agent.sac import SAC
from benchmarks.measuring import Result, Spread, interleave, ratio
from benchmarks.update import QUICK_LIMIT_S, describe_precision
from benchmarks.variant_process import Measure, VariantProcess
from configs import Config, UsageError, load_config
from machine.cores import usable_cores
from machine.device import configure_cpu

TRANSITIONS = 100_000
"""In either buffer: more than caches hold, as in training."""
ROUNDS, UPDATES = 15, 10
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Peer:
    """One side of the comparison, in a process of its own."""

    side: Literal["ours", "sb3"]
    threads: int
    precision: Literal["auto", "float32"]
    """Of ours; Stable-Baselines3 has float32 alone."""
    part: Literal["update", "batch"] = "update"
    """The whole update, or the drawing of its batch alone."""

    def __str__(self) -> str:
        who = "ours, compiled" if self.side == "ours" else "Stable-Baselines3's SAC, eager"
        what = "" if self.part == "update" else ", of which drawing the batch"
        return f"{who}, {self.threads} thread{'' if self.threads == 1 else 's'}{what}"

    def config(self) -> Config:
        """The mt10 preset; Stable-Baselines3 gets its sizes."""
        config = load_config("mt10")
        return replace(
            config,
            machine=replace(config.machine, precision=self.precision),
            replay=replace(config.replay, capacity=TRANSITIONS),
        )


def require_peers() -> None:
    """Raise `UsageError` if Stable-Baselines3 is missing."""
    if importlib.util.find_spec("stable_baselines3") is None:
        raise UsageError(
            "peers: Stable-Baselines3 is not installed; "
            ".venv/bin/python -m pip install -c requirements.lock -e '.[peers]' installs it"
        )


def benchmark_peers(quick: bool, precision: Literal["auto", "float32"]) -> Result:
    """Both sides with one and with two threads, in turn."""
    counts = [threads for threads in (1, 2) if threads <= usable_cores()]
    require_peers()
    peers = [Peer(side, n, precision) for n in counts for side in ("ours", "sb3")]
    peers += [Peer(side, 1, precision, "batch") for side in ("ours", "sb3")]
    with ExitStack() as stack:
        processes = []
        for peer in peers:
            processes.append(VariantProcess(peer, prepare))
            stack.callback(processes[-1].close)
        for process in processes:
            process.wait()
        jobs = {process.variant: partial(process.measure, UPDATES) for process in processes}
        rounds, limit_s = (ROUNDS, QUICK_LIMIT_S) if quick else (3 * ROUNDS, math.inf)
        times = interleave(jobs, rounds, limit_s)
    result = Result(unit="ms")
    result.measured = {str(peer): Spread.of(values) for peer, values in times.items()}
    for n in counts:
        ours, theirs = (times[Peer(side, n, precision)] for side in ("ours", "sb3"))
        result.ratios[f"ours_over_sb3_{n}_thread{'' if n == 1 else 's'}"] = ratio(ours, theirs)
    result.notes["precision of ours"] = describe_precision(precision, CPU)
    result.notes["stable_baselines3"] = importlib.metadata.version("stable_baselines3")
    return result


def prepare(peer: Peer) -> Measure:
    """What does updates, or draws batches, in the process of a peer."""
    plan = resolve(peer.config(), CPU)
    once = (_ours if peer.side == "ours" else _stable_baselines)(plan, peer)

    def measure(updates: int) -> float:
        milliseconds = []
        for _ in range(updates):
            start = time.perf_counter()
            once()
            milliseconds.append(1e3 * (time.perf_counter() - start))
        return median(milliseconds)

    return measure


def _ours(plan: Plan, peer: Peer) -> Callable[[], object]:
    configure_cpu(peer.threads)
    generator = Generator().manual_seed(0)
    agent, replay = SAC(plan, generator), _filled_replay(plan, generator)
    settings = plan.config.replay
    shares = None if plan.config.env.treats_all_alike else torch.ones(len(plan.tasks))

    def once() -> object:
        batch = replay.sample(settings.sampling, settings.batch_size, generator, shares)
        if peer.part == "batch":
            return batch
        return agent.update(batch, torch.randn(2, *batch.action.shape, generator=generator))

    return once


def _filled_replay(plan: Plan, generator: Generator) -> ReplayBuffer:
    """The training run's buffer, full of random numbers."""
    config, tasks = plan.config, len(plan.tasks)
    replay = ReplayBuffer(
        tasks,
        config.env.copies_per_task,
        config.replay.capacity,
        plan.obs_size,
        plan.action_size,
        CPU,
        discount=config.agent.discount,
        n_step=config.agent.n_step,
    )
    full = {
        name: torch.rand(store.shape, generator=generator)
        for name, store in replay.storage.items()
        if store.is_floating_point()
    }
    ends = {name: store for name, store in replay.storage.items() if name not in full}
    counts = {
        "position": torch.zeros(tasks, dtype=torch.int64),
        "stored": torch.full((tasks,), replay.length),
    }
    replay.load_state_dict(full | ends | counts)
    return replay


def _stable_baselines(plan: Plan, peer: Peer) -> Callable[[], object]:
    import stable_baselines3
    from stable_baselines3.common.logger import Logger

    torch.set_num_threads(peer.threads)
    config = plan.config
    env = _Spaces(plan.obs_size + len(plan.tasks), plan.action_size)
    model = stable_baselines3.SAC(
        "MlpPolicy",
        env,
        policy_kwargs={"net_arch": list(config.network.actor_hidden)},
        batch_size=config.replay.batch_size,
        buffer_size=TRANSITIONS,
        device="cpu",
        seed=0,
    )
    model.set_logger(Logger(folder=None, output_formats=[]))
    draw = np.random.default_rng(0)
    buffer = model.replay_buffer
    assert buffer is not None  # made with the model
    for array in (buffer.observations, buffer.next_observations, buffer.actions, buffer.rewards):
        array[:] = draw.random(array.shape)
    buffer.full = True
    if peer.part == "batch":
        return partial(buffer.sample, config.replay.batch_size)
    return partial(model.train, gradient_steps=1, batch_size=config.replay.batch_size)


class _Spaces(gymnasium.Env):
    """An environment of the sizes of ours, which is never stepped."""

    def __init__(self, obs_size: int, action_size: int) -> None:
        self.observation_space = Box(-np.inf, np.inf, (obs_size,), np.float32)
        self.action_space = Box(-1.0, 1.0, (action_size,), np.float32)
