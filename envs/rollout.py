"""Episodes on given goals: the one evaluation used in training and by `evaluate.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.step import Step
from envs.vector import MetaWorldVectorEnv


@dataclass(frozen=True)
class EpisodeSteps:
    """Every one of the H steps of K episodes of each of T tasks."""

    obs: NDArray[np.float32]  # [T, K, H, 39] acted on
    action: NDArray[np.float32]  # [T, K, H, 4]
    reward: NDArray[np.float32]  # [T, K, H]
    success: NDArray[np.bool_]  # [T, K, H] the flag after the step


@dataclass(frozen=True)
class EpisodeResults:
    """K episodes of each of T tasks; arrays are `[T, K]`."""

    tasks: tuple[str, ...]
    goal: NDArray[np.int64]  # [T, K] index into the goal list
    success: NDArray[np.bool_]  # [T, K] the success flag was set at any step: the headline
    final_success: NDArray[np.bool_]  # [T, K] the flag was set at the last step
    returns: NDArray[np.float64]  # [T, K] undiscounted sum of raw rewards
    length: NDArray[np.int64]  # [T, K] environment steps
    steps_to_success: NDArray[np.int64]  # [T, K] first step with the flag; -1 for never
    steps: EpisodeSteps | None = None  # where they were asked for


def rollout(
    envs: MetaWorldVectorEnv,
    *,
    goals: int,
    tasks: NDArray[np.int64] | None = None,
    episodes_per_goal: int = 1,
    generator: Any = None,
    keep_steps: bool = False,
    on_step: Callable[[], object] = lambda: None,
) -> EpisodeResults:
    """Let the player of the environments run the first `goals` goals of every task `episodes_per_goal` times each.

    Episodes run to the horizon: success neither ends nor shortens them, so that returns and final
    success mean what they say.

    Args:
        envs: made with `autoreset=False`; its N copies of a task share the episodes.
        goals, episodes_per_goal: K is their product.
        tasks: indices of those to run, in order; `None` for all.
        generator: source of the player's random numbers.
        keep_steps: whether the results have every step: some 180 bytes each.
        on_step: called after every vector step; may raise to abandon the evaluation.
    """
    tasks = np.arange(len(envs.tasks)) if tasks is None else tasks
    plan = np.repeat(np.arange(goals), episodes_per_goal)  # [K]
    waves, kept = [], []
    for start in range(0, len(plan), envs.copies):
        steps: list[dict[str, NDArray]] | None = [] if keep_steps else None
        goals_now = plan[start : start + envs.copies]
        waves.append(_run_wave(envs, goals_now, tasks, generator, steps, on_step))
        if steps is not None:
            kept.append(_stacked(steps, len(goals_now)))
    return EpisodeResults(
        tasks=tuple(envs.tasks[task] for task in tasks),
        **_concatenated(waves),
        steps=EpisodeSteps(**_concatenated(kept)) if keep_steps else None,
    )


def _run_wave(
    envs: MetaWorldVectorEnv,
    goals: NDArray[np.int64],
    tasks: NDArray[np.int64],
    generator: Any,
    kept: list[dict[str, NDArray]] | None,
    on_step: Callable[[], object],
) -> dict[str, NDArray]:
    """One episode on each of up to N goals, the same goals for all t tasks; `[t, len(goals)]`.

    `kept` gets what `EpisodeSteps` has of every step, `[t, N, ...]`.
    """
    padded = np.resize(goals, envs.copies)  # the last wave may be short: spare copies repeat goals
    plan = np.broadcast_to(padded, envs.shape)
    shape = (len(tasks), envs.copies)
    returns = np.zeros(shape)
    first = np.full(shape, -1)
    success = np.zeros(shape, bool)
    obs = envs.reset(plan)[tasks]  # [t, N, 39]
    for step_index, step in enumerate(_steps(envs, tasks, generator)):
        if kept is not None:
            of_step = {"action": step.action, "reward": step.reward, "success": step.success}
            kept.append({"obs": obs, **of_step})
        obs, success = step.obs, step.success
        returns += step.reward
        first[success & (first < 0)] = step_index + 1
        on_step()
    results = {
        "goal": plan[tasks],
        "success": first > 0,
        "final_success": success,
        "returns": returns,
        "length": np.full(shape, envs.horizon),
        "steps_to_success": first,
    }
    return {name: values[:, : len(goals)] for name, values in results.items()}


def _steps(envs: MetaWorldVectorEnv, tasks: NDArray[np.int64], generator: Any) -> Iterator[Step]:
    """The steps of one episode in every environment of the tasks, to the horizon."""
    left = envs.horizon
    while left:
        envs.play_async(min(left, envs.longest_chunk), tasks=tasks, generator=generator)
        steps = envs.play_wait()
        left -= len(steps)
        yield from steps


def _stacked(steps: list[dict[str, NDArray]], episodes: int) -> dict[str, NDArray]:
    """Steps of a wave as one array for each name, `[t, episodes, H, ...]`."""
    return {
        name: np.stack([step[name][:, :episodes] for step in steps], axis=2) for name in steps[0]
    }


def _concatenated(waves: list[dict[str, NDArray]]) -> dict[str, NDArray]:
    return {name: np.concatenate([wave[name] for wave in waves], axis=1) for name in waves[0]}
