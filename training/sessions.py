"""sessions.csv: when, from which checkpoint, and where a run was started and resumed."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import torch

from machine.fingerprint import fingerprint
from machine.versions import code_version

SESSIONS = "sessions.csv"


def write_session(
    folder: Path, checkpoint: Path | None, device: torch.device, precision: torch.dtype
) -> None:
    """Append a row: the code, the packages and the machine that the run goes on with.

    Nothing reads it but people and the page of a sweep: a run goes on without it.

    Args:
        folder: of the run.
        checkpoint: that it goes on from; `None` at its beginning.
        device: of the learner.
        precision: of its products between hidden layers.
    """
    row = {
        "begun_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "from_checkpoint": checkpoint.name if checkpoint is not None else "",
        "code": code_version(),
        **fingerprint(device, precision),
    }
    path = folder / SESSIONS
    columns = _columns(path)  # of the version that began the run
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(
            file, columns or list(row), extrasaction="ignore", lineterminator="\n"
        )
        if not columns:
            writer.writeheader()
        writer.writerow(row)


def _columns(path: Path) -> list[str]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), [])
