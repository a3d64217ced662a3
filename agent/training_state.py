"""Everything a training run is made of: what influences a later step or a later row of metrics."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Protocol

import torch
from numpy.typing import NDArray
from torch import Generator

from agent.accumulator import MeanAccumulator, per_task
from agent.counters import Counters
from agent.diagnostics import network_statistics
from agent.exploration import ExplorationNoise, HeldActions
from agent.forecast import replay_device
from agent.observations import ObservationScale, observation_frame
from agent.replay import ReplayBuffer
from agent.returns import ReturnScale
from agent.sac import SAC
from agent.seeding import seed_streams, torch_generator
from configs.schema import Config
from envs.episodes import EpisodeTracker
from envs.goals import ACTION_SIZE, OBS_SIZE
from envs.vector import MT10VectorEnv, NonFiniteError


class Stateful(Protocol):
    """A part of the state that is plain arrays."""

    def state_dict(self) -> dict[str, NDArray]:
        """Its arrays, by name."""

    def load_state_dict(self, state: dict[str, NDArray]) -> None:
        """Restore them; raises `ValueError` where they do not fit."""


@dataclass
class TrainingState:
    """The live objects of a run."""

    config: Config
    agent: SAC
    replay: ReplayBuffer
    noise: ExplorationNoise
    held: HeldActions
    observations: ObservationScale
    returns: ReturnScale
    envs: MT10VectorEnv
    episodes: EpisodeTracker
    metrics: MeanAccumulator
    generators: dict[str, Generator]
    counters: Counters

    @classmethod
    def fresh(cls, config: Config, device: torch.device, envs: MT10VectorEnv) -> TrainingState:
        """The live objects at the start of a run."""
        storage_device = replay_device(config, device)
        streams = seed_streams(config.seed)
        tasks, copies = len(config.env.tasks), config.env.copies_per_task
        actions = (tasks, copies, ACTION_SIZE)
        return cls(
            config=config,
            agent=SAC(config, OBS_SIZE, ACTION_SIZE, device, torch_generator(streams["weights"])),
            replay=ReplayBuffer(
                tasks,
                config.replay.capacity,
                OBS_SIZE,
                ACTION_SIZE,
                storage_device,
                discount=config.agent.discount,
                n_step=config.agent.n_step,
            ),
            noise=ExplorationNoise(actions, config.agent.noise_correlation),
            held=HeldActions(actions, config.agent.hold_rate, config.agent.hold_steps),
            observations=ObservationScale(
                tasks, OBS_SIZE, observation_frame(config.agent.observation_frame, OBS_SIZE)
            ),
            returns=ReturnScale(tasks, copies, config.env.horizon, config.agent.discount),
            envs=envs,
            episodes=EpisodeTracker((tasks, copies)),
            metrics=MeanAccumulator(),
            generators={
                "exploration": torch_generator(streams["exploration"]),
                "learning": torch_generator(streams["learning"], storage_device),
            },
            counters=Counters(),
        )

    @property
    def device(self) -> torch.device:
        """Where the agent lives; the replay buffer may live elsewhere."""
        return self.agent.log_temperature.device

    def pop_metrics(self) -> dict[str, float]:
        """Everything gathered since the last call, by the keys of docs/metrics.md.

        Raises:
            NonFiniteError: an optimiser has skipped every one of its steps since then.
        """
        tasks = self.config.env.tasks
        row: dict[str, float] = {
            "replay/transitions": self.replay.size * len(tasks),
            "train/episodes": self.counters.episodes,
            "train/lost_episodes": self.counters.lost_episodes,
            "train/worker_restarts": self.counters.worker_restarts,
        }
        row |= self.by_task(self.metrics.pop())
        for key in ("train/success_rate", "train/return"):
            known = [row[f"{key}/{task}"] for task in tasks if f"{key}/{task}" in row]
            row |= {key: sum(known) / len(known)} if known else {}
        scales = self.agent.reward_scale.tolist()
        row |= {f"values/reward_scale/{task}": s for task, s in zip(tasks, scales, strict=True)}
        _require_learning(row)
        return row | network_statistics(self.agent, self.replay.newest(50).to(self.device))

    def by_task(self, means: dict[str, float | list[float]]) -> dict[str, float]:
        """Metrics with a value for each task spread over the tasks' keys, with their mean."""
        row: dict[str, float] = {}
        for key, values in means.items():
            row |= (
                per_task(key, values, self.config.env.tasks)
                if isinstance(values, list)
                else {key: values}
            )
        return row

    def collectors(self) -> dict[str, Stateful]:
        """What collecting leaves behind as plain arrays, by its name in `loop.safetensors`."""
        return {
            "noise": self.noise,
            "held": self.held,
            "observations": self.observations,
            "returns": self.returns,
            "episodes": self.episodes,
        }


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
    print(f"warning: {message}", file=sys.stderr)
