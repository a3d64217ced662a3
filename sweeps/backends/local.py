"""Runs on this machine, each in a process of its own."""

from __future__ import annotations

import platform
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

from sweeps.execution import execute
from sweeps.runs import Run


class LocalBackend:
    """So many runs at a time, each with its share of the cores.

    Args:
        jobs: runs at a time.
        cores: of each.
    """

    def __init__(self, jobs: int, cores: int) -> None:
        self._cores, self._stopping = cores, Event()
        self._pool = ThreadPoolExecutor(jobs)
        self._futures: dict[str, Future[int]] = {}

    def submit(self, run: Run) -> None:
        """Begin a run, or go on with it."""
        self._futures[run.name] = self._pool.submit(
            execute, run, self._cores, platform.node(), self._stopping.is_set
        )

    def finished(self) -> dict[str, int]:
        """Name -> exit code of the runs that have ended since the last call."""
        ended = {name: future.result() for name, future in self._futures.items() if future.done()}
        for name in ended:
            del self._futures[name]
        return ended

    def stop(self) -> None:
        """Let the runs save and end, and wait for them."""
        self._stopping.set()
        self._pool.shutdown(wait=True)
