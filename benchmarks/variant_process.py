"""A process of its own for each variant of the update.

The compiler's guards look through all compiled versions of a function, so variants that share a
process slow each other down.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import torch
from torch import Generator

from agent.plan import resolve
from agent.sac import SAC
from benchmarks.costs import wait_for
from benchmarks.naive import make_naive
from benchmarks.random_batch import random_batch
from benchmarks.variants import Variant
from configs import UsageError
from envs.workers.handle import children_skip_main
from machine.compilation import Compiled
from machine.cores import usable_cores
from machine.device import configure_cpu

Measure = Callable[[int], float]
"""Does so many updates and gives the time of one [ms]."""


class VariantProcess:
    """Measures one variant. It starts and compiles at once, while others do the same.

    Args:
        variant: of `benchmarks/variants.py`, or what `prepare` takes.
        prepare: called with the variant in the process; what it returns does the updates.

    Raises:
        UsageError: from `wait` and `measure`, if the process died; from `wait`, if something that should be
            compiled was not.
    """

    def __init__(self, variant: Any, prepare: Callable[[Any], Measure] | None = None) -> None:
        self.variant = variant
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, variant, prepare or _prepare), daemon=True
        )
        with children_skip_main():
            self._process.start()
        theirs.close()

    def wait(self) -> None:
        """Return once its first update is done, compiled."""
        if self._receive():
            raise UsageError(
                f"{self.variant}: could not be compiled, which takes a C++ compiler (g++)"
            )

    def measure(self, updates: int) -> float:
        """Time of an update [ms], over so many."""
        with self._alive():
            self._pipe.send(updates)
        return self._receive()

    def close(self) -> None:
        """End the process: it stops when it finds no one at the other end of its pipe."""
        self._pipe.close()
        self._process.join()

    def _receive(self) -> float:
        with self._alive():
            received: float = self._pipe.recv()
        return received

    @contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, ConnectionError):
            raise UsageError(f"{self.variant}: its process died; out of memory?") from None


def _serve(pipe: Connection, variant: Any, prepare: Callable[[Any], Measure]) -> None:
    """The process: so many updates when asked, and their time, until no one asks any more.

    It begins by saying, with 1, that the first update was not compiled though it should have been.
    """
    measure = prepare(variant)
    measure(1)
    pipe.send(float(Compiled.failed))
    while True:
        try:
            updates: int = pipe.recv()
        except EOFError:
            return
        pipe.send(measure(updates))


def _prepare(variant: Variant) -> Measure:
    """Median time of updates with batches that are drawn beforehand."""
    if variant.kind == "naive":
        torch.set_num_threads(usable_cores())
    else:
        configure_cpu(usable_cores())
    plan, generator = resolve(variant.config()), Generator().manual_seed(0)
    agent = SAC(plan, generator)
    if variant.kind == "naive":
        make_naive(agent)
    batches = [random_batch(plan, generator) for _ in range(4)]

    def measure(updates: int) -> float:
        milliseconds = []
        for index in range(updates):
            start = time.perf_counter()
            agent.update(*batches[index % len(batches)])
            wait_for(plan.device)
            milliseconds.append(1e3 * (time.perf_counter() - start))
        return median(milliseconds)

    return measure
