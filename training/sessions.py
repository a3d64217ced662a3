"""sessions.csv: when, from which checkpoint, and where a run was started and resumed."""

from __future__ import annotations

import csv
import os
from datetime import UTC, datetime
from pathlib import Path

import torch

from machine.fingerprint import fingerprint
from machine.versions import code_version

SESSIONS = "sessions.csv"
WHEN, FROM = "begun_utc", "from_checkpoint"
"""Its columns that differ each time."""
_MAX_HEADER_BYTES = 4096


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
        WHEN: datetime.now(UTC).isoformat(timespec="seconds"),
        FROM: checkpoint.name if checkpoint is not None else "",
        "code": code_version(),
        **fingerprint(device, precision),
    }
    path = folder / SESSIONS
    columns = _columns(path)  # of the version that began the run
    with path.open("a" if columns else "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(
            file, columns or list(row), extrasaction="ignore", lineterminator="\n"
        )
        if not columns:
            writer.writeheader()
        elif not _ends_with_a_line(path):  # a crash has cut it
            file.write("\n")
        writer.writerow(row)


def _columns(path: Path) -> list[str]:
    """Of its first line; none if there is no such file, or no whole line in it."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        first = file.readline(_MAX_HEADER_BYTES).decode("utf-8", "replace")
    return first.rstrip("\n").split(",") if first.endswith("\n") else []


def _ends_with_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"
