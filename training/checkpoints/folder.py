"""Checkpoints on disk: named tensors as safetensors, everything else as JSON. Nothing executes.

A checkpoint is a folder, `step_000250000/` say, with `state.json`, one `NAME.safetensors` per part, and
`SHA256SUMS` (`sha256sum --check SHA256SUMS` reads it, too). It is written under a temporary name and renamed
when complete, so a folder with a proper name is always whole.
"""

from __future__ import annotations

import json
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from configs.errors import UsageError
from machine.versions import package_versions
from training.checkpoints.checksums import flush, require_intact, require_plain, write_checksums

FORMAT = 3
NEWEST, BEST = "step_", "best_"
_STATE = "state.json"
_HAS_HAD_ONE = ".saved"
"""An empty file next to the checkpoints, from the first one on. A run that has it never starts over."""
_MAX_STATE_BYTES = 2**24
_MAX_PART_BYTES = 2**36
_MAX_HEADER_BYTES = 2**22

Parts = dict[str, dict[str, Tensor]]


def save_checkpoint(folder: Path, kind: str, env_steps: int, parts: Parts, state: Any) -> Path:
    """Write a checkpoint atomically, then delete the older ones of its kind.

    Args:
        folder: the run's `checkpoints/`, which exists.
        kind: `NEWEST` or `BEST`, the prefix of the name.
        env_steps: goes into the name.
        parts: tensors, by part and name.
        state: JSON data.

    Raises:
        OSError: disk full, folder gone or read-only; the older checkpoints are then untouched.
    """
    final = folder / f"{kind}{env_steps:09d}"
    draft, aside = folder / f".writing-{final.name}", folder / f".old-{final.name}"
    _tidy(folder)
    draft.mkdir()
    try:
        write_checkpoint(draft, parts, {"versions": package_versions(), **state})
        if final.exists():  # stopped again before the next step: put the new one in its place
            final.rename(aside)
        draft.rename(final)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)  # its space may be all that there was
        raise
    if kind == NEWEST:
        with suppress(OSError):  # the disk may be full to the last entry; the checkpoint is there
            (folder / _HAS_HAD_ONE).touch()
    flush(folder)
    for old in _of_kind(folder, kind):
        if old != final:
            old.rename(
                folder / f".writing-{old.name}"
            )  # so that no half of it is ever taken for it
    _tidy(folder)
    return final


def write_checkpoint(folder: Path, parts: Parts, state: dict[str, Any]) -> None:
    """Write the files of a checkpoint into an existing folder, down to the disk.

    `state` is JSON data, with the `package_versions()` the agent was trained with under `versions`.

    Raises:
        OSError: a file can't be written.
    """
    for name, tensors in parts.items():
        path = folder / f"{name}.safetensors"
        contents = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        try:
            save_file(contents, path)
        except SafetensorError as error:  # what it makes of a full disk
            raise OSError(None, str(error), str(path)) from error
        path.chmod(0o644)
    document = json.dumps({"format": FORMAT, **state}, indent=1, allow_nan=False)
    (folder / _STATE).write_text(document, encoding="utf-8")
    write_checksums(folder, [_STATE, *(f"{name}.safetensors" for name in parts)])


def find_checkpoint(path: Path) -> Path:
    """The checkpoint that a run folder or a checkpoint folder means: the newest of a run.

    Raises:
        UsageError: there is none.
    """
    if (path / _STATE).is_file():
        return path
    if not path.is_dir():
        raise UsageError(f"{path}: no such run or checkpoint folder")
    for _ in range(100):  # a run that is training may replace the one that has just been listed
        newest = newest_checkpoint(path)
        if newest is not None:
            return newest
        if not any((path / "checkpoints").glob(f"{NEWEST}*")):
            break
        time.sleep(0.01)
    raise UsageError(f"{path}: no checkpoint in it (expected {path}/checkpoints/step_*/)")


