"""Tasks that runs of the study have not learned: whether they ever succeeded, and the return that they settled for."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from docs.build.markdown import table
from docs.build.runs import read_csv
from docs.build.sweeps import FOLDER
from reporting.report import read_report

_HALF = 0.5
"""Success at the end below which a task counts as not learned."""
_RARELY = 0.2
"""Success in training that no row of metrics.csv may exceed for 'hardly ever'."""


@dataclass(frozen=True)
class _Outcome:
    """A task in a run: best success of a row of training; success and mean return in the report."""

    best_training: float
    success: float
    episode_return: float


def failure_tables(folder: Path = FOLDER / "study") -> dict[str, str]:
    """`study-failures`: a row for each task that some run ends below one half."""
    outcomes: dict[str, list[_Outcome]] = defaultdict(list)
    for path in sorted(folder.glob("runs/*/report.json")):
        rows = read_csv(path.with_name("metrics.csv"))
        for task, of_task in read_report(path)["tasks"].items():
            training = [row[f"train/success_rate/{task}"] for row in rows]
            best = max(float(rate) for rate in training if rate)
            outcome = _Outcome(best, of_task["success_rate"], of_task["mean_return"])
            outcomes[task].append(outcome)
    headers = (
        *("task", "runs below 50 %", f"of these, never above {100 * _RARELY:.0f} % while training"),
        *("their return, median (range)", "return of the other runs"),
    )
    cells = []
    for task, in_runs in outcomes.items():
        failed = [one for one in in_runs if one.success < _HALF]
        others = [one for one in in_runs if one.success >= _HALF]
        rarely = sum(one.best_training <= _RARELY for one in failed)
        if failed:
            runs = f"{len(failed)} of {len(in_runs)}"
            cells.append((task, runs, f"{rarely}", _returns(failed), _returns(others)))
    return {"study-failures": table(headers, cells)}


def _returns(outcomes: list[_Outcome]) -> str:
    found = [one.episode_return for one in outcomes]
    said = f"{median(found):,.0f}"
    return said if len(found) == 1 else f"{said} ({min(found):,.0f} to {max(found):,.0f})"
