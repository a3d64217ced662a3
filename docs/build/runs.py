"""The committed results of training runs: docs/results/NAME-seedN.csv and .json."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reporting.report import Report, read_report

ROOT = Path(__file__).parent.parent.parent
RESULTS = ROOT / "docs" / "results"


@dataclass(frozen=True)
class Run:
    """One training run's committed results."""

    seed: int
    env_steps: NDArray[np.int64]  # [k] of the evaluations during training
    hours: NDArray[np.float64]  # [k] wall-clock, evaluations included
    success: NDArray[np.float64]  # [k] mean over tasks
    report: Report  # report.json: every goal, at the end
    gradient_steps: int
    dead_units: float  # fraction of the hidden units, mean over layers, at the end

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names, in the report's order."""
        return tuple(self.report["tasks"])


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a header."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run_names() -> list[str]:
    """NAME of all the runs that have both files; those of docs/results/comparison are not among them."""
    both = [path for path in RESULTS.glob("*-seed*.json") if path.with_suffix(".csv").exists()]
    return sorted({path.stem.rpartition("-seed")[0] for path in both})


def read_runs(name: str) -> list[Run]:
    """The runs `NAME-seed*.csv` with their reports, by seed.

    Raises:
        FileNotFoundError: a report is there without its metrics; the tables would lose a seed.
    """
    for path in RESULTS.glob(f"{name}-seed*.json"):
        if not path.with_suffix(".csv").exists():
            raise FileNotFoundError(f"{path.with_suffix('.csv')}: missing, and its report is there")
    runs = [_read_run(path) for path in RESULTS.glob(f"{name}-seed*.csv")]
    return sorted(runs, key=lambda run: run.seed)


def _read_run(path: Path) -> Run:
    rows = read_csv(path)
    evaluated = [row for row in rows if row["eval/success_rate"]]
    dead = [float(value) for key, value in rows[-1].items() if key.endswith("/dead_units")]
    return Run(
        seed=int(path.stem.rpartition("seed")[2]),
        env_steps=np.array([int(row["env_steps"]) for row in evaluated]),
        hours=np.array([float(row["time/elapsed_hours"]) for row in evaluated]),
        success=np.array([float(row["eval/success_rate"]) for row in evaluated]),
        report=read_report(path.with_suffix(".json")),
        gradient_steps=int(rows[-1]["gradient_steps"]),
        dead_units=float(np.mean(dead)),
    )
