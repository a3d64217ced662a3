"""Train one Soft Actor-Critic agent with active dendrites on Meta-World MT10.

    python train_mt10.py --config quick             # eleven minutes on two cores
    python train_mt10.py --config mt10 --seed 1     # the full run
    python train_mt10.py --resume runs/RUN          # go on after Ctrl-C or a crash
    tensorboard --logdir runs                       # watch

The story: environments -> replay buffer -> SAC update -> checkpoint -> report.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from agent.counters import updates_due
from agent.devices import configure_cpu, resolve_device, simulator_workers
from agent.evaluation import evaluate_agent
from agent.forecast import describe, require_memory
from agent.saved_state import restore, save_best, save_newest
from agent.seeding import seed_streams
from agent.stop_signals import StopRequested, StopSignals
from agent.training_state import TrainingState
from configs import Config, UsageError, dump_config, exit_on_usage_error
from configs.command_line import parse_train_command
from envs import (
    ACTION_SIZE,
    EpisodeResults,
    MT10VectorEnv,
    WorkerError,
    evaluation_envs,
    make_goal_lists,
    training_envs,
)
from reporting.metrics_log import MetricsLog
from reporting.report import (
    evaluation_metrics,
    format_evaluation,
    format_table,
    make_report,
    report_facts,
    write_report,
)
from reporting.run_folder import create_run_folder, open_run
from reporting.stopwatch import Stopwatch


def main() -> int:
    """The command: returns the exit code."""
    command = parse_train_command(sys.argv[1:])
    config = command.settings
    device = resolve_device(config.device)
    configure_cpu(config.threads)
    if command.dry_run:
        print(dump_config(config))
        print(describe(config, device))
        return 0
    print(describe(config, device))
    require_memory(config, device)
    run = command.resume or create_run_folder(command.out, command.config, config.seed)
    with open_run(run, config, resume=command.resume is not None) as checkpoint:
        return train(config, device, run, checkpoint)


def train(config: Config, device: torch.device, run: Path, checkpoint: Path | None) -> int:
    """Train from the start or from a checkpoint, then write the report; returns the exit code."""
    streams = seed_streams(config.seed)
    goal_lists = make_goal_lists(config.seed)
    workers = simulator_workers(config.env.workers, device)
    with (
        StopSignals() as signals,
        training_envs(config, goal_lists, streams["environments"], workers) as envs,
        evaluation_envs(config, goal_lists, streams["evaluation"], config.env.workers) as eval_envs,
    ):
        state = TrainingState.fresh(config, device, envs)
        obs = envs.reset() if checkpoint is None else restore(state, checkpoint)
        counters = state.counters
        written = counters.next_row_env_steps, counters.metrics_bytes
        resume_at = None if checkpoint is None else written
        loop = TrainingLoop(state, run, MetricsLog(run, config, resume_at), eval_envs, signals)
        try:
            loop.run_from(obs)
            loop.report()
        except (StopRequested, WorkerError) as stop:
            path = save_newest(state, run / "checkpoints")
            how = f"saved {path}\nresume with: python train_mt10.py --resume {run}"
            if isinstance(stop, WorkerError):
                raise UsageError(f"{stop}; {how}") from stop
            print(f"stopped; {how}")
            return 128 + (signals.received or 0)
        finally:
            loop.log.close()
    return 0


class TrainingLoop:
    """Collect, learn, log, evaluate, save, until the environment steps are used up."""

    def __init__(
        self,
        state: TrainingState,
        run: Path,
        log: MetricsLog,
        eval_envs: MT10VectorEnv,
        signals: StopSignals,
    ) -> None:
        self.state, self.config, self.counters = state, state.config, state.counters
        self.run, self.log, self.eval_envs, self.signals = run, log, eval_envs, signals
        self.counters.metrics_bytes = log.size
        self.stopwatch = Stopwatch(self.counters.elapsed_hours)
        self.done_at_last_row = (self.counters.env_steps, self.counters.gradient_steps)

    def run_from(self, obs: NDArray[np.float32]) -> None:
        """The loop. `obs [T, N, 39]` is what to act on first."""
        state, counters, total = self.state, self.counters, self.config.total_env_steps
        with tqdm(total=total, initial=counters.env_steps, unit="step", disable=None) as bar:
            while True:
                row = self.evaluate_and_log()
                if "time/gradient_steps_per_second" in row:
                    speed = row["time/gradient_steps_per_second"]
                    bar.set_postfix_str(f"{speed:.1f} gradient steps/s")
                done = counters.env_steps >= total
                if done or self.is_due(
                    "checkpoint", self.config.training.checkpoint_interval_env_steps
                ):
                    counters.last_checkpoint_env_steps = counters.env_steps
                    self.save(save_newest, or_fail=done)
                if done:
                    break
                self.signals.check()
                obs = self.collect_and_learn(obs)
                bar.update(state.envs.num_envs)

    def collect_and_learn(self, obs: NDArray[np.float32]) -> NDArray[np.float32]:
        """One vector step, with the gradient steps that are due while the simulators run."""
        state, counters = self.state, self.counters
        with self.stopwatch.section("act"):
            actions = self.choose_actions(obs)
        state.envs.step_async(actions)
        self.learn()
        with self.stopwatch.section("simulate"):
            step = state.envs.step_wait()
        ends = step.terminated, step.truncated
        transitions = (obs, actions, step.reward, step.next_obs, *ends, step.lost)
        state.replay.add(*(torch.from_numpy(array) for array in transitions))
        state.noise.forget(step.done)
        state.held.forget(step.done)
        state.observations.observe(obs)
        state.returns.observe(step.reward, step.done & ~step.lost)
        state.returns.forget(step.lost)
        if step.done.any():
            state.agent.set_observation_scale(state.observations)
            state.agent.set_reward_scale(state.returns)
        for episode in state.episodes.observe(step):
            task = self.config.env.tasks[episode.task]
            state.metrics.add(
                {
                    f"train/success_rate/{task}": float(episode.success),
                    f"train/return/{task}": episode.total_reward,
                }
            )
            counters.episodes += 1
        counters.lost_episodes += int(step.lost.sum())
        counters.worker_restarts += step.worker_restarts
        counters.vector_steps += 1
        counters.env_steps += state.envs.num_envs
        if counters.lost_episodes > self.config.env.lost_episodes:
            raise WorkerError(
                f"{counters.lost_episodes} episodes lost to faults of the simulators; go on with a "
                "higher --env.lost-episodes"
            )
        return step.obs

    def choose_actions(self, obs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Uniform random at first, then the policy's with its noise and holds: `[T, N, 4]`."""
        generator = self.state.generators["exploration"]
        if self.counters.env_steps < self.config.training.random_env_steps:
            return (2 * torch.rand(*obs.shape[:2], ACTION_SIZE, generator=generator) - 1).numpy()
        actions = self.state.agent.act(obs, self.state.noise.next(generator))
        return self.state.held.apply(actions, generator)

    def learn(self) -> None:
        """The gradient steps that are due after the vector steps so far."""
        counters, state = self.counters, self.state
        due = updates_due(counters.vector_steps, state.envs.num_envs, self.config.training)
        generator, replay = state.generators["learning"], self.config.replay
        state.agent.set_learning_rates(counters.env_steps / self.config.total_env_steps)
        while counters.gradient_steps < due:
            with self.stopwatch.section("sample"):
                batch = state.replay.sample(replay.sampling, replay.batch_size, generator)
                shape = (2, *batch.action.shape)
                noise = torch.randn(shape, generator=generator, device=generator.device)
                batch, noise = batch.to(state.device), noise.to(state.device)
            with self.stopwatch.section("learn"):
                metrics = state.agent.update(batch, noise)
            state.metrics.add(metrics)
            counters.gradient_steps += 1

    def evaluate_and_log(self) -> dict[str, float]:
        """Write and return the row of metrics that is due, if any; print an evaluation's table."""
        row: dict[str, float] = {}
        evaluation, is_best = self.config.evaluation, False
        if self.is_due("evaluation", evaluation.interval_env_steps):
            results = self.evaluate(evaluation.goals)
            row |= evaluation_metrics(results)
            is_best = row["eval/success_rate"] > self.counters.best_success_rate
            tqdm.write(format_evaluation(results, self.counters.env_steps))
            self.counters.last_evaluation_env_steps = self.counters.env_steps
        if self.is_due("log", self.config.training.log_interval_env_steps):
            row |= self.state.pop_metrics() | self.time_since_last_row()
            self.counters.last_log_env_steps = self.counters.env_steps
        if row:
            self.counters.elapsed_hours = self.stopwatch.elapsed_hours()
            self.log.write(asdict(self.counters), row)
            self.counters.metrics_bytes = self.log.size
        if is_best and self.save(save_best):
            self.counters.best_success_rate = row["eval/success_rate"]
        return row

    def evaluate(self, goals: int) -> EpisodeResults:
        """Episodes on the first `goals` goals of each task, as evaluate.py runs them."""
        evaluation = self.config.evaluation
        with self.stopwatch.section("evaluate"):
            return evaluate_agent(
                self.state.agent,
                self.eval_envs,
                goals=goals,
                episodes_per_goal=evaluation.episodes_per_goal,
                actions=evaluation.actions,
                seed=seed_streams(self.config.seed)["evaluation"],
                on_step=self.signals.check,
            )

    def time_since_last_row(self) -> dict[str, float]:
        """Speeds, and where the wall-clock went."""
        env_steps, gradient_steps = self.done_at_last_row
        self.done_at_last_row = (self.counters.env_steps, self.counters.gradient_steps)
        return self.stopwatch.read(
            self.counters.env_steps - env_steps, self.counters.gradient_steps - gradient_steps
        )

    def is_due(self, what: str, interval: int) -> bool:
        """Whether another multiple of `interval` environment steps has passed since the last `what`."""
        last: int = getattr(self.counters, f"last_{what}_env_steps")
        return self.counters.env_steps // interval > last // interval

    def save(self, write: Callable[[TrainingState, Path], Path], or_fail: bool = False) -> bool:
        """Write a checkpoint; where the disk does not take it, say so and go on."""
        with self.stopwatch.section("checkpoint"):
            try:
                write(self.state, self.run / "checkpoints")
                return True
            except OSError as error:
                if or_fail:
                    raise
                tqdm.write(
                    f"warning: no checkpoint could be written ({error}); trying again at the next interval"
                )
                return False

    def report(self) -> None:
        """Evaluate every goal and write the report that evaluate.py would write."""
        results = self.evaluate(self.config.evaluation.report_goals)
        report = make_report(
            results, report_facts(self.config, self.counters.env_steps, self.config.evaluation)
        )
        write_report(report, self.run)
        print(f"{format_table(report)}\nreport: {self.run}/report.md, report.json, report.csv")


if __name__ == "__main__":
    exit_on_usage_error(main)
