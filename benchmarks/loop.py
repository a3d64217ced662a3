"""Where the wall-clock of the whole training loop goes, from its own metrics.csv."""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Literal

from benchmarks.measuring import Result, Spread, interleave, ratio
from benchmarks.update import describe_precision
from configs import UsageError
from machine.device import resolve_device
from training.stopwatch import SECTIONS

LOG_INTERVAL = 10_000
FAST, PLAIN = "mt10", "mt10, eager float32"
PLAIN_FLAGS = ("--machine.compile", "never", "--machine.precision", "float32")

Times = dict[str, float]
"""The `time/` columns of metrics.csv, medians over rows."""


def benchmark_loop(quick: bool, precision: Literal["auto", "float32"]) -> Result:
    """The mt10 preset from a fresh start, as it is and with the plain update."""
    rounds, rows = (2, 1) if quick else (4, 4)
    fast_flags = ("--machine.precision", precision)
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, list[Times]] = {FAST: [], PLAIN: []}
        jobs = {
            name: _training(Path(folder), flags, rows, runs[name])
            for name, flags in ((FAST, fast_flags), (PLAIN, PLAIN_FLAGS))
        }
        rates = interleave(jobs, rounds)
    result = Result(unit="gradient steps/s, 50 environment steps each, or fraction of wall-clock")
    result.measured = {name: Spread.of(values) for name, values in rates.items()}
    measured = runs[FAST][1:]  # the first is not measured: it compiles
    for section in (*SECTIONS, "other"):
        fractions = [run[f"time/fraction_{section}"] for run in measured]
        result.measured[f"{FAST}, {section}"] = Spread.of(fractions)
    busy = [run["time/simulators_busy"] for run in measured]
    result.measured[f"{FAST}, simulators busy"] = Spread.of(busy)
    overhead = [run["time/fraction_sample"] + run["time/fraction_other"] for run in measured]
    result.ratios = {
        "overhead_fraction": Spread.of(overhead),
        "fast_over_plain": ratio(rates[FAST], rates[PLAIN]),
    }
    device = resolve_device("auto")
    result.notes[f"precision of {FAST}"] = describe_precision(precision, device)
    result.notes["overhead"] = (
        "sampling and other: neither gradient steps nor waiting for simulators"
    )
    return result


def _training(
    folder: Path, flags: tuple[str, ...], rows: int, runs: list[Times]
) -> Callable[[], float]:
    """A job that trains, and adds what it found to `runs`; it gives gradient steps/s."""

    def run() -> float:
        out = folder / f"run-{len(list(folder.iterdir()))}"
        command = [sys.executable, "train_mt10.py", *training_arguments(out, flags, rows)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise UsageError(f"train_mt10.py failed: {said[-1]}")
        if "not compiled, so slower" in done.stdout + done.stderr:
            raise UsageError("the update could not be compiled, which takes a C++ compiler (g++)")
        runs.append(read_times(out / "metrics.csv"))
        return runs[-1]["time/gradient_steps_per_second"]

    return run


def training_arguments(out: Path, flags: tuple[str, ...], rows: int) -> list[str]:
    """Of a run of `mt10` that has so many rows to read, and little but the loop in them."""
    never = 10**9
    arguments = [
        *("--config", "mt10", "--out", out, *flags),
        *("--total-env-steps", LOG_INTERVAL * (2 + rows)),
        *("--recording.log-interval-env-steps", LOG_INTERVAL),
        *("--recording.checkpoint-interval-env-steps", never),
        *("--evaluation.interval-env-steps", never),
        *("--evaluation.report-goals", 1, "--evaluation.goals", 1),
        *("--evaluation.horizon", 2),
    ]
    return [str(part) for part in arguments]


def read_times(metrics: Path) -> Times:
    """Medians over the rows after the random phase and the compilation, the first two."""
    with metrics.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["time/elapsed_hours"]][2:]
    columns = [column for column in rows[0] if column.startswith("time/")]
    return {column: median(float(row[column]) for row in rows) for column in columns}
