"""Tasks that runs of the study have not learned: whether they ever succeeded, and how their return went on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from docs.build.markdown import table
from docs.build.runs import read_csv
from docs.build.sweeps import FOLDER
from reporting.report import read_report
from sweeps.tasks import NOT_LEARNED

_RARELY = 0.2
"""Share of a row's training episodes: a task that never succeeds in more has hardly been found."""


@dataclass(frozen=True)
class _Outcome:
    """A task in a run.

    Attributes:
        success: in the report.
        best_training: most success in a row of training.
        returns: of the evaluations `[k]`.
    """

    success: float
    best_training: float
    returns: Sequence[float]

    def mean_return(self, part: float) -> float:
        """Of the evaluation at this part of the run, from 0 to 1, and its neighbours."""
        at = round(part * len(self.returns)) - 1
        return float(np.mean(self.returns[max(at - 1, 0) : at + 2]))


def failure_tables(folder: Path = FOLDER / "study") -> dict[str, str]:
    """`study-failures`: a row for each task that some run has not learned."""
    outcomes: dict[str, list[_Outcome]] = defaultdict(list)
    for path in sorted(folder.glob("runs/*/report.json")):
        rows = read_csv(path.with_name("metrics.csv"))
        for task, of_task in read_report(path)["tasks"].items():
            training = _column(rows, f"train/success_rate/{task}")
            returns = _column(rows, f"eval/return/{task}")
            best = max(training, default=0.0)
            outcomes[task].append(_Outcome(of_task["success_rate"], best, returns))
    cells = []
    for task, in_runs in outcomes.items():
        failed = [one for one in in_runs if one.success < NOT_LEARNED]
        others = [one for one in in_runs if one.success >= NOT_LEARNED]
        if failed:
            runs = f"{len(failed)} of {len(in_runs)}"
            rarely = f"{sum(one.best_training <= _RARELY for one in failed)}"
            theirs = (_median_return(failed, 0.5), _median_return(failed, 1.0))
            cells.append((task, runs, rarely, *theirs, _median_return(others, 1.0)))
    headers = (
        "task",
        "runs below 50 %",
        f"of these, never above {100 * _RARELY:.0f} % in training",
    )
    returns_of = ("their return at half time", "at the end", "return of the other runs at the end")
    return {"study-failures": table((*headers, *returns_of), cells)}


def _column(rows: Sequence[dict[str, str]], name: str) -> list[float]:
    return [float(row[name]) for row in rows if row[name]]


def _median_return(outcomes: Sequence[_Outcome], part: float) -> str:
    found = [one.mean_return(part) for one in outcomes if one.returns]
    if not found:
        return "-"
    said = f"{np.median(found):,.0f}"
    return said if len(found) == 1 else f"{said} ({min(found):,.0f} to {max(found):,.0f})"
