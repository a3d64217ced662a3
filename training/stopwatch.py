"""Where the wall-clock of a training run goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

SECTIONS = ("simulate", "sample", "learn", "evaluate", "checkpoint")


class Stopwatch:
    """Sums the time of named sections between two readings; what no section claims is `other`."""

    def __init__(self) -> None:
        self.start()

    def start(self, elapsed_hours: float = 0.0) -> None:
        """Start anew; `elapsed_hours` is what the run took before it was resumed."""
        self._since = time.perf_counter()
        self._started = self._since - 3600 * elapsed_hours
        self._spent = dict.fromkeys(SECTIONS, 0.0)
        self._simulators = 0.0

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Time a `with` block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._spent[name] += time.perf_counter() - start

    def add_simulators(self, seconds: float) -> None:
        """Add what the simulators' processes worked, while the learner did something else or waited."""
        self._simulators += seconds

    def elapsed_hours(self) -> float:
        """Wall-clock of the run so far."""
        return (time.perf_counter() - self._started) / 3600

    def read(self, env_steps: int, gradient_steps: int) -> dict[str, float]:
        """The `time/` metrics since the last reading, in which that many steps were made."""
        now = time.perf_counter()
        span = now - self._since
        working = span - self._spent["evaluate"] - self._spent["checkpoint"]
        metrics = {
            "time/env_steps_per_second": env_steps / working,
            "time/gradient_steps_per_second": gradient_steps / working,
            **{f"time/fraction_{name}": spent / span for name, spent in self._spent.items()},
            "time/fraction_other": 1 - sum(self._spent.values()) / span,
            "time/simulators_busy": self._simulators / working,
            "time/elapsed_hours": self.elapsed_hours(),
        }
        self._since = now
        self._spent = dict.fromkeys(SECTIONS, 0.0)
        self._simulators = 0.0
        return metrics
