"""The trainer's side of the worker processes: start, ask, stop."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from envs.shared_memory import SharedArrays
from envs.worker import QUIT, EnvSpec, worker_main


def usable_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stop_all(workers: list[WorkerHandle]) -> None:
    """Stop the workers and empty the list."""
    while workers:
        workers.pop().stop()


class WorkerHandle:
    """The trainer's side of one worker process."""

    def __init__(
        self, context: Any, index: int, shared: SharedArrays, specs: list[EnvSpec], autoreset: bool
    ) -> None:
        self.index, self.specs = index, specs
        self.pipe: Connection
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=worker_main,
            args=(theirs, shared, specs, autoreset),
            name=f"mt10-worker-{index}",
            daemon=True,
        )
        self.process.start()
        theirs.close()

    def exit_code(self) -> int | None:
        """Exit code of a worker whose pipe has closed; negative for a signal."""
        self.process.join(timeout=5)
        return self.process.exitcode

    def stop(self) -> None:
        """Ask politely, then kill."""
        with suppress(OSError):
            self.pipe.send_bytes(QUIT)
        self.process.join(timeout=2)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


@contextmanager
def children_skip_main() -> Iterator[None]:
    """Keep spawned children from importing the caller's script.

    They need `envs.worker` only. Without this, each would import torch along with the script, and a
    script without a `__main__` guard would start itself over.
    """
    main = sys.modules["__main__"]
    hidden = {name: main.__dict__.pop(name, None) for name in ("__spec__", "__file__")}
    main.__dict__["__spec__"] = None
    try:
        yield
    finally:
        main.__dict__.update({k: v for k, v in hidden.items() if v is not None})
