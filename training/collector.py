"""A chunk of steps of all environments: let them play, store, and tell everything that watches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from agent.plan import Plan
from agent.replay import ReplayBuffer
from agent.sac import SAC
from envs import MetaWorldVectorEnv, Step, WorkerError
from envs.episodes import EpisodeTracker
from training.allocation import TaskShares
from training.metrics.accumulator import MeanAccumulator
from training.phases import Phase, phase_at
from training.progress import Progress, chunk_steps
from training.stopwatch import Stopwatch


class Stateful(Protocol):
    """A part of a run's state that is plain arrays."""

    def state_dict(self) -> dict[str, NDArray]:
        """Its arrays, by name."""

    def load_state_dict(self, state: dict[str, NDArray]) -> None:
        """Restore them; raises `ValueError` where they do not fit."""


class Collector:
    """Lets the environments play, follows their episodes, fills the replay buffer.

    Args:
        plan: of the run.
        envs: the training environments; the agent's policy acts in their workers.
        agent: whose scales learn from what is seen.
        replay: the buffer to fill.
        shares: say which tasks play.
        metrics: gets the returns and successes of finished episodes.
        progress: counts steps and episodes.
        stopwatch: times the waiting for the simulators.
        generator: of random actions, noise and holds, on the CPU.
    """

    def __init__(
        self,
        plan: Plan,
        envs: MetaWorldVectorEnv,
        agent: SAC,
        replay: ReplayBuffer,
        shares: TaskShares,
        metrics: MeanAccumulator,
        progress: Progress,
        stopwatch: Stopwatch,
        generator: Generator,
    ) -> None:
        self.plan, self.envs, self.agent, self.replay = plan, envs, agent, replay
        self.shares, self.metrics, self.progress = shares, metrics, progress
        self.stopwatch, self.generator = stopwatch, generator
        self.episodes = EpisodeTracker(envs.shape)
        self.obs: NDArray[np.float32]  # [T, N, obs] to act on next

    def reset(self) -> None:
        """Start the first episodes."""
        self.obs = self.envs.reset()

    @contextmanager
    def chunk(self) -> Iterator[int]:
        """A chunk of vector steps around a `with` block: the simulators play while the block runs.

        Yields the environment steps that are in play.

        Raises:
            WorkerError: a simulator process failed once too often, or too many episodes were lost.
            NonFiniteError: an action is NaN or infinite.
        """
        steps = chunk_steps(self.progress, self.plan.config)
        phase = phase_at(self.progress.env_steps, self.plan.config)
        actions = self._random(steps, phase)
        tasks = self.shares.next_chunk(phase.plays) if actions is None else phase.plays
        self.envs.play_async(steps, actions=actions, tasks=tasks, generator=self.generator)
        yield steps * self.envs.copies * len(tasks)
        with self.stopwatch.section("simulate"):
            played = self.envs.play_wait()
        self.stopwatch.add_simulators(self.envs.busy_s)
        for step in played:
            self._store(step)
            self._count(step)
        self._require_few_losses()  # not within the chunk, of which the simulators have played all

    def _random(self, steps: int, phase: Phase) -> NDArray[np.float32] | None:
        """Uniform random actions at first `[steps, T, N, action]`, then none: the policy acts."""
        done = self.progress.env_steps - phase.begins
        if done >= self.plan.config.exploration.random_env_steps:
            return None
        shape = (steps, *self.envs.shape, self.plan.action_size)
        return (2 * torch.rand(shape, generator=self.generator) - 1).numpy()

    def _store(self, step: Step) -> None:
        """Remember a step, and let everything learn from it that watches steps."""
        tasks, obs, ends = step.tasks, self.obs[step.tasks], (step.terminated, step.truncated)
        added = (obs, step.action, step.reward, step.next_obs, *ends, step.lost, tasks)
        self.replay.add(*(torch.from_numpy(array) for array in added))
        self.agent.observations.observe(obs, step.done, tasks)
        self.agent.rewards.observe(step.reward, step.done, step.lost, tasks)
        self.obs[tasks] = step.obs

    def _count(self, step: Step) -> None:
        """Count steps and episodes."""
        progress = self.progress
        for episode in self.episodes.observe(step):
            task = self.plan.tasks[episode.task]
            self.metrics.add(
                {
                    f"train/success_rate/{task}": float(episode.success),
                    f"train/return/{task}": episode.total_reward,
                }
            )
            self.shares.observe(episode.task, episode.success)
            progress.episodes += 1
        progress.lost_episodes += int(step.lost.sum())
        progress.worker_restarts += step.worker_restarts
        progress.vector_steps += 1
        progress.env_steps += step.reward.size
        self.shares.steps[step.tasks] += 1

    def _require_few_losses(self) -> None:
        """A run that loses too many episodes ends here, in a state that can be saved."""
        lost = self.progress.lost_episodes
        if lost > self.plan.config.machine.lost_episodes:
            raise WorkerError(
                f"{lost} episodes lost to faults of the simulators; go on with a higher "
                "--machine.lost-episodes, given with --resume"
            )

    def parts(self) -> dict[str, Stateful]:
        """What collecting leaves behind as plain arrays, by its name in `loop.safetensors`."""
        return {
            "episodes": self.episodes,
            "observations": self.agent.observations.moments,
            "returns": self.agent.rewards.returns,
            "shares": self.shares,
        }
