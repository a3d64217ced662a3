"""Before a file is read: that it is one, and that SHA256SUMS knows it.

Whatever a disk, a copy or an editor changes in a checkpoint is noticed by its checksums.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

from configs.errors import UsageError

_SUMS = "SHA256SUMS"
_MAX_SUMS_BYTES = 10_000
_MAX_DEPTH = 10


def write_checksums(folder: Path, names: list[str]) -> None:
    """Write SHA256SUMS for these files of a folder, and everything down to the disk."""
    lines = [f"{_digest(folder / name)}  {name}\n" for name in names]
    (folder / _SUMS).write_text("".join(lines), encoding="ascii")
    for name in (*names, _SUMS):
        flush(folder / name)
    flush(folder)


def require_plain(path: Path, max_bytes: int) -> None:
    """Check what a file is before it is opened.

    Raises:
        ValueError: not a plain file (a link could lead anywhere, a pipe never end), or larger.
        OSError: it is missing.
    """
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path.name} is not a plain file")
    if status.st_size > max_bytes:
        raise ValueError(
            f"{path.name} has {status.st_size} bytes, at most {max_bytes} are expected"
        )


def refuse_links(folder: Path) -> None:
    """Check that what is read from and written into a folder of someone else stays in it.

    Raises:
        UsageError: it is, or holds at any depth, a link, a pipe or the like, or is nested deeply.
    """
    pending = [(folder, 0)]
    while pending:
        path, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise UsageError(f"{path}: nested more than {_MAX_DEPTH} deep; no run is")
        with suppress(FileNotFoundError):  # a run that is training replaces its checkpoints
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                pending += [(child, depth + 1) for child in path.iterdir()]
            elif not stat.S_ISREG(mode):
                raise UsageError(f"{path}: a link or pipe; a run has files and folders only")


def require_intact(path: Path, max_bytes: int) -> None:
    """Check a file against the SHA256SUMS next to it.

    Raises:
        ValueError: not a plain file, larger than `max_bytes`, not listed, or another sum.
        OSError: it or SHA256SUMS is missing or can't be read.
    """
    sums = path.parent / _SUMS
    require_plain(path, max_bytes)
    require_plain(sums, _MAX_SUMS_BYTES)
    for line in sums.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        if name == path.name:
            if digest != _digest(path):
                raise ValueError(f"its checksum is not the one in {_SUMS}: damaged or changed")
            return
    raise ValueError(f"it is not listed in {_SUMS}")


def flush(path: Path) -> None:
    """Fsync a file or folder, so that a rename never precedes its data."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise  # some network file systems can't flush folders
    finally:
        os.close(handle)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
