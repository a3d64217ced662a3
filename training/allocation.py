"""Which tasks get how much of the run: more where episodes still fail."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.arrays import require_range, restore

# Share of the newest episode in a task's success rate: a memory of some 20 episodes.
_NEWEST_SHARE = 0.05


class TaskShares:
    """Divides environment steps and batches among the tasks, by how often each has failed lately.

    A task whose training episodes all fail has the share 1, one whose episodes all succeed the least
    share; in between the share falls linearly. A task plays in as many chunks as its share says, in
    turn: no random number is drawn. Related: Sharma et al. 2018 (arXiv 1702.06053), who choose the
    next task of a multi-task learner by its distance to a target score.

    Args:
        num_tasks: T.
        least: share of a solved task, in (0, 1]; 1 treats all tasks alike.
    """

    def __init__(self, num_tasks: int, least: float) -> None:
        self.least = least
        self.steps = np.zeros(num_tasks, np.int64)
        """Vector steps that each task has played `[T]`."""
        self._success = np.zeros(num_tasks)  # [T] running mean over training episodes
        # Chunks that a task may play [T]; it plays from 1 on. Tasks of equal shares take turns, so that
        # one chunk is about as long as the next.
        self._credit = np.arange(num_tasks) / num_tasks

    def shares(self, among: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """`[T]`, each between `least` and 1; 0 for tasks that are not `among` the given ones."""
        shares = 1 - (1 - self.least) * self._success
        if among is not None:
            shares[np.setdiff1d(np.arange(len(shares)), among)] = 0
        return shares

    def observe(self, task: int, success: bool) -> None:
        """An episode of a task has ended."""
        self._success[task] += _NEWEST_SHARE * (success - self._success[task])

    def next_chunk(self, among: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """The tasks that play the next chunk `[t]`, in order: at least one `among` the given ones."""
        shares = self.shares(among)
        self._credit += shares / shares.max()
        plays = self._credit >= 1
        self._credit[plays] -= 1
        return np.flatnonzero(plays)

    def state_dict(self) -> dict[str, NDArray]:
        """Everything needed to go on."""
        return {"steps": self.steps, "success": self._success, "credit": self._credit}

    def load_state_dict(self, state: dict[str, NDArray]) -> None:
        """Restore `state_dict()`; raises `ValueError` on other shapes or impossible numbers."""
        require_range("steps", state["steps"], 0, 2**53)
        require_range("success", state["success"], 0, 1)
        require_range("credit", state["credit"], 0, 2)
        restore(self.state_dict(), state)
