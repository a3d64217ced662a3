"""One process at a time writes to a run folder."""

from __future__ import annotations

import fcntl
import os
import platform
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from configs.errors import UsageError

LOCK = ".lock"
"""The file's name."""
_TRIES, _PAUSE_S = 20, 0.01


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Hold the run folder until the block or the process ends, however it ends.

    The lock is the kernel's, on the file `.lock`; the process id in it is for messages. Workers do
    not inherit it.

    Raises:
        UsageError: another process holds it; the message has its process id.
    """
    path = folder / LOCK
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UsageError(f"{path}: a link or pipe; a run has files and folders only")
    with path.open("a+", encoding="utf-8") as file:
        if not _acquired(file):
            file.seek(0)
            holder = file.read(100) or "that can't be named"
            raise UsageError(
                f"{folder}: in use by process {holder}; wait until it ends, or stop it"
            )
        file.truncate(0)
        file.write(f"{os.getpid()} on {platform.node()}")
        file.flush()
        yield


def _acquired(file: IO[str]) -> bool:
    """Try for a fifth of a second: who only asks (`is_locked`) has the lock for an instant."""
    for attempt in range(_TRIES):
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except (BlockingIOError, PermissionError):
            if attempt < _TRIES - 1:
                time.sleep(_PAUSE_S)
    return False


def is_locked(folder: Path) -> bool:
    """Whether another process holds the run folder at this moment; needs no right to write there.

    Raises:
        UsageError: the lock file can't be read, or the file system has no locks.
    """
    path = folder / LOCK
    if not path.is_file():
        return False
    try:
        file = path.open(encoding="utf-8")
    except FileNotFoundError:
        return False
    except PermissionError as error:
        raise UsageError(f"{path}: may not be read; fix its permissions") from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: for reading is enough
        except (BlockingIOError, PermissionError):
            return True
        except OSError as error:  # ENOLCK of some network disks
            raise UsageError(f"{path}: {error.strerror}; use a disk that has file locks") from error
    return False


def stop_holder(folder: Path) -> bool:
    """Ask the process that holds the run folder to save and end.

    Returns:
        whether it was asked: it has to be on this machine.
    """
    if not is_locked(folder):
        return False
    process, _, host = (folder / LOCK).read_text(encoding="utf-8").partition(" on ")
    if not process.isdecimal() or host != platform.node():
        return False
    try:
        os.kill(int(process), signal.SIGTERM)
    except (ProcessLookupError, PermissionError):  # ended just now; another user's
        return False
    return True
