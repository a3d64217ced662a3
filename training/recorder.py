"""Writes a run down: a row of metrics, an evaluation, a checkpoint, each when it is due."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.random import SeedSequence
from numpy.typing import NDArray
from tqdm import tqdm

from continual.matrix_files import heat_map, write_matrix
from envs import EpisodeResults, MetaWorldVectorEnv
from machine.console import say
from training.checkpoints.resume import save_best, save_newest
from training.evaluation import evaluate, evaluation_metrics, format_evaluation
from training.metrics.keys import COUNTER_COLUMNS, metric_keys
from training.metrics.log import MetricsLog
from training.metrics.pictures import hidden_layer_pictures
from training.metrics.rows import training_metrics
from training.phases import ends_a_task, phase_at
from training.run_state import RunState
from training.stop_signals import StopSignals

logger = logging.getLogger(__name__)


class Recorder:
    """Keeps metrics.csv, TensorBoard, the progress bar and the checkpoints of a run.

    Args:
        state: the run.
        folder: of the run.
        envs: the evaluation environments; the agent's policy acts in them.
        seed: of sampled actions in evaluations.
        signals: ask a run to stop, also in the middle of an evaluation.
        resumed: whether the state comes from a checkpoint.
    """

    def __init__(
        self,
        state: RunState,
        folder: Path,
        envs: MetaWorldVectorEnv,
        seed: SeedSequence,
        signals: StopSignals,
        resumed: bool,
    ) -> None:
        self.state, self.config, self.progress = state, state.plan.config, state.progress
        self.folder, self.envs, self.seed, self.signals = folder, envs, seed, signals
        progress = self.progress
        written = (progress.next_row_env_steps, progress.metrics_bytes) if resumed else None
        self.log = MetricsLog(folder, COUNTER_COLUMNS, metric_keys(self.config), written)
        progress.metrics_bytes = self.log.size
        self.stopwatch = state.stopwatch
        self.stopwatch.start(progress.elapsed_hours)
        self._done_at_last_row = (progress.env_steps, progress.gradient_steps)
        self._bar = tqdm(
            total=self.config.total_env_steps,
            initial=progress.env_steps,
            unit="step",
            disable=None,
        )

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        self.log.close()

    def record(self) -> None:
        """Write what is due after the steps so far. A run that has finished saves in any case.

        Raises:
            StopRequested: a signal came during an evaluation.
            NonFiniteError: nothing was learned since the last row.
            OSError: metrics.csv, or the last checkpoint, can't be written.
        """
        progress = self.progress
        self._bar.update(progress.env_steps - self._bar.n)
        self._write_row()
        finished = progress.env_steps >= self.config.total_env_steps
        if finished or progress.is_due(
            "checkpoint", self.config.recording.checkpoint_interval_env_steps
        ):
            progress.last_checkpoint_env_steps = progress.env_steps
            self._save(save_newest, or_fail=finished)
        if finished:
            self._bar.close()

    def evaluate(
        self, goals: int, tasks: NDArray[np.int64] | None = None, keep_steps: bool = False
    ) -> EpisodeResults:
        """Episodes on the first `goals` goals of each of `tasks`, or of all, as evaluate.py runs them."""
        evaluation = self.config.evaluation
        with self.stopwatch.section("evaluate"):
            return evaluate(
                self.envs,
                evaluation,
                goals=goals,
                tasks=tasks,
                seed=self.seed,
                keep_steps=keep_steps,
                on_step=self.signals.check,
            )

    def write_matrix(self, matrix: list[list[float]]) -> None:
        """Write R `[T, T]` of the tasks so far: matrix.csv, matrix.png, an image in TensorBoard."""
        results, tasks = np.array(matrix), self.state.plan.tasks[: len(matrix)]
        write_matrix(self.folder, results, tasks)
        self.log.image("eval/matrix", heat_map(results, tasks), self.progress.env_steps)

    def _write_row(self) -> None:
        """Write the row of metrics that is due, if any; print the table of an evaluation."""
        row: dict[str, float] = {}
        progress, is_best = self.progress, False
        tasks = self._to_evaluate()
        if len(tasks):
            of_all = len(tasks) == len(self.state.plan.tasks)
            results = self.evaluate(self.config.evaluation.goals, tasks, keep_steps=of_all)
            row |= evaluation_metrics(results)
            if results.steps is not None:
                with self.stopwatch.section("evaluate"):
                    pictures = hidden_layer_pictures(self.state.agent.policy, results.steps)
                    self.log.pictures(pictures, progress.env_steps)
            is_best = of_all and row["eval/success_rate"] > progress.best_success_rate
            say(f"{format_evaluation(results, progress.env_steps)}\n")
            progress.last_evaluation_env_steps = progress.env_steps
        if progress.is_due("log", self.config.recording.log_interval_env_steps):
            row |= training_metrics(self.state) | self._time_since_last_row()
            progress.last_log_env_steps = progress.env_steps
        if row:
            progress.elapsed_hours = self.stopwatch.elapsed_hours()
            self.log.write(asdict(progress), row)
            progress.metrics_bytes = self.log.size
        if is_best and self._save(save_best):
            progress.best_success_rate = row["eval/success_rate"]

    def _to_evaluate(self) -> NDArray[np.int64]:
        """The tasks whose evaluation is due: those that play, all at the end of a task, or none."""
        progress, config = self.progress, self.config
        all_tasks, done = np.arange(len(self.state.plan.tasks)), progress.env_steps
        if ends_a_task(done, config) and progress.last_evaluation_env_steps < done:
            return all_tasks
        if progress.is_due("evaluation", config.evaluation.interval_env_steps):
            return phase_at(done, config).plays
        return all_tasks[:0]

    def _time_since_last_row(self) -> dict[str, float]:
        """Speeds, and where the wall-clock went."""
        progress = self.progress
        env_steps, gradient_steps = self._done_at_last_row
        self._done_at_last_row = (progress.env_steps, progress.gradient_steps)
        times = self.stopwatch.read(
            progress.env_steps - env_steps, progress.gradient_steps - gradient_steps
        )
        speed = times["time/gradient_steps_per_second"]
        self._bar.set_postfix_str(f"{speed:.1f} gradient steps/s")
        return times

    def _save(self, write: Callable[[RunState, Path], Path], or_fail: bool = False) -> bool:
        """Write a checkpoint; where the disk does not take it, say so and go on."""
        with self.stopwatch.section("checkpoint"):
            try:
                write(self.state, self.folder / "checkpoints")
                return True
            except OSError as error:
                if or_fail:
                    raise
                logger.warning(
                    "no checkpoint could be written (%s); trying again at the next interval", error
                )
                return False
