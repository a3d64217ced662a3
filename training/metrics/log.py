"""metrics.csv and TensorBoard events: one `write` feeds both."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from configs.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_EVENTS = "events.out.tfevents."
_MOST_HEADER_BYTES = 1_000_000
"""A stranger's file may have no end of line."""


class MetricsLog:
    """Appends rows; on resume first drops what was written after the checkpoint.

    Args:
        folder: the run folder; `metrics.csv` and `tensorboard/` are in it.
        counters: columns that say when a row was written; the first is TensorBoard's step.
        keys: columns of metrics.
        resume_at: of the checkpoint: the first counter from which on no row was written yet, and bytes
            of metrics.csv; `None` for a new run.

    Raises:
        UsageError: metrics.csv is missing, shorter than it was at the checkpoint, or has other columns.
    """

    def __init__(
        self,
        folder: Path,
        counters: Sequence[str],
        keys: Sequence[str],
        resume_at: tuple[int, int] | None = None,
    ) -> None:
        self._counters, self._columns = tuple(counters), [*counters, *keys]
        self._path = folder / "metrics.csv"
        purge_step = 0  # TensorBoard hides earlier events from this step on
        if resume_at is None:
            self._path.write_text(",".join(self._columns) + "\n", encoding="utf-8")
        else:
            purge_step, size = resume_at
            self._cut(size)
        _put_first(folder / "tensorboard")
        self.size = self._path.stat().st_size
        """Bytes of metrics.csv."""
        self._tensorboard = SummaryWriter(str(folder / "tensorboard"), purge_step=purge_step)

    def _cut(self, size: int) -> None:
        """Drop the rows after the first `size` bytes."""
        header = ",".join(self._columns) + "\n"
        with suppress(FileNotFoundError), self._path.open("r+b") as file:
            found = file.readline(_MOST_HEADER_BYTES).decode(errors="replace")
            if found.endswith("\n") and found != header:
                raise UsageError(f"{self._path}: {_difference(found, self._columns)}")
            file.seek(max(size, len(header)) - 1)
            if found == header and size >= len(header) and file.read(1) == b"\n":
                file.truncate(size)
                return
        raise UsageError(
            f"{self._path}: missing, or shorter than its checkpoint says; restore it from where the run "
            "was copied"
        )

    def write(self, counters: Mapping[str, int], values: Mapping[str, float]) -> None:
        """Append a row; keys without a value stay empty.

        Raises:
            OSError: disk full, folder gone or read-only.
            KeyError: a key that is no column.
        """
        unknown = set(values) - set(self._columns)
        if unknown:
            raise KeyError(
                f"undeclared metrics: {sorted(unknown)}; docs/architecture.md says how to add one"
            )
        line = io.StringIO()
        row = {**{name: counters[name] for name in self._counters}, **values}
        csv.DictWriter(line, self._columns, restval="", lineterminator="\n").writerow(row)
        with self._path.open("r+", encoding="utf-8") as file:  # never a new one without a header
            file.seek(self.size)
            file.write(line.getvalue())
            file.flush()
            os.fsync(file.fileno())  # a checkpoint counts on these bytes
            self.size = file.tell()
        for key, value in values.items():
            self._tensorboard.add_scalar(key, value, counters[self._counters[0]])
        self._tensorboard.flush()

    def image(self, key: str, figure: Figure, step: int) -> None:
        """Add a picture to TensorBoard; the figure is closed."""
        self._tensorboard.add_figure(key, figure, step)
        self._tensorboard.flush()

    def pictures(self, pictures: Mapping[str, NDArray[np.uint8]], step: int) -> None:
        """Add painted pictures `[height, width, 3]` to TensorBoard."""
        for key, picture in pictures.items():
            self._tensorboard.add_image(key, picture, step, dataformats="HWC")
        self._tensorboard.flush()

    def close(self) -> None:
        """Close the event file; every `write` has flushed it."""
        with suppress(OSError):  # that the disk is full has been said
            self._tensorboard.close()


def _difference(header: str, columns: Sequence[str]) -> str:
    """What to do about a metrics.csv that was begun with other columns."""
    theirs = header.rstrip("\n").split(",")
    new = [name for name in columns if name not in theirs]
    gone = [name for name in theirs if name not in columns]
    names = ", ".join([*(f"no {name}" for name in new[:2]), *(f"{name:.80}" for name in gone[:2])])
    return (
        f"its columns are not those that are written now ({names or 'another order'}); resume it with the "
        "version that began it, or start a new run"
    )


def _put_first(folder: Path) -> None:
    """Rename event files that would not come before the next one.

    TensorBoard reads them in the order of their names, `events.out.tfevents.TIME...`, and those of a
    machine whose clock is ahead of ours would come after what the resumed run writes.
    """
    files = sorted(folder.glob(f"{_EVENTS}*"))
    times = [path.name.removeprefix(_EVENTS).partition(".")[0] for path in files]
    if not any(stamp >= f"{int(time.time()):010d}" for stamp in times):  # also of this very second
        return
    for index, (path, stamp) in enumerate(zip(files, times, strict=True)):
        rest = path.name.removeprefix(f"{_EVENTS}{stamp}")
        path.rename(path.with_name(f"{_EVENTS}{index:010d}{rest}"))
