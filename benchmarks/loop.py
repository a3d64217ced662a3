"""Where the wall-clock of the whole training loop goes, from its own metrics.csv."""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.measuring import Result, Spread, interleave, ratio
from configs import UsageError
from reporting.stopwatch import SECTIONS

LOG_INTERVAL = 10_000
PLAIN = ("--compile", "never", "--precision", "float32")


def benchmark_loop(quick: bool) -> Result:
    """The mt10 preset from a fresh start, as it is and with the plain update."""
    rounds, rows = (2, 2) if quick else (4, 4)
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, list[dict[str, float]]] = {"mt10": [], "mt10, eager float32": []}
        jobs = {
            name: _training(Path(folder), flags, rows, runs[name])
            for name, flags in zip(runs, ((), PLAIN), strict=True)
        }
        rates = interleave(jobs, rounds)
    result = Result(unit="gradient steps/s, 50 environment steps each, or fraction of wall-clock")
    result.measured = {name: Spread.of(values) for name, values in rates.items()}
    measured = runs["mt10"][1:]  # the first is not measured: it compiles
    for section in (*SECTIONS, "other"):
        fractions = [run[f"time/fraction_{section}"] for run in measured]
        result.measured[f"mt10, {section}"] = Spread.of(fractions)
    overhead = [run["time/fraction_sample"] + run["time/fraction_other"] for run in measured]
    result.ratios = {
        "overhead_fraction": Spread.of(overhead),
        "fast_over_plain": ratio(rates["mt10"], rates["mt10, eager float32"]),
    }
    result.notes["overhead"] = "sampling and other: neither physics, nor acting, nor gradient steps"
    return result


def _training(
    folder: Path, flags: tuple[str, ...], rows: int, runs: list[dict[str, float]]
) -> Callable[[], float]:
    """Train, and keep the medians over the rows after the random phase and the compilation."""

    def run() -> float:
        out = folder / f"run-{len(list(folder.iterdir()))}"
        never = 10**9
        command = [
            *(sys.executable, "train_mt10.py", "--config", "mt10", "--out", out, *flags),
            *("--total-env-steps", LOG_INTERVAL * (2 + rows)),
            *("--training.log-interval-env-steps", LOG_INTERVAL),
            *("--training.checkpoint-interval-env-steps", never),
            *("--evaluation.interval-env-steps", never),
            *("--evaluation.report-goals", 1, "--evaluation.goals", 1),
            *("--evaluation.horizon", 1),
        ]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise UsageError(f"train_mt10.py failed: {said[-1]}")
        with (out / "metrics.csv").open() as file:
            table = [row for row in csv.DictReader(file) if row["time/elapsed_hours"]][2:]
        runs.append(
            {
                key: median(float(row[key]) for row in table)
                for key in table[0]
                if key.startswith("time/")
            }
        )
        return runs[-1]["time/gradient_steps_per_second"]

    return run
