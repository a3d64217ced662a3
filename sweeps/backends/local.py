"""Runs on this machine, each in a process of its own."""

from __future__ import annotations

import platform
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

from configs.errors import one_line
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
        self._futures: dict[str, Future[str | None]] = {}

    def submit(self, run: Run) -> None:
        """Begin a run, or go on with it."""
        self._futures[run.name] = self._pool.submit(
            execute, run, self._cores, platform.node(), self._stopping.is_set
        )

    def finished(self) -> dict[str, str | None]:
        """How the runs have ended that have done so since the last call."""
        ended = {name: _outcome(future) for name, future in self._futures.items() if future.done()}
        for name in ended:
            del self._futures[name]
        return ended

    def stop(self) -> None:
        """Let the runs save and end, and wait for them."""
        self._stopping.set()
        self._pool.shutdown(wait=True)


def _outcome(future: Future[str | None]) -> str | None:
    """An error of ours is one of this run: its log can't be written, say. The others go on."""
    error = future.exception()
    return future.result() if error is None else one_line(str(error))
