"""sessions.csv: when, from which checkpoint, and where a run was started and resumed."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import torch

from machine.fingerprint import fingerprint
from machine.versions import code_version
from reporting.rows import read_rows

SESSIONS = "sessions.csv"
WHEN, FROM = "begun_utc", "from_checkpoint"
"""Its columns that differ each time."""
_MAX_HEADER_BYTES = 4096


def write_session(
    folder: Path, checkpoint: Path | None, device: torch.device, precision: torch.dtype
) -> None:
    """Append a row: the code, the packages and the machine that the run goes on with.

    Nothing reads it but people and pages: a run goes on without it.

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


def read_sessions(folder: Path) -> list[dict[str, str]]:
    """The rows of a run, in order; none without a file that can be read."""
    try:
        return read_rows(folder / SESSIONS)
    except (OSError, csv.Error):
        return []


def sessions_in_words(folder: Path) -> tuple[str, ...]:
    """Machine and code of each session that had others than the one before; none without the file."""
    return without_repeats(
        [
            f"{machine_in_words(session)}; code {session.get('code') or 'not known'}"
            for session in read_sessions(folder)
            if machine_in_words(session)
        ]
    )


def machine_in_words(session: dict[str, str]) -> str:
    """Processor, the GPU where there is one, precision and threads."""
    words = [session.get(key) or "" for key in ("processor", "device", "precision")]
    threads = session.get("threads") or ""
    words.append(f"{threads} thread{'' if threads == '1' else 's'}" if threads else "")
    return ", ".join(word.removeprefix("torch.") for word in words if word not in ("", "cpu"))


def without_repeats(values: Sequence[str]) -> tuple[str, ...]:
    """Of several in a row, the first: what has changed, and when."""
    return tuple([*values[:1], *(new for old, new in pairwise(values) if new != old)])


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
