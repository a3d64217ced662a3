"""Which goals the coming episodes have: drawn in the trainer, from one generator per environment."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import SeedSequence

from envs.workers.shared_arrays import Arrays


class GoalDraws:
    """Keeps as many coming goals ready for every environment as a chunk can use.

    Args:
        seeds: one for each environment; none where goals are always given.
        num_goals: goals are drawn from the first so many of each list.
    """

    def __init__(self, seeds: list[SeedSequence], num_goals: int) -> None:
        self.num_goals = num_goals
        self._generators = [np.random.default_rng(seed) for seed in seeds]

    def start(self, arrays: Arrays) -> None:
        """Draw the first goal of every environment, and those to come."""
        for row in range(len(arrays.goal)):
            arrays.goal[row] = self._draw(row)
            for place in range(arrays.next_goals.shape[1]):
                arrays.next_goals[row, place] = self._draw(row)

    def refill(self, arrays: Arrays) -> None:
        """Draw anew for those that a chunk has used."""
        for row in np.flatnonzero(arrays.goals_used).tolist():
            used, coming = int(arrays.goals_used[row]), arrays.next_goals[row]
            coming[:-used] = coming[used:].copy()
            coming[len(coming) - used :] = [self._draw(row) for _ in range(used)]

    def state(self) -> list[Any]:
        """Of the generators, as JSON takes it."""
        return [generator.bit_generator.state for generator in self._generators]

    def restore(self, state: list[Any]) -> None:
        """Take over `state()`; raises `ValueError` if it is of another number of environments."""
        for generator, own in zip(self._generators, state, strict=True):
            generator.bit_generator.state = own

    def _draw(self, row: int) -> int:
        return int(self._generators[row].integers(self.num_goals))
