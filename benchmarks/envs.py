"""Environment steps per second: in one process, Gymnasium's AsyncVectorEnv, and ours; and one step."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

import gymnasium
import metaworld  # noqa: F401  registers Meta-World/MT10
import numpy as np
from numpy.random import SeedSequence
from threadpoolctl import threadpool_limits

from benchmarks.env_steps import add_env_steps
from benchmarks.measuring import Result, Spread, interleave, ratio
from configs import MT10
from envs import ACTION_SIZE, GoalLists, MetaWorldVectorEnv, make_goal_lists
from envs.simulator.reset_cache import set_goal
from envs.simulator.simulator import make_environment
from machine.cores import usable_cores

HORIZON, COPIES = 500, 5
CHUNK = 10  # vector steps, as in training
IN_PROCESS, ASYNCHRONOUS = "in process, 10 environments", "AsyncVectorEnv, 10 environments"


def benchmark_envs(quick: bool) -> Result:
    """Episodes of 500 steps with random actions and goals, resets included; then single steps."""
    rounds, env_steps = (7, 5_000) if quick else (15, 10_000)
    goal_lists, cores = make_goal_lists(MT10, 0), usable_cores()
    workers = min(cores, 10 * COPIES)  # each has at least one environment
    few_workers = min(cores, 10)
    counts = sorted({1, workers} | ({2} if workers > 2 else set()))
    with ExitStack() as stack:
        jobs = {
            IN_PROCESS: _in_process(goal_lists, env_steps),
            ASYNCHRONOUS: _asynchronous(env_steps, stack),
        }
        for count in counts:
            name = f"ours, {10 * COPIES} environments, {count} workers"
            jobs[name] = _ours(goal_lists, COPIES, count, env_steps, CHUNK, stack)
        by_step = f"ours, {10 * COPIES} environments, {workers} workers, step by step"
        few = f"ours, 10 environments, {few_workers} workers, step by step"
        jobs[by_step] = _ours(goal_lists, COPIES, workers, env_steps, 1, stack)
        jobs[few] = _ours(goal_lists, 1, few_workers, env_steps, 1, stack)
        rates = interleave(jobs, rounds)
    single, asynchronous = rates[IN_PROCESS], rates[ASYNCHRONOUS]
    best = rates[f"ours, {10 * COPIES} environments, {workers} workers"]
    result = Result(
        unit="environment steps/s, or microseconds",
        measured={name: Spread.of(values) for name, values in rates.items()},
        ratios={
            "ours_over_async": ratio(best, asynchronous),
            "ours_step_by_step_over_async": ratio(rates[by_step], asynchronous),
            "ours_over_async_same_10_environments": ratio(rates[few], asynchronous),
            "per_worker_over_in_process": ratio(best, single, 1 / workers),
            "async_over_in_process": ratio(asynchronous, single),
        },
        notes={
            "chunk, but where step by step": CHUNK,
            "horizon": HORIZON,
            "environment steps a measurement": env_steps,
        },
    )
    add_env_steps(result, goal_lists, rounds)
    return result


def _actions(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (100, *shape, ACTION_SIZE)).astype(np.float32)


def _in_process(goals: GoalLists, env_steps: int) -> Callable[[], float]:
    """The simplest thing: a loop over the ten environments, with one BLAS thread."""
    envs = [make_environment(task) for task in MT10]
    actions, rng, elapsed = _actions((10,)), np.random.default_rng(0), [HORIZON] * 10

    def run() -> float:
        start = time.perf_counter()
        with threadpool_limits(1):
            for step in range(env_steps // 10):
                for index, env in enumerate(envs):
                    if elapsed[index] == HORIZON:
                        set_goal(env, goals[MT10[index]][rng.integers(50)])
                        env.reset()
                        elapsed[index] = 0
                    env.step(actions[step % 100, index])
                    elapsed[index] += 1
        return env_steps / (time.perf_counter() - start)

    return run


def _asynchronous(env_steps: int, stack: ExitStack) -> Callable[[], float]:
    """As Meta-World's documentation recommends it; resets itself after 500 steps."""
    envs = gymnasium.make_vec("Meta-World/MT10", vector_strategy="async", seed=0)
    stack.callback(envs.close)
    envs.reset()
    actions = _actions((10,))

    def run() -> float:
        start = time.perf_counter()
        for step in range(env_steps // 10):
            envs.step(actions[step % 100])
        return env_steps / (time.perf_counter() - start)

    return run


def _ours(
    goals: GoalLists, copies: int, workers: int, env_steps: int, chunk: int, stack: ExitStack
) -> Callable[[], float]:
    envs = stack.enter_context(
        MetaWorldVectorEnv(
            MT10,
            goals,
            copies=copies,
            horizon=HORIZON,
            seed=SeedSequence(0),
            longest_chunk=chunk,
            workers=workers,
            stagger=True,
        )
    )
    envs.reset()
    actions = _actions((10, copies))

    def run() -> float:
        start = time.perf_counter()
        for step in range(0, env_steps // envs.num_envs, chunk):
            envs.play_async(chunk, actions=actions[step % 100 : step % 100 + chunk])
            envs.play_wait()
        return env_steps / (time.perf_counter() - start)

    return run
