"""The row of metrics that training writes: what was gathered since the row before."""

from __future__ import annotations

import logging
import math

from agent.task_major import TASKS_PRESENT
from envs import NonFiniteError
from training.metrics.accumulator import per_task
from training.metrics.networks import network_statistics
from training.run_state import RunState

logger = logging.getLogger(__name__)

OF_SAMPLES = ("values/q", "policy/entropy")
"""Means over a task's samples in a batch, 0 where there are none."""


def training_metrics(state: RunState) -> dict[str, float]:
    """Everything gathered since the last call, by the keys of docs/metrics.md.

    Raises:
        NonFiniteError: an optimiser has skipped every one of its steps since then.
    """
    tasks, progress, agent = state.plan.tasks, state.progress, state.agent
    row: dict[str, float] = {
        "replay/transitions": int(state.replay.counts.sum()),
        "train/episodes": progress.episodes,
        "train/lost_episodes": progress.lost_episodes,
        "train/worker_restarts": progress.worker_restarts,
    }
    row |= by_task(state.metrics.pop(), tasks)
    for key in ("train/success_rate", "train/return"):
        known = [row[f"{key}/{task}"] for task in tasks if f"{key}/{task}" in row]
        row |= {key: sum(known) / len(known)} if known else {}
    scales = agent.rewards.scale.tolist()
    row |= {f"values/reward_scale/{task}": s for task, s in zip(tasks, scales, strict=True)}
    shares = state.batches.shares.shares(state.phase.plays).tolist()
    row |= {f"train/task_share/{task}": s for task, s in zip(tasks, shares, strict=True)}
    _require_learning(row)
    return row | network_statistics(agent, state.replay.newest(50).to(state.plan.device))


def by_task(means: dict[str, float | list[float]], tasks: tuple[str, ...]) -> dict[str, float]:
    """Metrics with a value for each task spread over the tasks' keys, with their mean.

    Those of a batch's samples are of the gradient steps that had samples of the task; without any, it has no
    value.
    """
    present = means.get(TASKS_PRESENT)
    row: dict[str, float] = {}
    for key, values in means.items():
        if key == TASKS_PRESENT:
            continue
        if not isinstance(values, list):
            row[key] = values
        elif key in OF_SAMPLES and isinstance(present, list):
            shares = zip(values, present, strict=True)
            row |= per_task(key, [mean / share if share else None for mean, share in shares], tasks)
        else:
            row |= per_task(key, values, tasks)
    return row


def _require_learning(row: dict[str, float]) -> None:
    """Say which steps were skipped and what was not finite; raise if an optimiser took no step at all."""
    skipped = {key: share for key, share in row.items() if key.startswith("losses/skipped/")}
    if not any(skipped.values()):
        return
    bad = ", ".join(sorted(key for key, value in row.items() if not math.isfinite(value)))
    what = ", ".join(f"{key.rpartition('/')[2]} {share:.1%}" for key, share in skipped.items())
    message = (
        f"gradient steps skipped since the last row ({what}); not finite: {bad or 'gradients'}"
    )
    if 1.0 in skipped.values():
        raise NonFiniteError(
            f"{message}; nothing is learned any more. The last checkpoint is good: resume from it, or start "
            "anew with smaller learning rates"
        )
    logger.warning(message)
