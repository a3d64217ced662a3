"""Watch a long training run from outside: memory, open files, processes, disk and speed."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray
from scipy import stats

from configs.errors import UsageError
from tests.stress.small_run import ROOT, command

COLUMNS = (
    *("hours", "env_steps", "env_steps_per_second"),
    *("trainer_mb", "workers_mb", "open_files", "processes", "tensorboard_kb", "run_folder_mb"),
)
_LONGEST_START_S = 120.0
_LONGEST_STOP_S = 120.0
_FEWEST_SAMPLES = 10


@dataclass(frozen=True)
class Trend:
    """A straight line through the second half of the samples."""

    mean: float
    per_hour: float
    low: float  # 95 % interval of per_hour
    high: float

    @staticmethod
    def of(hours: NDArray[np.float64], values: NDArray[np.float64]) -> Trend:
        """Least squares; the interval takes the samples as independent."""
        late = hours >= hours[-1] / 2
        line = stats.linregress(hours[late], values[late])
        error = np.nan_to_num(line.stderr)  # NaN for a constant
        half = stats.t.ppf(0.975, late.sum() - 2) * error
        return Trend(values[late].mean(), line.slope, line.slope - half, line.slope + half)


def soak(
    run: Path, out: Path, *, hours: float, every_s: float, arguments: tuple[object, ...]
) -> dict[str, Trend]:
    """Train into `run`, write a row of samples every so often, and stop it; trends by column.

    Args:
        run: run folder to create.
        out: CSV to write, with `COLUMNS`.
        hours: after the first row until the run is asked to stop, as Ctrl-C does; a start may take long.
        every_s: between two rows [s].
        arguments: of train_mt10.py.

    Raises:
        UsageError: the run did not last, or did not stop as it should.
    """
    process = subprocess.Popen(command(*arguments, "--out", run), cwd=ROOT)
    rows: list[list[float]] = []
    started = time.monotonic()
    end = started + _LONGEST_START_S
    try:
        with out.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            while process.poll() is None and time.monotonic() < end:
                sample = _sample(process.pid, run, (time.monotonic() - started) / 3600)
                if sample is not None:
                    if not rows:
                        end = time.monotonic() + 3600 * hours
                    rows.append(sample)
                    writer.writerow(sample)
                    file.flush()
                time.sleep(every_s)
        process.terminate()
        process.wait(timeout=_LONGEST_STOP_S)
    finally:
        process.kill()
        process.wait()
    if process.returncode != 128 + signal.SIGTERM:
        raise UsageError(f"the run ended with exit code {process.returncode}")
    if len(rows) < _FEWEST_SAMPLES:
        raise UsageError(f"--hours {hours:g}: too short for {_FEWEST_SAMPLES} samples")
    table = np.array(rows)
    return {name: Trend.of(table[:, 0], table[:, i]) for i, name in enumerate(COLUMNS) if i > 1}


def _sample(trainer: int, run: Path, hours: float) -> list[float] | None:
    """One row; `None` while the run starts or ends."""
    try:
        process = psutil.Process(trainer)
        children = process.children(recursive=True)
        memory = process.memory_full_info().uss / 1e6
        workers = sum(child.memory_full_info().uss for child in children) / 1e6
        files = process.num_fds()
        with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
            last = [row for row in csv.DictReader(file) if row["time/elapsed_hours"]][-1]
    except (psutil.Error, OSError, IndexError):
        return None
    steps, speed = float(last["env_steps"]), float(last["time/env_steps_per_second"])
    events = _size(run / "tensorboard") / 1e3
    row = [hours, steps, speed, memory, workers, files, 1 + len(children), events, _size(run) / 1e6]
    return [round(value, 3) for value in row]


def _size(folder: Path) -> int:
    """Bytes of all files; those that vanish meanwhile do not count."""
    total = 0
    for inside, _, files in os.walk(
        folder
    ):  # passes over folders that vanish, which rglob does not
        for name in files:
            with suppress(OSError):
                total += (Path(inside) / name).stat().st_size
    return total
