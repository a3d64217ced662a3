"""The folder of a run: config.yaml, sessions.csv, metrics.csv, tensorboard/, checkpoints/, report.*."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from configs.errors import UsageError
from machine.interpreter import this_python
from training.checkpoints.checksums import flush, refuse_links
from training.checkpoints.folder import (
    has_lost_its_checkpoint,
    load_state,
    newest_checkpoint,
)
from training.progress import parse_progress
from training.run_lock import LOCK, lock_run

_AT_FIRST = ("checkpoints", LOCK, ".config.yaml")
"""What a kill can leave of a run that has not got its config.yaml yet."""


def create_run_folder(out: Path | None, config_name: str, seed: int) -> Path:
    """Make a new run folder.

    Args:
        out: as the user named it; `None` makes `runs/<config>-seed<N>-<date>-<time>`.

    Raises:
        UsageError: it exists and is not empty, or can't be written.
    """
    if out is None:
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        out = Path("runs") / f"{Path(config_name).stem}-seed{seed}-{stamp}"
    if out.is_dir() and (
        any(path.name not in _AT_FIRST for path in out.iterdir()) or any(out.glob("checkpoints/*"))
    ):
        raise UsageError(f"--out {out}: exists and is not empty; choose another, or --resume {out}")
    try:
        (out / "checkpoints").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: can't be written ({error.strerror})") from error
    return out


@contextmanager
def open_run(folder: Path, command: str, resume: bool) -> Iterator[Path | None]:
    """Hold the folder of a run while it is written to; gives the checkpoint to go on from, if any.

    Args:
        folder: of the run.
        command: the script that continues it, for messages.
        resume: whether the run has been begun before.

    Raises:
        UsageError: it is in use, holds links, has lost its checkpoint, or can't be written; also in the
            place of an `OSError` inside the block: disk full, folder gone.
    """
    with _explain_write_errors(folder, command), lock_run(folder):
        refuse_links(folder.resolve())
        checkpoint = newest_checkpoint(folder) if resume else None
        if resume and checkpoint is None:
            _begin_again(folder)
        print(f"run folder: {folder}", flush=True)
        yield checkpoint


def write_config(folder: Path, config_yaml: str) -> None:
    """Write config.yaml, in a new run or when a resumed one has changed settings."""
    draft = folder / ".config.yaml"
    draft.write_text(config_yaml, encoding="utf-8")
    flush(draft)
    draft.replace(folder / "config.yaml")
    flush(folder)


def require_steps_left(checkpoint: Path, total_env_steps: int) -> None:
    """Raise `UsageError` for a new end that the run has passed already."""
    state = load_state(checkpoint)
    done = parse_progress(state["progress"], f"{checkpoint}/state.json").env_steps
    if total_env_steps < done and total_env_steps != state["config"].get("total_env_steps"):
        raise UsageError(
            f"--total-env-steps {total_env_steps}: the run has made {done} steps already; give more, or "
            "leave it out"
        )


def _begin_again(folder: Path) -> None:
    """Say that a run without a checkpoint starts from its beginning.

    Raises:
        UsageError: it has had one, so that starting anew would lose what it has learned.
    """
    if has_lost_its_checkpoint(folder):
        raise UsageError(
            f"{folder}: its checkpoint is missing or not whole; restore checkpoints/step_*, or start a "
            "new run"
        )
    print(f"{folder}: no checkpoint yet, so from its beginning")


@contextmanager
def _explain_write_errors(folder: Path, command: str) -> Iterator[None]:
    """Turn an `OSError` (disk full, folder gone or read-only) into a `UsageError`: how to go on."""
    print_exception = threading.excepthook
    # TensorBoard writes in a thread, and raises in ours what goes wrong there.
    threading.excepthook = lambda what: (
        None if issubclass(what.exc_type, OSError) else print_exception(what)
    )
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{error.filename or folder}: {error.strerror or error}; checkpoints that were complete "
            f"are untouched; fix this, then: {this_python()} {command} --resume {folder}"
        ) from error
    finally:
        threading.excepthook = print_exception
