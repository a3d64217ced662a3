"""What one step of a vector environment gives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Step(NamedTuple):
    """One step of all environments of T tasks, those that played; arrays are copies, task-major."""

    tasks: NDArray[np.int64]  # [T] their indices, in order
    action: NDArray[np.float32]  # [T, N, 4] that was taken
    obs: NDArray[np.float32]  # [T, N, 39] to act on next: a reset observation where done
    next_obs: NDArray[np.float32]  # [T, N, 39] true successor, also at the end of an episode
    reward: NDArray[np.float32]  # [T, N]
    terminated: NDArray[np.bool_]  # [T, N]
    truncated: NDArray[np.bool_]  # [T, N]
    success: NDArray[np.bool_]  # [T, N]
    lost: NDArray[np.bool_]  # [T, N] faulty: not to be learned from; truncated, next_obs as before
    worker_restarts: int  # workers replaced since the last chunk, in the first step of one

    @property
    def done(self) -> NDArray[np.bool_]:
        """Where an episode ended with this step, `[T, N]`."""
        return self.terminated | self.truncated
