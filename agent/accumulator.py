"""Means of metrics between two rows, without waiting for the device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class MeanAccumulator:
    """Sums tensors where they live; the values are read only when a row is written."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor | float]) -> None:
        """Add one observation of each key: a scalar, or a vector averaged element by element."""
        for key, value in values.items():
            tensor = torch.as_tensor(value, dtype=torch.float32)
            total = self._sums.get(key)
            self._sums[key] = tensor.clone() if total is None else total.to(tensor.device) + tensor
            self._counts[key] = self._counts.get(key, 0) + 1

    def pop(self) -> dict[str, float | list[float]]:
        """Means since the last call, a list for a vector; then start afresh."""
        means: dict[str, float | list[float]] = {
            key: (total / self._counts[key]).tolist() for key, total in self._sums.items()
        }
        self._sums, self._counts = {}, {}
        return means

    def state_dict(self) -> dict[str, list]:
        """JSON data; float32 sums survive the round trip exactly."""
        return {key: [total.tolist(), self._counts[key]] for key, total in self._sums.items()}

    def load_state_dict(self, state: dict[str, list]) -> None:
        """Restore `state_dict()`."""
        self._sums = {key: torch.tensor(total) for key, (total, _) in state.items()}
        self._counts = {key: int(count) for key, (_, count) in state.items()}


def per_task(key: str, values: list[float], tasks: tuple[str, ...]) -> dict[str, float]:
    """`key/<task>` for each task, and their mean as `key`."""
    return {
        **{f"{key}/{task}": value for task, value in zip(tasks, values, strict=True)},
        key: sum(values) / len(values),
    }
