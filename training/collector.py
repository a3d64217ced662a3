"""One step of all environments: act, simulate, store, and tell everything that watches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from agent.exploration import ExplorationNoise, HeldActions
from agent.plan import Plan
from agent.replay import ReplayBuffer
from agent.sac import SAC
from envs import MetaWorldVectorEnv, Step, WorkerError
from envs.episodes import EpisodeTracker
from training.metrics.accumulator import MeanAccumulator
from training.progress import Progress
from training.stopwatch import Stopwatch


class Stateful(Protocol):
    """A part of a run's state that is plain arrays."""

    def state_dict(self) -> dict[str, NDArray]:
        """Its arrays, by name."""

    def load_state_dict(self, state: dict[str, NDArray]) -> None:
        """Restore them; raises `ValueError` where they do not fit."""


class Collector:
    """Steps the environments, with exploration and running episodes; fills the replay buffer.

    Args:
        plan: of the run.
        envs: the training environments.
        agent: whose policy acts, and whose scales learn from what is seen.
        replay: the buffer to fill.
        metrics: gets the returns and successes of finished episodes.
        progress: counts steps and episodes.
        stopwatch: times acting and simulating.
        generator: of random actions, noise and holds, on the CPU.
    """

    def __init__(
        self,
        plan: Plan,
        envs: MetaWorldVectorEnv,
        agent: SAC,
        replay: ReplayBuffer,
        metrics: MeanAccumulator,
        progress: Progress,
        stopwatch: Stopwatch,
        generator: Generator,
    ) -> None:
        exploration = plan.config.exploration
        shape = (*envs.shape, plan.action_size)
        self.plan, self.envs, self.agent, self.replay = plan, envs, agent, replay
        self.metrics, self.progress, self.stopwatch = metrics, progress, stopwatch
        self.generator = generator
        self.noise = ExplorationNoise(shape, exploration.noise_correlation)
        self.held = HeldActions(shape, exploration.hold_rate, exploration.hold_steps)
        self.episodes = EpisodeTracker(envs.shape)
        self.obs: NDArray[np.float32]  # [T, N, obs] to act on next

    def reset(self) -> None:
        """Start the first episodes."""
        self.obs = self.envs.reset()

    @contextmanager
    def step(self) -> Iterator[None]:
        """One vector step around a `with` block: the simulators are busy while the block runs.

        Raises:
            WorkerError: a simulator process failed once too often, or too many episodes were lost.
            NonFiniteError: an action is NaN or infinite.
        """
        with self.stopwatch.section("act"):
            actions = self._choose_actions()
        self.envs.step_async(actions)
        yield
        with self.stopwatch.section("simulate"):
            step = self.envs.step_wait()
        self._store(actions, step)
        self._count(step)

    def _choose_actions(self) -> NDArray[np.float32]:
        """Uniform random at first, then the policy's with its noise and holds: `[T, N, action]`."""
        if self.progress.env_steps < self.plan.config.exploration.random_env_steps:
            shape = (*self.envs.shape, self.plan.action_size)
            return (2 * torch.rand(shape, generator=self.generator) - 1).numpy()
        actions = self.agent.policy.act(self.obs, self.noise.next(self.generator))
        return self.held.apply(actions, self.generator)

    def _store(self, actions: NDArray[np.float32], step: Step) -> None:
        """Remember the step, and let everything learn from it that watches steps."""
        ends = step.terminated, step.truncated
        transitions = (self.obs, actions, step.reward, step.next_obs, *ends, step.lost)
        self.replay.add(*(torch.from_numpy(array) for array in transitions))
        self.noise.forget(step.done)
        self.held.forget(step.done)
        self.agent.observations.observe(self.obs, step.done)
        self.agent.rewards.observe(step.reward, step.done, step.lost)
        self.obs = step.obs

    def _count(self, step: Step) -> None:
        """Count steps and episodes; a run that loses too many episodes ends here."""
        progress = self.progress
        for episode in self.episodes.observe(step):
            task = self.plan.tasks[episode.task]
            self.metrics.add(
                {
                    f"train/success_rate/{task}": float(episode.success),
                    f"train/return/{task}": episode.total_reward,
                }
            )
            progress.episodes += 1
        progress.lost_episodes += int(step.lost.sum())
        progress.worker_restarts += step.worker_restarts
        progress.vector_steps += 1
        progress.env_steps += self.envs.num_envs
        if progress.lost_episodes > self.plan.config.machine.lost_episodes:
            raise WorkerError(
                f"{progress.lost_episodes} episodes lost to faults of the simulators; go on with a "
                "higher --machine.lost-episodes"
            )

    def parts(self) -> dict[str, Stateful]:
        """What collecting leaves behind as plain arrays, by its name in `loop.safetensors`."""
        return {
            "noise": self.noise,
            "held": self.held,
            "episodes": self.episodes,
            "observations": self.agent.observations.moments,
            "returns": self.agent.rewards.returns,
        }
