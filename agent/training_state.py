"""Everything a training run is made of, saved and restored together.

Resuming equals never having stopped, so whatever influences a later step or a later row of metrics
is in here: networks, masks, optimiser moments, temperatures, replay buffer, scales of returns and
observations, exploration noise, held actions, every generator, the running episodes, counters, and
metrics gathered since the last row.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from agent.accumulator import MeanAccumulator, per_task
from agent.checkpoint import BEST, NEWEST, load_into, load_part, load_state, save_checkpoint
from agent.diagnostics import network_statistics
from agent.exploration import ExplorationNoise, HeldActions
from agent.forecast import replay_device
from agent.observations import ObservationScale, observation_frame
from agent.replay import ReplayBuffer
from agent.returns import ReturnScale
from agent.sac import SAC
from agent.seeding import seed_streams, torch_generator
from configs.errors import UsageError
from configs.loading import config_as_dict
from configs.schema import Config
from envs.episodes import EpisodeTracker
from envs.goals import ACTION_SIZE, OBS_SIZE
from envs.vector import MT10VectorEnv


class _Stateful(Protocol):
    def state_dict(self) -> dict[str, NDArray]: ...

    def load_state_dict(self, state: dict[str, NDArray]) -> None: ...


@dataclass
class Counters:
    """How far the run has come. One vector step is one environment step in every environment."""

    env_steps: int = 0
    vector_steps: int = 0
    gradient_steps: int = 0
    episodes: int = 0
    updates_owed: float = 0.0
    """Gradient steps due but not yet done; its fraction is carried over."""
    last_log_env_steps: int = 0
    last_evaluation_env_steps: int = 0
    last_checkpoint_env_steps: int = 0
    best_success_rate: float = -1.0
    """Highest mean success of the evaluations during training; -1 before the first."""
    elapsed_hours: float = 0.0
    """Wall-clock until the last row of metrics, evaluations included, pauses not."""
    metrics_bytes: int = 0
    """Length of metrics.csv, so that rows written after a checkpoint are dropped on resume."""


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
        """Everything gathered since the last call, by the keys of docs/metrics.md."""
        tasks = self.config.env.tasks
        row: dict[str, float] = {
            "replay/transitions": self.replay.size * len(tasks),
            "train/episodes": self.counters.episodes,
        }
        for key, values in self.metrics.pop().items():
            row |= per_task(key, values, tasks) if isinstance(values, list) else {key: values}
        for key in ("train/success_rate", "train/return"):
            known = [row[f"{key}/{task}"] for task in tasks if f"{key}/{task}" in row]
            row |= {key: sum(known) / len(known)} if known else {}
        scales = self.agent.reward_scale.tolist()
        row |= {f"values/reward_scale/{task}": s for task, s in zip(tasks, scales, strict=True)}
        return row | network_statistics(self.agent, self.replay.newest(50).to(self.device))

    def save(self, folder: Path) -> Path:
        """Write the newest checkpoint into the run's `checkpoints/` and return its path."""
        simulators = self.envs.state_dict()
        loop: dict[str, Tensor] = {
            f"generator.{name}": generator.get_state()
            for name, generator in self.generators.items()
        }
        groups = {prefix: part.state_dict() for prefix, part in self._collectors().items()}
        groups["envs"] = {key: simulators[key] for key in simulators if key != "generators"}
        for prefix, arrays in groups.items():
            loop |= {f"{prefix}.{key}": torch.from_numpy(value) for key, value in arrays.items()}
        parts = {
            "agent": agent_tensors(self.agent),
            "replay": self.replay.state_dict(),
            "loop": loop,
        }
        state = {
            **self._header(),
            "goal_generators": simulators["generators"],
            "metrics": self.metrics.state_dict(),
        }
        return save_checkpoint(folder, NEWEST, self.counters.env_steps, parts, state)

    def save_best(self, folder: Path) -> Path:
        """Write the best checkpoint: networks only, for `evaluate.py`; it can't be resumed."""
        networks = {f"model.{name}": value for name, value in self.agent.state_dict().items()}
        parts = {"agent": networks}
        return save_checkpoint(folder, BEST, self.counters.env_steps, parts, self._header())

    def restore(self, checkpoint: Path) -> NDArray[np.float32]:
        """Load a checkpoint into the live objects; returns the observations to act on next.

        Raises:
            UsageError: it is damaged, of another network, or can't be resumed.
        """
        state = load_state(checkpoint)
        if "goal_generators" not in state:
            raise UsageError(f"{checkpoint}: holds networks only; resume from checkpoints/step_*")
        load_agent(self.agent, checkpoint)
        loop = load_part(checkpoint, "loop")
        try:
            self.replay.load_state_dict(load_part(checkpoint, "replay"))
            for name, generator in self.generators.items():
                self._restore_generator(generator, loop[f"generator.{name}"], state)
            for prefix, part in self._collectors().items():
                part.load_state_dict(_group(loop, prefix))
            self.metrics.load_state_dict(state["metrics"])
            self.counters = Counters(**state["counters"])
            simulators = {**_group(loop, "envs"), "generators": state["goal_generators"]}
            return self.envs.load_state_dict(simulators)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UsageError(f"{checkpoint}: can't be resumed ({error})") from error

    def _restore_generator(
        self, generator: Generator, saved: Tensor, state: dict[str, Any]
    ) -> None:
        if len(saved) == len(generator.get_state()):
            generator.set_state(saved)
            return
        # A GPU's generator can't go on where the CPU's stopped, nor the other way round.
        print("note: resumed on another kind of device; not bit for bit the same run any more")
        generator.manual_seed(generator.initial_seed() + state["counters"]["env_steps"])

    def _header(self) -> dict[str, Any]:
        return {"config": config_as_dict(self.config), "counters": asdict(self.counters)}

    def _collectors(self) -> dict[str, _Stateful]:
        """What collecting leaves behind as plain arrays, by its name in `loop.safetensors`."""
        return {
            "noise": self.noise,
            "held": self.held,
            "observations": self.observations,
            "returns": self.returns,
            "episodes": self.episodes,
        }


def _group(tensors: dict[str, Tensor], prefix: str) -> dict[str, NDArray]:
    """The arrays whose names begin with `prefix.`, without it."""
    return {
        name.removeprefix(f"{prefix}."): tensor.numpy()
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}.")
    }


def agent_tensors(agent: SAC) -> dict[str, Tensor]:
    """Parameters, masks, scales of rewards and observations, optimiser moments, by dotted name."""
    tensors = {f"model.{name}": value for name, value in agent.state_dict().items()}
    for name, optimizer in agent.optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{name}.{index}.{key}": value for key, value in moments.items()}
    return tensors


def load_agent(agent: SAC, checkpoint: Path) -> None:
    """Restore an agent; its networks must have the checkpoint's shapes.

    Raises:
        UsageError: damaged file or other shapes.
    """
    tensors = load_part(checkpoint, "agent")
    source = checkpoint / "agent.safetensors"
    own = {f"model.{name}": value for name, value in agent.state_dict().items()}
    load_into(own, {k: v for k, v in tensors.items() if k.startswith("model.")}, source)
    for name, optimizer in agent.optimizers.items():
        document = optimizer.state_dict()
        prefix = f"optimizer.{name}."
        for key, value in tensors.items():
            if key.startswith(prefix):
                index, moment = key.removeprefix(prefix).split(".")
                document["state"].setdefault(int(index), {})[moment] = value
        optimizer.load_state_dict(document)
