"""The trainer's side of worker processes on this machine: start, ask, stop."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from envs.workers.commands import DONE, QUIT, Command
from envs.workers.process import worker_main
from envs.workers.share import EnvSpec
from envs.workers.shared_arrays import SharedArrays
from machine.signals import STOPPING


class ProcessWorkers:
    """Starts worker processes.

    Args:
        context: of multiprocessing.
        shared: the arrays that they fill.
        autoreset: workers reset an environment in the step that ends its episode.
        player: pickled, for the workers; `None` where the trainer always gives the actions.
    """

    def __init__(
        self, context: Any, shared: SharedArrays, *, autoreset: bool, player: bytes | None
    ) -> None:
        self._context = context
        self._arguments = (shared, autoreset, player)

    def start(self, index: int, specs: list[EnvSpec]) -> WorkerHandle:
        """A worker with its share of the environments; it is waited for at its first answer."""
        with children_skip_main():
            return WorkerHandle(self._context, index, specs, *self._arguments)


class WorkerHandle:
    """The trainer's side of one worker process; a `Worker`."""

    def __init__(
        self,
        context: Any,
        index: int,
        specs: list[EnvSpec],
        shared: SharedArrays,
        autoreset: bool,
        player: bytes | None,
    ) -> None:
        self.index, self.specs, self.failures = index, specs, 0
        self.pipe: Connection
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=worker_main,
            args=(theirs, shared, specs, autoreset, player),
            name=f"simulator-{index}",
            daemon=True,
        )
        with _signals_blocked():
            self.process.start()
        theirs.close()

    def send(self, command: Command) -> None:
        """A command; a dead worker shows when its answer is waited for."""
        with suppress(ConnectionError):
            self.pipe.send_bytes(command.encode())

    def problem(self, timeout_s: float) -> str | None:
        """Wait for an answer: `None`, or what went wrong."""
        try:
            if not self.pipe.poll(timeout_s):
                return f"did not answer for {timeout_s:g} s"
            answer = self.pipe.recv_bytes()
        except (EOFError, OSError):
            self.process.join(timeout=5)
            return f"died (exit code {self.process.exitcode})"  # negative for a signal
        return None if answer == DONE else f"raised: {answer[1:].decode()}"

    def stop(self) -> None:
        """Ask politely, then kill."""
        with suppress(OSError):
            self.pipe.send_bytes(Command(QUIT).encode())
        self.process.join(timeout=2)
        self.kill()

    def kill(self) -> None:
        """End the process, frozen or not, and leave nothing of it."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Start a child that Ctrl-C does not reach, not even before it can say so itself."""
    resource_tracker.ensure_running()  # its own start would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def children_skip_main() -> Iterator[None]:
    """Keep spawned children from importing the caller's script.

    They need `envs.workers.process` only. Without this, each would import torch along with the script, and a
    script without a `__main__` guard would start itself over.
    """
    main = sys.modules["__main__"]
    hidden = {name: main.__dict__.pop(name, None) for name in ("__spec__", "__file__")}
    main.__dict__["__spec__"] = None
    try:
        yield
    finally:
        main.__dict__.update({k: v for k, v in hidden.items() if v is not None})
