"""Everything a training run is made of: what influences a later step or a later row of metrics."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.random import SeedSequence
from torch import Generator

from agent.plan import Plan
from agent.replay import ReplayBuffer
from agent.sac import SAC
from envs import MetaWorldVectorEnv
from training.allocation import TaskShares
from training.batches import BatchSource
from training.collector import Collector
from training.metrics.accumulator import MeanAccumulator
from training.phases import Phase, phase_at
from training.progress import Progress
from training.stopwatch import Stopwatch
from training.streams import torch_generator


@dataclass
class RunState:
    """The live objects of a run."""

    plan: Plan
    agent: SAC
    replay: ReplayBuffer
    collector: Collector
    batches: BatchSource
    metrics: MeanAccumulator
    generators: dict[str, Generator]
    progress: Progress
    stopwatch: Stopwatch

    @property
    def phase(self) -> Phase:
        """What the next chunk is of."""
        return phase_at(self.progress.env_steps, self.plan.config)

    @classmethod
    def fresh(
        cls, plan: Plan, agent: SAC, envs: MetaWorldVectorEnv, streams: dict[str, SeedSequence]
    ) -> RunState:
        """The live objects at the start of a run; the environments are not reset yet."""
        config = plan.config
        replay = ReplayBuffer(
            len(plan.tasks),
            config.env.copies_per_task,
            config.replay.capacity,
            plan.obs_size,
            plan.action_size,
            plan.replay_device,
            discount=config.agent.discount,
            n_step=config.agent.n_step,
        )
        generators = {
            "exploration": torch_generator(streams["exploration"]),
            "learning": torch_generator(streams["learning"], plan.replay_device),
        }
        metrics, progress, stopwatch = MeanAccumulator(), Progress(), Stopwatch()
        shares = TaskShares(len(plan.tasks), config.env.least_task_share)
        return cls(
            plan=plan,
            agent=agent,
            replay=replay,
            collector=Collector(
                plan,
                envs,
                agent,
                replay,
                shares,
                metrics,
                progress,
                stopwatch,
                generators["exploration"],
            ),
            batches=BatchSource(plan, replay, shares, progress, stopwatch, generators["learning"]),
            metrics=metrics,
            generators=generators,
            progress=progress,
            stopwatch=stopwatch,
        )
