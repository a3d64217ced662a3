"""The two vector environments of a run, as its settings say."""

from __future__ import annotations

from typing import Any

from numpy.random import SeedSequence

from configs.schema import Config, MachineConfig
from envs.goals import GoalLists
from envs.players import Player
from envs.vector import MetaWorldVectorEnv

EVALUATION_CHUNK = 10
"""Vector steps that the workers play at once; what is measured does not depend on it."""


def training_envs(
    config: Config, goal_lists: GoalLists, seed: SeedSequence, workers: int, player: Player
) -> MetaWorldVectorEnv:
    """The environments that the agent learns in, in so many worker processes."""
    env, machine = config.env, config.machine
    return MetaWorldVectorEnv(
        env.task_names,
        goal_lists,
        num_goals=env.num_goals,
        copies=env.copies_per_task,
        horizon=env.horizon,
        seed=seed,
        player=player,
        longest_chunk=config.training.chunk_vector_steps,
        workers=workers,
        **_where(machine),
        stagger=env.stagger_episodes,
        step_timeout_s=machine.step_timeout_s,
        max_worker_restarts=machine.worker_restarts,
    )


def evaluation_envs(
    config: Config, goal_lists: GoalLists, workers: int, player: Player
) -> MetaWorldVectorEnv:
    """The environments that it is evaluated in: goals given, the evaluation's horizon, no autoreset."""
    evaluation, machine = config.evaluation, config.machine
    return MetaWorldVectorEnv(
        config.env.task_names,
        goal_lists,
        copies=evaluation.copies_per_task,
        horizon=evaluation.horizon,
        player=player,
        longest_chunk=EVALUATION_CHUNK,
        workers=workers,
        **_where(machine),
        autoreset=False,
        step_timeout_s=machine.step_timeout_s,
        max_worker_restarts=machine.worker_restarts,
    )


def _where(machine: MachineConfig) -> dict[str, Any]:
    """How the workers are started."""
    if machine.workers_backend == "processes":
        return {"start_method": machine.start_method}
    local = machine.ray_address == "local"
    return {"start_method": "ray", "ray_address": None if local else machine.ray_address}
