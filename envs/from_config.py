"""The two vector environments of a run, as its settings say."""

from __future__ import annotations

from typing import Literal

from numpy.random import SeedSequence

from configs.schema import Config
from envs.goals import GoalLists
from envs.vector import MT10VectorEnv


def training_envs(
    config: Config, goal_lists: GoalLists, seed: SeedSequence, workers: int | Literal["auto"]
) -> MT10VectorEnv:
    """The environments that the agent learns in."""
    env = config.env
    return MT10VectorEnv(
        env.tasks,
        goal_lists,
        num_goals=env.num_goals,
        copies=env.copies_per_task,
        horizon=env.horizon,
        seed=seed,
        workers=workers,
        start_method=env.start_method,
        stagger=env.stagger_episodes,
        step_timeout_s=env.step_timeout_s,
        max_worker_restarts=env.worker_restarts,
    )


def evaluation_envs(
    config: Config, goal_lists: GoalLists, seed: SeedSequence, workers: int | Literal["auto"]
) -> MT10VectorEnv:
    """The environments that it is evaluated in: of the evaluation's horizon, no autoreset."""
    return MT10VectorEnv(
        config.env.tasks,
        goal_lists,
        copies=config.evaluation.copies_per_task,
        horizon=config.evaluation.horizon,
        seed=seed,
        workers=workers,
        start_method=config.env.start_method,
        autoreset=False,
        step_timeout_s=config.env.step_timeout_s,
        max_worker_restarts=config.env.worker_restarts,
    )
