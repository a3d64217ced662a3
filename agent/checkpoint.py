"""Checkpoints on disk: named tensors as safetensors, everything else as JSON. Nothing executes.

A checkpoint is a folder, `step_000250000/` say, with `state.json` and one `NAME.safetensors` per
part. It is written under a temporary name and renamed when complete, so a folder with a proper name
is always whole.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from configs.errors import UsageError

FORMAT = 1
NEWEST, BEST = "step_", "best_"
_STATE = "state.json"
_PACKAGES = ("torch", "metaworld", "mujoco", "gymnasium", "numpy")

Parts = dict[str, dict[str, Tensor]]


def package_versions() -> dict[str, str]:
    """Versions that decide whether results can be compared."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def save_checkpoint(folder: Path, kind: str, env_steps: int, parts: Parts, state: Any) -> Path:
    """Write a checkpoint atomically, then delete the older ones of its kind.

    Args:
        folder: the run's `checkpoints/`.
        kind: `NEWEST` or `BEST`, the prefix of the name.
        env_steps: goes into the name.
        parts: tensors, by part and name.
        state: JSON data.

    Raises:
        OSError: disk full, folder gone or read-only; the older checkpoints are then untouched.
    """
    final = folder / f"{kind}{env_steps:09d}"
    draft, aside = folder / f".writing-{final.name}", folder / f".old-{final.name}"
    for leftover in [*folder.glob(".writing-*"), *folder.glob(".old-*")]:
        shutil.rmtree(leftover, ignore_errors=True)
    draft.mkdir(parents=True)
    write_checkpoint(draft, parts, {"versions": package_versions(), **state})
    if final.exists():  # stopped again before the next step: put the new one in its place
        final.rename(aside)
    draft.rename(final)
    _flush(folder)
    shutil.rmtree(aside, ignore_errors=True)
    for old in _of_kind(folder, kind):
        if old != final:
            shutil.rmtree(old, ignore_errors=True)
    return final


def write_checkpoint(folder: Path, parts: Parts, state: dict[str, Any]) -> None:
    """Write the files of a checkpoint into an existing folder, down to the disk.

    `state` is JSON data, with the `package_versions()` the agent was trained with under `versions`.
    """
    for name, tensors in parts.items():
        path = folder / f"{name}.safetensors"
        save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, path)
        _flush(path)
    (folder / _STATE).write_text(json.dumps({"format": FORMAT, **state}, indent=1))
    _flush(folder / _STATE)
    _flush(folder)


def find_checkpoint(path: Path) -> Path:
    """The checkpoint that a run folder or a checkpoint folder means: the newest of a run.

    Raises:
        UsageError: there is none.
    """
    if (path / _STATE).is_file():
        return path
    if not path.is_dir():
        raise UsageError(f"{path}: no such run or checkpoint folder")
    candidates = _of_kind(path / "checkpoints", NEWEST)
    if not candidates:
        raise UsageError(f"{path}: no checkpoint in it (expected {path}/checkpoints/step_*/)")
    return candidates[-1]


def load_state(checkpoint: Path) -> dict[str, Any]:
    """The JSON part of a checkpoint.

    Raises:
        UsageError: missing, truncated, not a checkpoint, or of another format.
    """
    path = checkpoint / _STATE
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not a readable checkpoint ({error}); use another one") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else None
        raise UsageError(f"{path}: format {found!r}, this version reads format {FORMAT}")
    return state


def load_part(checkpoint: Path, name: str) -> dict[str, Tensor]:
    """The tensors of one part, on the CPU.

    Raises:
        UsageError: missing, truncated or not safetensors.
    """
    path = checkpoint / f"{name}.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UsageError(
            f"{path}: missing, truncated or not a checkpoint part ({error}); use another checkpoint"
        ) from error


def load_into(own: dict[str, Tensor], given: dict[str, Tensor], source: Path) -> None:
    """Copy tensors by name, after checking that names, shapes and dtypes agree.

    Raises:
        UsageError: names the first tensor that does not fit.
    """
    for name in [*own, *given]:
        if name not in given or name not in own:
            where = "missing in" if name not in given else "unknown, but in"
            raise UsageError(f"{source}: tensor '{name}' is {where} the checkpoint; other network?")
        mine, theirs = own[name], given[name]
        if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
            raise UsageError(
                f"{source}: tensor '{name}' is {theirs.dtype} {list(theirs.shape)}, expected "
                f"{mine.dtype} {list(mine.shape)}; the checkpoint is of another network"
            )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(given[name])


def _of_kind(folder: Path, kind: str) -> list[Path]:
    """Complete checkpoints of a kind, oldest first."""
    found = [path for path in folder.glob(f"{kind}*") if (path / _STATE).is_file()]
    return sorted(found, key=lambda path: path.name)


def _flush(path: Path) -> None:
    """Fsync a file or folder, so that a rename never precedes its data."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
