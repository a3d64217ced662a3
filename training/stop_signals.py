"""Ctrl-C and SIGTERM ask a run to save and stop; a second Ctrl-C stops at once."""

from __future__ import annotations

import os
import signal
from types import FrameType


class StopRequested(Exception):
    """Raised where waiting for the next vector step would take too long (in an evaluation)."""


class StopSignals:
    """While active, remembers the first SIGINT or SIGTERM instead of dying from it."""

    def __init__(self) -> None:
        self.received: int | None = None

    def __enter__(self) -> StopSignals:
        self._previous = {
            number: signal.signal(number, self._remember)
            for number in (signal.SIGINT, signal.SIGTERM)
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
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number
        # Not by print, which a signal may have interrupted.
        os.write(2, b"stopping after this step; Ctrl-C again stops at once, without saving\n")
