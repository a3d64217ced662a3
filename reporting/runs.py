"""The committed results of a training run: docs/results/NAME-seedN.csv and .json."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reporting.report import Report, read_report

RESULTS = Path(__file__).parent.parent / "docs" / "results"


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


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a header."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_runs(name: str) -> list[Run]:
    """The runs `NAME-seed*.csv` with their reports, by seed."""
    runs = []
    for path in sorted(RESULTS.glob(f"{name}-seed*.csv")):
        rows = read_csv(path)
        evaluated = [row for row in rows if row["eval/success_rate"]]
        runs.append(
            Run(
                seed=int(path.stem.rpartition("seed")[2]),
                env_steps=np.array([int(row["env_steps"]) for row in evaluated]),
                hours=np.array([float(row["time/elapsed_hours"]) for row in evaluated]),
                success=np.array([float(row["eval/success_rate"]) for row in evaluated]),
                report=read_report(path.with_suffix(".json")),
                gradient_steps=int(rows[-1]["gradient_steps"]),
                dead_units=_mean(rows[-1], "/dead_units"),
            )
        )
    return runs


def _mean(row: dict[str, str], suffix: str) -> float:
    return float(np.mean([float(value) for key, value in row.items() if key.endswith(suffix)]))
