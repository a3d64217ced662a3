"""Evaluation of a policy: the same call in training and in evaluate.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.random import SeedSequence
from numpy.typing import NDArray
from tabulate import tabulate

from agent.policy import Policy
from envs import ACTION_SIZE, EpisodeResults, MetaWorldVectorEnv, rollout
from training.metrics.accumulator import per_task
from training.streams import torch_generator


def evaluate_policy(
    policy: Policy,
    envs: MetaWorldVectorEnv,
    *,
    goals: int,
    episodes_per_goal: int,
    actions: Literal["mean", "sample"],
    seed: SeedSequence,
    on_step: Callable[[], object] = lambda: None,
) -> EpisodeResults:
    """Run the policy on the first `goals` goals of every task.

    Neither the agent nor any training stream is touched: sampled actions draw their noise from
    `seed`, afresh in every call. It uses one CPU thread, so that results do not depend on how many
    the learner has, and the simulators have the cores.
    """
    generator = torch_generator(seed) if actions == "sample" else None

    def act(obs: NDArray[np.float32]) -> NDArray[np.float32]:
        shape = (*obs.shape[:2], ACTION_SIZE)
        return policy.act(
            obs, None if generator is None else torch.randn(shape, generator=generator)
        )

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return rollout(envs, act, goals=goals, episodes_per_goal=episodes_per_goal, on_step=on_step)
    finally:
        torch.set_num_threads(threads)


def evaluation_metrics(results: EpisodeResults) -> dict[str, float]:
    """The `eval/` metrics of an evaluation during training."""
    columns = {
        "eval/success_rate": results.success,
        "eval/final_step_success_rate": results.final_success,
        "eval/return": results.returns,
    }
    metrics: dict[str, float] = {}
    for key, values in columns.items():
        metrics |= per_task(key, values.mean(axis=1).tolist(), results.tasks)
    return metrics


def format_evaluation(results: EpisodeResults, env_steps: int) -> str:
    """A short table for the console during training."""
    rows = []
    for index, name in enumerate([*results.tasks, "mean"]):
        pick = slice(None) if name == "mean" else slice(index, index + 1)
        success, final = results.success[pick].mean(), results.final_success[pick].mean()
        rows.append((name, f"{success:.0%}", f"{final:.0%}", f"{results.returns[pick].mean():.0f}"))
    headers = (f"{env_steps:,} steps", "success", "at last step", "return")
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)
