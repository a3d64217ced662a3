"""Means of metrics between two rows, without waiting for the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le
from pydantic import AllowInfNan, TypeAdapter
from torch import Tensor

_Finite = Annotated[float, AllowInfNan(False)]
_SCHEMA = TypeAdapter(dict[str, tuple[_Finite | list[_Finite], Annotated[int, Ge(1), Le(2**53)]]])


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
        means = self.means()
        self._sums, self._counts = {}, {}
        return means

    def means(self) -> dict[str, float | list[float]]:
        """Means since the last `pop`."""
        return {key: (total / self._counts[key]).tolist() for key, total in self._sums.items()}

    def state_dict(self) -> dict[str, list]:
        """JSON data; float32 sums survive the round trip exactly. Sums that are not finite are left out."""
        return {
            key: [total.tolist(), self._counts[key]]
            for key, total in self._sums.items()
            if total.isfinite().all()
        }

    def load_state_dict(self, state: Any) -> None:
        """Restore `state_dict()`; raises `ValueError` if it is none."""
        checked = _SCHEMA.validate_python(state)
        self._sums = {
            key: torch.tensor(total, dtype=torch.float32) for key, (total, _) in checked.items()
        }
        self._counts = {key: count for key, (_, count) in checked.items()}


def per_task(key: str, values: Sequence[float | None], tasks: tuple[str, ...]) -> dict[str, float]:
    """`key/<task>` for each task that has a value, and their mean as `key`."""
    known = {
        f"{key}/{task}": value
        for task, value in zip(tasks, values, strict=True)
        if value is not None
    }
    return known | ({key: sum(known.values()) / len(known)} if known else {})
