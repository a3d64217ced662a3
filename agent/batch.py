"""A batch of transitions, as the update takes it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """A batch of transitions; `[...]` is `[T, b]` (task-major), `[G, b]` or `[n]` with `task`."""

    obs: Tensor  # [..., obs] float32
    action: Tensor  # [..., action] float32, in [-1, 1]
    reward: Tensor  # [...] float32, raw, discounted sum over the n steps taken
    next_obs: Tensor  # [..., obs] float32, n steps on; the true successor, never a reset's
    discount: Tensor  # [...] float32, of the value of next_obs: gamma^n, 0 after a termination
    task: Tensor | None  # int64 index of each group [G, 1] or sample [n]; None where it is the row

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; itself if it is there already."""
        moved: dict[str, Any] = {
            name: None if value is None else value.to(device, non_blocking=True)
            for name, value in self._asdict().items()
        }
        return Batch(**moved)
