"""A worker process: steps its share of the environments when the trainer says so."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from metaworld.types import Task
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from envs.faster_metaworld import accelerate
from envs.faults import RAISED, FaultDetector
from envs.goals import make_env
from envs.reset_cache import ResetCache
from envs.shared_memory import Arrays, SharedArrays

STEP, RESET, RESTORE, QUIT = b"s", b"r", b"p", b"q"
DONE, FAILED = b".", b"!"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class EnvSpec:
    """One environment of a worker."""

    row: int
    """Its row in the shared arrays."""
    task: str
    goals: list[Task]


def worker_main(
    pipe: Connection, shared: SharedArrays, specs: list[EnvSpec], autoreset: bool
) -> None:
    """Serve commands until the trainer quits or dies. Runs in the worker process."""
    # Both are sent to the whole process group, and the trainer's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    trainer = os.getppid()
    _die_with_parent()
    with threadpool_limits(1):  # one BLAS thread: more only get in the other workers' way
        try:
            envs = [_WorkerEnv(spec, shared.views(), autoreset) for spec in specs]
            pipe.send_bytes(DONE)
            while (command := _next_command(pipe, trainer)) != QUIT:
                _serve(command, envs)
                pipe.send_bytes(DONE)
        except (EOFError, ConnectionError):
            return
        except Exception as error:
            pipe.send_bytes(FAILED + _one_line(error).encode())


def _die_with_parent() -> None:
    """On Linux the kernel kills this process with its parent, even where it is frozen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _one_line(error: Exception) -> str:
    """What happened, to which environment, and where in the code."""
    cause = error.__cause__ or error
    frame = traceback.extract_tb(cause.__traceback__)[-1]
    where = f"{os.path.basename(frame.filename)}:{frame.lineno}"
    return f"{error}: {type(cause).__name__}: {cause} ({where})"


def _next_command(pipe: Connection, trainer: int) -> bytes:
    # A forked sibling may hold the other end of the pipe open, so a dead trainer shows as a new
    # parent process rather than as an end of file.
    while not pipe.poll(1.0):
        if os.getppid() != trainer:
            return QUIT
    return pipe.recv_bytes()


def _serve(command: bytes, envs: list[_WorkerEnv]) -> None:
    for env in envs:
        try:
            {STEP: env.step, RESET: env.reset, RESTORE: env.restore}[command]()
        except Exception as error:
            raise RuntimeError(f"{env.spec.task}, goal {env.arrays.goal[env.spec.row]}") from error


class _WorkerEnv:
    """One simulator, reading its action from and writing its results to the shared arrays."""

    def __init__(self, spec: EnvSpec, arrays: Arrays, autoreset: bool) -> None:
        self.spec = spec
        self.arrays = arrays
        self.autoreset = autoreset
        self.simulator: SawyerXYZEnv = make_env(spec.task)
        accelerate(self.simulator, spec.task)
        self.resets = ResetCache(self.simulator, spec.goals)
        self.faults = FaultDetector(self.simulator)

    def reset(self) -> None:
        """Start the episode that `goal` names."""
        row, arrays = self.spec.row, self.arrays
        arrays.obs[row] = self.resets.reset(int(arrays.goal[row]))
        arrays.elapsed[row] = 0
        self.faults.forget()

    def step(self) -> None:
        """One environment step; at the end of an episode also the reset (same-step autoreset)."""
        row, arrays = self.spec.row, self.arrays
        self._advance(arrays.action[row])
        if self.autoreset and (arrays.terminated[row] or arrays.truncated[row]):
            arrays.goal[row] = arrays.next_goal[row]
            self.reset()

    def restore(self) -> None:
        """Bring a fresh simulator to the middle of the episode by repeating its actions."""
        row, arrays = self.spec.row, self.arrays
        elapsed = int(arrays.elapsed[row])
        self.reset()
        for action in arrays.action_log[row, :elapsed]:
            self._advance(action)

    def _advance(self, action: NDArray[np.float32]) -> None:
        """One step of the simulator. From a faulty one on, an episode stands still and should end."""
        row, arrays = self.spec.row, self.arrays
        arrays.elapsed[row] += 1
        success = terminated = False
        if not self.faults.found:
            try:
                obs, reward, terminated, _, info = self.simulator.step(action)
            except Exception as error:  # its rewards, for one, only take finite numbers
                where = f"{self.spec.task}, goal {arrays.goal[row]}"
                print(f"{where}: {_one_line(error)}", file=sys.stderr)
                self.faults.found = RAISED
            else:
                arrays.next_obs[row], arrays.reward[row] = obs, reward
                success = bool(info["success"])
                self.faults.check(arrays.next_obs[row], arrays.reward[row])
        fault = self.faults.found
        if fault:
            arrays.next_obs[row], arrays.reward[row] = arrays.obs[row], 0
        arrays.obs[row] = arrays.next_obs[row]
        arrays.fault[row] = fault
        arrays.success[row] = success and not fault
        arrays.terminated[row] = terminated and not fault
        arrays.truncated[row] = arrays.elapsed[row] >= arrays.time_limit[row] or bool(fault)