def newest_checkpoint(run: Path) -> Path | None:
    """The checkpoint that a run goes on from; `None` if it has not come to its first."""
    candidates = _of_kind(run / "checkpoints", NEWEST)
    return candidates[-1] if candidates else None


def has_lost_its_checkpoint(run: Path) -> bool:
    """Whether a run without a complete checkpoint has had one."""
    folder = run / "checkpoints"
    return not folder.is_dir() or (folder / _HAS_HAD_ONE).exists() or any(folder.glob(f"{NEWEST}*"))


def load_state(checkpoint: Path) -> dict[str, Any]:
    """The JSON part of a checkpoint; `versions`, `config` and `progress` are in it, as dicts.

    Raises:
        UsageError: missing, damaged, not a checkpoint, or of another format.
    """
    path = checkpoint / _STATE
    try:
        require_plain(path, _MAX_STATE_BYTES)
        state = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
        found = state.get("format") if isinstance(state, dict) else None
        if found != FORMAT:
            raise ValueError(
                f"format {found!r:.20}, this version of the project reads format {FORMAT}; the version "
                "that wrote it can still read it"
            )
        require_intact(path, _MAX_STATE_BYTES)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not a readable checkpoint ({error}); use another one") from error
    for key in ("versions", "config", "progress"):
        if not isinstance(state.get(key), dict):
            raise UsageError(f"{path}: '{key}' is missing; use another checkpoint")
    for key in ("versions", "machine"):  # are printed
        texts = state.get(key, {})
        if not isinstance(texts, dict) or not all(map(_is_plain, (*texts, *texts.values()))):
            raise UsageError(f"{path}: '{key}' is not as this version writes it")
    return state


def load_part(checkpoint: Path, name: str, max_bytes: int = _MAX_PART_BYTES) -> dict[str, Tensor]:
    """The tensors of one part, on the CPU.

    Raises:
        UsageError: missing, damaged, not safetensors, or larger than `max_bytes`.
    """
    path = checkpoint / f"{name}.safetensors"
    try:
        require_intact(path, max_bytes)
        with path.open("rb") as file:  # safetensors itself would parse 100 MB of it
            if int.from_bytes(file.read(8), "little") > _MAX_HEADER_BYTES:
                raise ValueError("its header is too large")
        with safe_open(path, framework="pt") as part:
            return {key: part.get_tensor(key) for key in part.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError, RuntimeError) as error:
        # RuntimeError: torch opens the file once more, and a run that is training may have removed it
        raise UsageError(
            f"{path}: not a checkpoint part ({error}); use another checkpoint, or copy the run folder again "
            "from where it came"
        ) from error


def require_alike(own: dict[str, Tensor], given: dict[str, Tensor], source: str) -> None:
    """Check that tensors read from a file are those we have: names, shapes, dtypes, all finite.

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
        if not theirs.isfinite().all():
            raise UsageError(f"{source}: tensor '{name}' holds NaN or infinite values")


def _tidy(folder: Path) -> None:
    """Remove what a kill in the middle of a save has left behind."""
    for draft in folder.glob(".writing-*"):
        shutil.rmtree(draft, ignore_errors=True)
    for aside in folder.glob(".old-*"):
        final = aside.with_name(aside.name.removeprefix(".old-"))
        if final.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(final)


def _of_kind(folder: Path, kind: str) -> list[Path]:
    """Complete checkpoints of a kind, oldest first."""
    # Between the two renames of a save the checkpoint exists under its name aside only.
    by_name = {path.name.removeprefix(".old-"): path for path in folder.glob(f".old-{kind}*")}
    by_name |= {path.name: path for path in folder.glob(f"{kind}*")}
    return [path for _, path in sorted(by_name.items()) if (path / _STATE).is_file()]


def _is_plain(text: Any) -> bool:
    return isinstance(text, str) and len(text) < 100 and text.isprintable()


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"it holds {constant}")
