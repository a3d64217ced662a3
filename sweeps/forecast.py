"""What a sweep will take: time, memory, disk. Printed before anything is started.

The time is that of runs that are done, where an arm has any. Else a few gradient steps and environment steps
are tried here, without the compiler, which makes gradient steps faster later on.
"""

from __future__ import annotations

import heapq
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from tabulate import tabulate

from configs.permuted_mnist import PermutedConfig
from configs.schema import Config
from machine.interpreter import this_python
from sweeps.definition import Sweep, config_of
from sweeps.results import results_of
from sweeps.runs import Run, progress_of, threads_and_workers

if TYPE_CHECKING:
    from agent.plan import Plan

_UPDATES, _STEPS = 20, 100


@dataclass(frozen=True)
class Forecast:
    """Of one run of an arm: hours, main memory and disk [bytes]."""

    hours: float
    memory: int
    disk: int


def describe_sweep(sweep: Sweep, runs: Sequence[Run], jobs: int, cores: int) -> str:
    """The commands of the runs that are left, and what they need.

    Args:
        sweep: to be run.
        runs: of it.
        jobs: at a time.
        cores: of each.
    """
    left = [run for run in runs if run.state != "done"]
    rows, memory, disk = [], [], 0
    needed: dict[str, float] = {}  # name of a run -> hours
    for arm in sweep.arms:
        own = [run for run in left if run.arm == arm]
        needs = _forecast(sweep, arm, [run for run in runs if run.arm == arm], cores)
        needed |= {run.name: needs.hours * (1 - progress_of(run).fraction) for run in own}
        memory += [needs.memory] * len(own)
        disk += needs.disk * len(own)
        rows.append(
            (
                arm,
                len(own),
                _said(needs.hours),
                f"{needs.memory / 1e9:.1f}",
                f"{needs.disk / 1e9:.2f}",
            )
        )
    at_once = sum(sorted(memory)[-jobs:])
    in_order, places = [needed[run.name] for run in left], max(1, min(jobs, len(left)))
    longest = _hours_until_all_are_done(in_order, places)
    headers = ("arm", "runs left", "time of a run", "memory [GB]", "disk [GB]")
    python = this_python()
    commands = [f"{python} {shlex.join(run.arguments(cores))}" for run in left]
    return "\n".join(
        [
            *commands,
            "",
            tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True),
            f"{len(left)} of {len(runs)} runs are left, of {cores} core{'' if cores == 1 else 's'} each: "
            f"{_said(sum(in_order))} one by one, {_said(longest)} with {places} at a time, without start-up; "
            f"{at_once / 1e9:.1f} GB of memory, {disk / 1e9:.1f} GB of disk",
        ]
    )


def _hours_until_all_are_done(hours: Sequence[float], places: int) -> float:
    """Of runs that begin in this order, each as soon as one of so many places is free."""
    ends = [0.0] * places
    for needed in hours:
        heapq.heapreplace(ends, ends[0] + needed)
    return max(ends)


def _said(hours: float) -> str:
    if hours >= 2:
        return f"about {hours:.0f} hours"
    minutes = round(60 * hours)
    return f"about {minutes} minutes" if minutes > 1 else "a minute or less"


def _forecast(sweep: Sweep, arm: str, runs: Sequence[Run], cores: int) -> Forecast:
    config = config_of(sweep, arm, "the sweep")
    done = results_of(runs)
    known = float(np.mean([result.hours for result in done])) if done else None
    if isinstance(config, Config):
        return _of_robots(config, cores, known)
    return _of_images(config, cores, known)


def _of_robots(config: Config, cores: int, known: float | None) -> Forecast:
    from agent.plan import resolve
    from training.forecast import checkpoint_bytes, memory_bytes

    threads, workers = threads_and_workers(cores)
    machine = replace(config.machine, threads=threads, workers=workers, compile="never")
    plan = resolve(replace(config, machine=machine))
    hours = _robot_seconds(plan) / cores / 3600 if known is None else known
    return Forecast(hours, memory_bytes(plan), checkpoint_bytes(plan))


def _robot_seconds(plan: Plan) -> float:
    """Of one core, for all gradient steps and environment steps."""
    from torch import Generator

    from agent.first_update import blank_batch
    from agent.sac import SAC
    from envs import make_goal_lists
    from envs.simulator.simulator import Simulator
    from machine.device import configure_cpu
    from training.forecast import evaluation_env_steps
    from training.progress import updates_due

    configure_cpu(1)
    config = plan.config
    agent, batch = SAC(plan, Generator()), blank_batch(plan)
    agent.update(*batch)
    begin = time.perf_counter()
    for _ in range(_UPDATES):
        agent.update(*batch)
    learning = (time.perf_counter() - begin) / _UPDATES
    goals, simulating = make_goal_lists(plan.tasks, config.seed), []
    actions = np.random.default_rng(0).uniform(-1, 1, (_STEPS, 4)).astype(np.float32)
    for task in plan.tasks[:10]:
        simulator = Simulator(task, goals[task])
        simulator.reset(0)
        begin = time.perf_counter()
        for action in actions:
            simulator.step(action)
        simulating.append((time.perf_counter() - begin) / _STEPS)
    env_steps = config.total_env_steps + evaluation_env_steps(config)
    updates = updates_due(config.total_env_steps, config)
    return updates * learning + env_steps * float(np.mean(simulating))


def _of_images(config: PermutedConfig, cores: int, known: float | None) -> Forecast:
    from machine.device import configure_cpu
    from permuted_mnist.forecast import forecast
    from permuted_mnist.run_state import RunState

    needs = forecast(config)
    if known is None:
        configure_cpu(cores)
        run = RunState(replace(config, machine=replace(config.machine, compile="never")))
        run.contexts.begin_task(0, run.tasks.train_images(0))
        learning, seconds = config.learning, []
        batches = run.tasks.batches(0, learning.epochs, learning.batch_size, first=0)
        for images, labels in islice(batches, _UPDATES + 1):
            begin = time.perf_counter()
            run.follow_context(images)
            run.learner.update(images.to(run.device), labels.to(run.device), progress=0.0)
            seconds.append(time.perf_counter() - begin)
        steps = run.steps_per_task * config.data.num_tasks
        known = steps * float(np.mean(seconds[1:])) / 3600
    return Forecast(known, needs.memory_bytes, 2 * needs.checkpoint_bytes)
