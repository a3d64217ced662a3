"""Evaluation of a policy: the same call in training and in evaluate.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import SeedSequence
from numpy.typing import NDArray
from tabulate import tabulate

from configs.schema import EvaluationConfig
from envs import EpisodeResults, MetaWorldVectorEnv, rollout
from training.metrics.accumulator import per_task
from training.streams import torch_generator


def evaluate(
    envs: MetaWorldVectorEnv,
    settings: EvaluationConfig,
    *,
    goals: int,
    tasks: NDArray[np.int64] | None = None,
    seed: SeedSequence,
    keep_steps: bool = False,
    on_step: Callable[[], object] = lambda: None,
) -> EpisodeResults:
    """Let the player of the environments act on the first `goals` goals of every task.

    Where `tasks` are given, indices in order, the others stand still.

    Neither the agent nor any training stream is touched: sampled actions draw their noise from
    `seed`, afresh in every call.
    """
    return rollout(
        envs,
        goals=goals,
        tasks=tasks,
        episodes_per_goal=settings.distinct_episodes_per_goal,
        generator=torch_generator(seed),
        keep_steps=keep_steps,
        on_step=on_step,
    )


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
