"""A worker process: does with its share of the environments what the trainer says."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
from multiprocessing.connection import Connection

from threadpoolctl import threadpool_limits

from envs.errors import describe_error
from envs.workers.commands import DONE, FAILED, QUIT, Command, decode
from envs.workers.share import EnvSpec, Share
from envs.workers.shared_arrays import SharedArrays
from machine.console import configure_logging
from machine.signals import STOPPING

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def worker_main(
    pipe: Connection,
    shared: SharedArrays,
    specs: list[EnvSpec],
    autoreset: bool,
    player: bytes | None,
) -> None:
    """Serve commands until the trainer quits or dies. Runs in the worker process."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    trainer = parent.pid
    _die_with_parent()
    if os.getppid() != trainer:  # it has died before that
        return
    configure_logging()
    try:
        # Both before the limit of threads, which holds for libraries that are loaded.
        import envs.simulator.simulator  # noqa: F401

        own = None if player is None else pickle.loads(player)
        with threadpool_limits(1):  # one BLAS thread: more only get in the other workers' way
            share = Share(specs, shared.views(), autoreset, own)
            pipe.send_bytes(DONE)
            while (command := _next_command(pipe, trainer)).kind != QUIT:
                share.serve(command)
                pipe.send_bytes(DONE)
    except (EOFError, ConnectionError):
        return
    except Exception as error:
        pipe.send_bytes(FAILED + describe_error(error).encode())


def _die_with_parent() -> None:
    """On Linux the kernel kills this process with its parent, even where it is frozen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _next_command(pipe: Connection, trainer: int) -> Command:
    # A forked sibling may hold the other end of the pipe open, so a dead trainer shows as a new
    # parent process rather than as an end of file.
    while not pipe.poll(1.0):
        if os.getppid() != trainer:
            return Command(QUIT)
    return decode(pipe.recv_bytes())
