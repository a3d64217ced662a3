"""The batches of the gradient steps that are due."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from agent.batch import Batch
from agent.plan import Plan
from agent.replay import ReplayBuffer
from training.allocation import TaskShares
from training.phases import Phase, phase_at
from training.progress import Progress, updates_due
from training.stopwatch import Stopwatch


class BatchSource:
    """Draws a batch and the update's noise for every gradient step that is due.

    Args:
        plan: of the run.
        replay: what is drawn from.
        shares: of the tasks in a batch.
        progress: counts the gradient steps.
        stopwatch: times the drawing.
        generator: source of batches and noise, on the replay buffer's device.
    """

    def __init__(
        self,
        plan: Plan,
        replay: ReplayBuffer,
        shares: TaskShares,
        progress: Progress,
        stopwatch: Stopwatch,
        generator: Generator,
    ) -> None:
        self.shares = shares
        self.plan, self.replay, self.generator = plan, replay, generator
        self.progress, self.stopwatch = progress, stopwatch

    def due(self, playing: int) -> Iterator[tuple[Batch, Tensor]]:
        """A batch and noise `[2, ..., action]` for each gradient step due by the end of a chunk.

        So there is as much to learn as there is to simulate meanwhile. The batches are of what was
        stored before; while nothing is of a task that is learned, nothing is learned. The gradient step
        counts as done when the next batch is asked for.

        Args:
            playing: environment steps of the chunk.
        """
        progress, config = self.progress, self.plan.config
        phase = phase_at(progress.env_steps, config)
        known = bool(self.replay.stored[torch.from_numpy(phase.learned)].all())
        due = updates_due(progress.env_steps + playing, config) if known else 0
        while progress.gradient_steps < due:
            with self.stopwatch.section("sample"):
                batch, noise = self._draw(phase)
            yield batch, noise
            progress.gradient_steps += 1

    def _draw(self, phase: Phase) -> tuple[Batch, Tensor]:
        settings, generator = self.plan.config.replay, self.generator
        alike = self.plan.config.env.treats_all_alike
        shares = None if alike else torch.from_numpy(self.shares.shares(phase.learned))
        batch = self.replay.sample(settings.sampling, settings.batch_size, generator, shares)
        noise = torch.randn((2, *batch.action.shape), generator=generator, device=generator.device)
        return batch.to(self.plan.device), noise.to(self.plan.device)
