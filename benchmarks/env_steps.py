"""What one environment step costs, task by task: a simulator as in our workers, and Meta-World's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.measuring import Result, Spread, interleave, ratio
from configs import MT10
from envs import ACTION_SIZE, GoalLists
from envs.simulator.reset_cache import set_goal
from envs.simulator.simulator import Simulator, make_environment

STEPS = 200
OURS, META_WORLD = "env_step_us, ours", "env_step_us, Meta-World"


def add_env_steps(result: Result, goals: GoalLists, rounds: int) -> None:
    """Add microseconds of CPU time a step to the result: medians of each task, and the tasks' mean.

    Steps 1 to 200 of an episode with random actions, without resets, in this process.
    """
    actions = np.random.default_rng(0).uniform(-1, 1, (STEPS, ACTION_SIZE)).astype(np.float32)
    jobs = {}
    for task in MT10:
        jobs[task, OURS] = _ours(task, goals[task], actions)
        jobs[task, META_WORLD] = _meta_world(task, goals[task], actions)
    measured = interleave(jobs, rounds)
    means = {
        name: np.mean([measured[task, name] for task in MT10], axis=0).tolist()
        for name in (OURS, META_WORLD)
    }
    result.measured |= {name: Spread.of(values) for name, values in means.items()}
    result.measured |= {f"{name}, {task}": Spread.of(it) for (task, name), it in measured.items()}
    result.ratios["env_step_over_meta_world"] = ratio(means[OURS], means[META_WORLD])


def _ours(task: str, goals: NDArray[np.float64], actions: NDArray) -> Callable[[], float]:
    simulator = Simulator(task, goals)

    def run() -> float:
        simulator.reset(0)
        return _microseconds(simulator.step, actions)

    return run


def _meta_world(task: str, goals: NDArray[np.float64], actions: NDArray) -> Callable[[], float]:
    environment = make_environment(task)
    set_goal(environment, goals[0])

    def run() -> float:
        environment.reset()
        return _microseconds(environment.step, actions)

    return run


def _microseconds(step: Callable[[NDArray], Any], actions: NDArray) -> float:
    """Of CPU time a step, which a busy machine disturbs less than the clock on the wall."""
    with threadpool_limits(1):
        start = time.process_time()
        for action in actions:
            step(action)
        return (time.process_time() - start) / len(actions) * 1e6
