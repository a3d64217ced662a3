"""A worker process: steps its share of the environments when the trainer says so."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from envs.errors import describe_error
from envs.workers.shared_arrays import Arrays, SharedArrays
from machine.console import configure_logging

if TYPE_CHECKING:  # the trainer imports this module too, and needs no Meta-World
    from envs.simulator.simulator import Simulator

STEP, RESET, RESTORE, QUIT = b"s", b"r", b"p", b"q"
DONE, FAILED = b".", b"!"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class EnvSpec:
    """One environment of a worker."""

    row: int
    """Its row in the shared arrays."""
    task: str
    goals: NDArray[np.float64]
    """Random vectors, `[50, k]`."""


def worker_main(
    pipe: Connection, shared: SharedArrays, specs: list[EnvSpec], autoreset: bool
) -> None:
    """Serve commands until the trainer quits or dies. Runs in the worker process."""
    # Both are sent to the whole process group, and the trainer's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    trainer = os.getppid()
    _die_with_parent()
    configure_logging()
    try:
        # Before the limit of threads, which holds for libraries that are loaded.
        from envs.simulator.simulator import Simulator

        with threadpool_limits(1):  # one BLAS thread: more only get in the other workers' way
            arrays = shared.views()
            envs = [
                WorkerEnv(Simulator(spec.task, spec.goals), spec.row, arrays, autoreset)
                for spec in specs
            ]
            pipe.send_bytes(DONE)
            while (command := _next_command(pipe, trainer)) != QUIT:
                _serve(command, envs)
                pipe.send_bytes(DONE)
    except (EOFError, ConnectionError):
        return
    except Exception as error:
        pipe.send_bytes(FAILED + describe_error(error).encode())


def _die_with_parent() -> None:
    """On Linux the kernel kills this process with its parent, even where it is frozen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _next_command(pipe: Connection, trainer: int) -> bytes:
    # A forked sibling may hold the other end of the pipe open, so a dead trainer shows as a new
    # parent process rather than as an end of file.
    while not pipe.poll(1.0):
        if os.getppid() != trainer:
            return QUIT
    return pipe.recv_bytes()


def _serve(command: bytes, envs: list[WorkerEnv]) -> None:
    for env in envs:
        try:
            {STEP: env.step, RESET: env.reset, RESTORE: env.restore}[command]()
        except Exception as error:
            error.add_note(f"{env.simulator.task}, goal {env.arrays.goal[env.row]}")
            raise


class WorkerEnv:
    """One simulator, reading its action from and writing its results to the shared arrays."""

    def __init__(self, simulator: Simulator, row: int, arrays: Arrays, autoreset: bool) -> None:
        self.simulator, self.row, self.arrays = simulator, row, arrays
        self.autoreset = autoreset

    def reset(self) -> None:
        """Start the episode that `goal` names."""
        row, arrays = self.row, self.arrays
        arrays.obs[row] = self.simulator.reset(int(arrays.goal[row]))
        arrays.elapsed[row] = 0

    def step(self) -> None:
        """One environment step; at the end of an episode also the reset (same-step autoreset)."""
        row, arrays = self.row, self.arrays
        self._advance(arrays.action[row])
        if self.autoreset and (arrays.terminated[row] or arrays.truncated[row]):
            arrays.goal[row] = arrays.next_goal[row]
            self.reset()

    def restore(self) -> None:
        """Bring a fresh simulator to the middle of the episode by repeating its actions."""
        row, arrays = self.row, self.arrays
        elapsed = int(arrays.elapsed[row])
        self.reset()
        for action in arrays.action_log[row, :elapsed]:
            self._advance(action)

    def _advance(self, action: NDArray[np.float32]) -> None:
        """One step of the simulator. A fault ends the episode."""
        row, arrays = self.row, self.arrays
        step = self.simulator.step(action)
        fault = self.simulator.fault
        arrays.elapsed[row] += 1
        arrays.obs[row] = arrays.next_obs[row] = step.obs
        arrays.reward[row] = step.reward
        arrays.success[row] = step.success
        arrays.terminated[row] = step.terminated
        arrays.fault[row] = fault
        arrays.truncated[row] = arrays.elapsed[row] >= arrays.time_limit[row] or bool(fault)
