"""Goal lists on the disk: JSON that is believed only where it is what it says."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.sizes import GOALS_PER_TASK

_LARGEST_BYTES = 1_000_000  # fifty tasks take 320,000
_LENGTHS = (2, 3, 6)  # random numbers of one goal
_FARTHEST = 10.0  # metres and radians; nothing on the table is so far away

_log = logging.getLogger(__name__)


def read_goals(tasks: tuple[str, ...], seed: int) -> dict[str, NDArray[np.float64]] | None:
    """The kept goal lists of these tasks, `[50, k]` each; `None` where there are none to be trusted."""
    try:
        path = cache_path(tasks, seed)
        if not path.is_file() or path.stat().st_size > _LARGEST_BYTES:
            return None
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["key"] != _key(tasks, seed) or kept["sha256"] != _checksum(kept["goals"]):
            return None
        return {task: _goal_array(kept["goals"][task]) for task in tasks}
    except (
        OSError,
        ArithmeticError,
        LookupError,
        RecursionError,
        RuntimeError,
        TypeError,
        ValueError,
    ):
        return None


def write_goals(tasks: tuple[str, ...], seed: int, goals: dict[str, NDArray[np.float64]]) -> None:
    """Keep goal lists; where that does not work they are drawn again the next time."""
    lists = {task: array.tolist() for task, array in goals.items()}
    content = {"key": _key(tasks, seed), "sha256": _checksum(lists), "goals": lists}
    try:
        path = cache_path(tasks, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_atomically(path, json.dumps(content))
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        _log.info("goals are not kept on the disk (%s)", error)


def cache_path(tasks: tuple[str, ...], seed: int) -> Path:
    """The file of these tasks and this seed, in `$XDG_CACHE_HOME` or `~/.cache`."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    # the specification says to ignore a relative path
    cache = Path(home) if os.path.isabs(home) else Path.home() / ".cache"
    digest = hashlib.sha256(json.dumps(_key(tasks, seed)).encode()).hexdigest()
    return cache / "active-dendrites" / "goals" / f"{digest[:32]}.json"


def _key(tasks: tuple[str, ...], seed: int) -> dict[str, Any]:
    return {"metaworld": version("metaworld"), "seed": seed, "tasks": list(tasks)}


def _checksum(lists: dict[str, list[list[float]]]) -> str:
    return hashlib.sha256(json.dumps(lists, sort_keys=True).encode()).hexdigest()


def _goal_array(rows: list[list[float]]) -> NDArray[np.float64]:
    """`[50, k]`; raises `ValueError` where the numbers can't be goals."""
    if not all(type(number) is float for row in rows for number in row):
        raise ValueError("goals are numbers")
    goals = np.array(rows, dtype=np.float64)
    if goals.ndim != 2 or len(goals) != GOALS_PER_TASK or goals.shape[1] not in _LENGTHS:
        raise ValueError(f"goals of shape {goals.shape}")
    if not (np.abs(goals) < _FARTHEST).all():  # nor NaN
        raise ValueError("goals are out of reach")
    return goals


def _write_atomically(path: Path, text: str) -> None:
    """Two processes may write the same file at once; a reader sees one of them, whole."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
