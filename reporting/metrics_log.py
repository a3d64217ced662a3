"""metrics.csv and TensorBoard events: one `write` feeds both."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from configs.errors import UsageError
from configs.schema import Config
from reporting.metric_keys import COUNTER_COLUMNS, metric_keys


class MetricsLog:
    """Appends rows; on resume first drops what was written after the checkpoint.

    Args:
        folder: the run folder; `metrics.csv` and `tensorboard/` are in it.
        config: decides the columns.
        resume_at: `(env_steps, bytes of metrics.csv)` of the checkpoint, or `None` for a new run.

    Raises:
        UsageError: metrics.csv is missing or shorter than it was at the checkpoint.
    """

    def __init__(
        self, folder: Path, config: Config, resume_at: tuple[int, int] | None = None
    ) -> None:
        self._columns = [*COUNTER_COLUMNS, *metric_keys(config)]
        self._path = folder / "metrics.csv"
        purge_step = None
        if resume_at is None:
            self._path.write_text(",".join(self._columns) + "\n", encoding="utf-8")
        else:
            env_steps, size = resume_at
            if not self._path.is_file() or self._path.stat().st_size < size:
                raise UsageError(f"{self._path}: missing or shorter than its checkpoint says")
            os.truncate(self._path, size)
            purge_step = env_steps + 1  # TensorBoard hides earlier events from this step on
        self.size = self._path.stat().st_size
        """Bytes of metrics.csv."""
        self._tensorboard = SummaryWriter(str(folder / "tensorboard"), purge_step=purge_step)

    def write(self, counters: Mapping[str, int], values: Mapping[str, float]) -> None:
        """Append a row; keys without a value stay empty.

        Raises:
            KeyError: a key that `reporting/metric_keys.py` does not declare.
        """
        unknown = set(values) - set(self._columns)
        if unknown:
            raise KeyError(f"undeclared metrics: {sorted(unknown)}")
        line = io.StringIO()
        row = {**{name: counters[name] for name in COUNTER_COLUMNS}, **values}
        csv.DictWriter(line, self._columns, restval="", lineterminator="\n").writerow(row)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line.getvalue())
            self.size = file.tell()
        for key, value in values.items():
            self._tensorboard.add_scalar(key, value, counters["env_steps"])
        self._tensorboard.flush()

    def close(self) -> None:
        """Flush and close the event file."""
        self._tensorboard.close()
