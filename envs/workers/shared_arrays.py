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
    """One row per environment; row `t * N + n` is copy n of task t."""

    action: NDArray[np.float32]  # [E, 4]
    obs: NDArray[np.float32]  # [E, 39] to act on next: after a reset, where an episode ended
    next_obs: NDArray[np.float32]  # [E, 39] true successor of the last action
    reward: NDArray[np.float32]  # [E]
    terminated: NDArray[np.bool_]  # [E]
    truncated: NDArray[np.bool_]  # [E]
    success: NDArray[np.bool_]  # [E] Meta-World's flag at this step
    goal: NDArray[np.int64]  # [E] index into the goal list, of the running episode
    next_goal: NDArray[np.int64]  # [E] of the episode after it
    time_limit: NDArray[np.int64]  # [E] steps after which the running episode is truncated
    elapsed: NDArray[np.int64]  # [E] steps of the running episode
    fault: NDArray[np.uint8]  # [E] what is wrong with this step: an index of `envs.faults.FAULTS`
    action_log: NDArray[np.float32]  # [E, horizon, 4] actions of the running episode


_HORIZON = -1
_LAYOUT: dict[str, tuple[Any, tuple[int, ...]]] = {
    "action": (np.float32, (ACTION_SIZE,)),
    "obs": (np.float32, (OBS_SIZE,)),
    "next_obs": (np.float32, (OBS_SIZE,)),
    "reward": (np.float32, ()),
    "terminated": (np.bool_, ()),
    "truncated": (np.bool_, ()),
    "success": (np.bool_, ()),
    "goal": (np.int64, ()),
    "next_goal": (np.int64, ()),
    "time_limit": (np.int64, ()),
    "elapsed": (np.int64, ()),
    "fault": (np.uint8, ()),
    "action_log": (np.float32, (_HORIZON, ACTION_SIZE)),
}


class SharedArrays:
    """Owns the memory; picklable to a child process while that is being started.

    The memory is anonymous (its file is unlinked at once), so nothing is left behind however the
    processes end.
    """

    def __init__(self, context: BaseContext, num_envs: int, horizon: int) -> None:
        self._shapes = {
            name: (num_envs, *(horizon if size == _HORIZON else size for size in shape))
            for name, (_, shape) in _LAYOUT.items()
        }
        self._raw = {
            name: context.RawArray("b", math.prod(shape) * np.dtype(_LAYOUT[name][0]).itemsize)
            for name, shape in self._shapes.items()
        }

    def views(self) -> Arrays:
        """Numpy views of the shared memory, in this process."""
        return Arrays(
            **{
                name: np.frombuffer(self._raw[name], dtype=_LAYOUT[name][0]).reshape(shape)
                for name, shape in self._shapes.items()
            }
        )
