"""What a run writes down: rows of metrics, evaluations, checkpoints, the progress bar."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from machine.console import say
from permuted_mnist.evaluation import accuracies
from permuted_mnist.run_state import RunState
from training.metrics.log import MetricsLog
from training.stop_signals import StopSignals

logger = logging.getLogger(__name__)

COUNTERS = ("gradient_steps", "tasks_done")
KEYS = (
    "train/accuracy",
    "losses/cross_entropy",
    "segments/winners_changed",
    "contexts/known",
    "eval/accuracy",
    "time/gradient_steps_per_second",
    "time/elapsed_hours",
)
"""Columns of metrics.csv, and after them `eval/accuracy/task_<i>` of each task; docs/continual.md."""


class Recorder:
    """Writes what is due.

    Args:
        run: the live objects.
        folder: of the run.
        signals: ask a run to stop, also in the middle of an evaluation.
        resumed: whether the state comes from a checkpoint.
    """

    def __init__(self, run: RunState, folder: Path, signals: StopSignals, resumed: bool) -> None:
        self.run, self.folder, self.signals = run, folder, signals
        progress, num_tasks = run.progress, run.tasks.num_tasks
        per_task = [f"eval/accuracy/task_{task}" for task in range(num_tasks)]
        has_row = progress.last_row_gradient_steps == progress.gradient_steps
        next_row = progress.gradient_steps + has_row
        written = (next_row, progress.metrics_bytes) if resumed else None
        self.log = MetricsLog(folder, COUNTERS, [*KEYS, *per_task], written)
        progress.metrics_bytes = self.log.size
        self._started = time.perf_counter() - 3600 * progress.elapsed_hours
        self._last_row = time.perf_counter()
        self._steps_at_last_row = progress.gradient_steps
        total = num_tasks * run.steps_per_task
        self._bar = tqdm(total=total, initial=progress.gradient_steps, unit="step", disable=None)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        self.log.close()

    def record_step(self, metrics: dict[str, Tensor | float]) -> None:
        """After a gradient step: a row and a checkpoint, each when it is due."""
        progress, recording = self.run.progress, self.run.config.recording
        self.run.metrics.add(metrics)
        self._bar.update(progress.gradient_steps - self._bar.n)
        if progress.is_due("log", recording.log_interval_gradient_steps):
            progress.last_log_gradient_steps = progress.gradient_steps
            self._write({})
        if progress.is_due("checkpoint", recording.checkpoint_interval_gradient_steps):
            progress.last_checkpoint_gradient_steps = progress.gradient_steps
            self._save()

    def evaluate_untrained(self) -> None:
        """Before the first task: what a network that has learned nothing answers."""
        run = self.run
        which = range(run.tasks.num_tasks)
        run.untrained[:] = torch.tensor(self._accuracies(which), dtype=torch.float64)

    def evaluate(self) -> None:
        """After a task: it, the next one, which has not been learned, and if due all before it."""
        run, task, total = self.run, self.run.progress.tasks_done, self.run.tasks.num_tasks
        learned = task + 1
        due = learned % run.config.recording.evaluation_interval_tasks == 0 or learned == total
        which = range(0 if due else task, min(task + 2, total))
        results = self._accuracies(which)
        run.matrix[task, which] = torch.tensor(results, dtype=torch.float64)
        run.progress.tasks_done += 1
        so_far = dict(zip(which, results, strict=True))
        so_far.pop(learned, None)
        row = {f"eval/accuracy/task_{one}": value for one, value in so_far.items()}
        text = f"{learned} of {total} tasks learned: accuracy {so_far[task]:.1%} on the newest"
        if due:
            row["eval/accuracy"] = sum(so_far.values()) / learned
            text += f", {so_far[0]:.1%} on the first, {row['eval/accuracy']:.1%} on all of them"
        self._write(row)
        say(text)

    def _accuracies(self, which: range) -> list[float]:
        run = self.run
        run.learner.write_back()
        network = run.learner.network
        return accuracies(network, run.contexts, run.tasks, which, self.signals.check)

    def _write(self, row: dict[str, float]) -> None:
        progress, now = self.run.progress, time.perf_counter()
        means = {key: float(np.mean(value)) for key, value in self.run.metrics.pop().items()}
        progress.elapsed_hours = (now - self._started) / 3600
        steps = progress.gradient_steps - self._steps_at_last_row
        speed = steps / (now - self._last_row)
        self._steps_at_last_row, self._last_row = progress.gradient_steps, now
        timing = {"time/elapsed_hours": progress.elapsed_hours}
        if steps:
            timing["time/gradient_steps_per_second"] = speed
        known = {"contexts/known": float(len(self.run.contexts.table))}
        self.log.write(asdict(progress), {**means, **known, **row, **timing})
        progress.metrics_bytes = self.log.size
        progress.last_row_gradient_steps = progress.gradient_steps
        self.run.require_finite()

    def _save(self) -> None:
        """Write a checkpoint; where the disk does not take it, say so and go on."""
        try:
            self.run.save(self.folder / "checkpoints")
        except OSError as error:
            logger.warning(
                "no checkpoint could be written (%s); trying again at the next interval", error
            )
