"""Arrays that the trainer and its workers both see, so that no step pickles anything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.sizes import ACTION_SIZE, OBS_SIZE


@dataclass(frozen=True)
class Arrays:
    """E rows, one per environment: row `t * N + n` is copy n of task t. K steps are a full chunk."""

    # What a chunk gives
    action: NDArray[np.float32]  # [K, E, 4] taken: the trainer's, or chosen in the worker
    next_obs: NDArray[np.float32]  # [K, E, 39] true successor of the action
    obs_after: NDArray[np.float32]  # [K, E, 39] to act on next: a reset's, where an episode ended
    reward: NDArray[np.float32]  # [K, E]
    terminated: NDArray[np.bool_]  # [K, E]
    truncated: NDArray[np.bool_]  # [K, E]
    success: NDArray[np.bool_]  # [K, E] Meta-World's flag at this step
    fault: NDArray[np.uint8]  # [K, E] what is wrong with a step: an index of `envs.faults.FAULTS`
    busy_s: NDArray[np.float64]  # [E] seconds that the worker of this environment took for it
    # The running episodes
    obs: NDArray[np.float32]  # [E, 39] to act on next
    goal: NDArray[np.int64]  # [E] index into the goal list
    next_goals: NDArray[np.int64]  # [E, K] of the episodes after it
    goals_used: NDArray[np.int64]  # [E] of those, in this chunk
    time_limit: NDArray[np.int64]  # [E] steps after which the running episode is truncated
    elapsed: NDArray[np.int64]  # [E] steps of the running episode
    action_log: NDArray[np.float32]  # [E, horizon, 4] its actions
    memory: NDArray[np.float32]  # [E, S] of the player
    # What the workers are told
    plays: NDArray[np.bool_]  # [E] whether the environment takes part in the chunk
    draws: NDArray[np.float32]  # [K, E, D] random numbers
    weights: NDArray[np.float32]  # [P]


RUNNING = (
    "obs",
    "goal",
    "next_goals",
    "goals_used",
    "time_limit",
    "elapsed",
    "action_log",
    "memory",
)
"""The arrays of the running episodes."""

_LAYOUT: dict[str, tuple[Any, tuple[str | int, ...]]] = {
    "action": (np.float32, ("K", "E", ACTION_SIZE)),
    "next_obs": (np.float32, ("K", "E", OBS_SIZE)),
    "obs_after": (np.float32, ("K", "E", OBS_SIZE)),
    "reward": (np.float32, ("K", "E")),
    "terminated": (np.bool_, ("K", "E")),
    "truncated": (np.bool_, ("K", "E")),
    "success": (np.bool_, ("K", "E")),
    "fault": (np.uint8, ("K", "E")),
    "busy_s": (np.float64, ("E",)),
    "obs": (np.float32, ("E", OBS_SIZE)),
    "goal": (np.int64, ("E",)),
    "next_goals": (np.int64, ("E", "K")),
    "goals_used": (np.int64, ("E",)),
    "time_limit": (np.int64, ("E",)),
    "elapsed": (np.int64, ("E",)),
    "action_log": (np.float32, ("E", "horizon", ACTION_SIZE)),
    "memory": (np.float32, ("E", "S")),
    "plays": (np.bool_, ("E",)),
    "draws": (np.float32, ("K", "E", "D")),
    "weights": (np.float32, ("P",)),
}


Sizes = dict[str, int]
"""The letters of `Arrays` (K, E, S, D, P), and `horizon`."""


def plain_arrays(sizes: Sizes) -> Arrays:
    """Arrays of this process alone, all 0."""
    return Arrays(
        **{name: np.zeros(_shape(name, sizes), dtype) for name, (dtype, _) in _LAYOUT.items()}
    )


def _shape(name: str, sizes: Sizes) -> tuple[int, ...]:
    return tuple(sizes[size] if isinstance(size, str) else size for size in _LAYOUT[name][1])


class SharedArrays:
    """Owns the memory; picklable to a child process while that is being started.

    The memory is anonymous (its file is unlinked at once), so nothing is left behind however the
    processes end.

    Args:
        context: of multiprocessing.
        sizes: of the arrays.
    """

    def __init__(self, context: BaseContext, sizes: Sizes) -> None:
        self._shapes = {name: _shape(name, sizes) for name in _LAYOUT}
        self._raw = {
            name: context.RawArray("b", max(1, self._bytes(name))) for name in self._shapes
        }

    def views(self) -> Arrays:
        """Numpy views of the shared memory, in this process."""
        return Arrays(**{name: self._view(name) for name in self._shapes})

    def _view(self, name: str) -> NDArray[Any]:
        dtype, shape = _LAYOUT[name][0], self._shapes[name]
        return np.frombuffer(self._raw[name], dtype=dtype, count=math.prod(shape)).reshape(shape)

    def _bytes(self, name: str) -> int:
        return math.prod(self._shapes[name]) * np.dtype(_LAYOUT[name][0]).itemsize
