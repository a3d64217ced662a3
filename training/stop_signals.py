"""Ctrl-C, SIGTERM, SIGUSR2 and SIGHUP ask a run to save and stop; a second Ctrl-C stops a run at once.

A second SIGTERM changes nothing: a cluster's scheduler sends it to the process and to whoever started it, who
sends it again. SIGUSR2 is Slurm's warning that a job's time is nearly over (`--signal=USR2@90`). SIGHUP says that
the terminal was closed or its connection lost; where it is ignored, because of `nohup`, it stays so.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType

from machine.console import write_to_files_only
from machine.signals import STOPPING


class StopRequested(Exception):
    """Raised where waiting for the next vector step would take too long (in an evaluation)."""


class StopSignals:
    """While active, remembers the first of `STOPPING` instead of dying from it.

    Args:
        answer: printed at the first one.
        again: printed at a further Ctrl-C; `None` lets it raise `KeyboardInterrupt`.
    """

    def __init__(
        self,
        answer: str = "stopping after this step; Ctrl-C again stops at once, without saving",
        again: str | None = None,
    ) -> None:
        self.received: int | None = None
        self._answer, self._again = answer, again

    def __enter__(self) -> StopSignals:
        self._previous = {
            number: signal.signal(number, self._remember)
            for number in STOPPING
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise `StopRequested` if a signal has come."""
        if self.received is not None:
            raise StopRequested

    def _remember(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            write_to_files_only()
        if self.received is None:
            self.received = number
            _say(self._answer)
        elif number == signal.SIGINT:
            if self._again is None:
                raise KeyboardInterrupt
            _say(self._again)


def _say(line: str) -> None:
    """Not by print, which a signal may have interrupted."""
    with suppress(OSError):  # nobody may be left to read it
        os.write(2, f"{line}\n".encode())
