"""What the runs of a sweep have come to, from their folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from configs.errors import UsageError
from configs.loading import MULTI_TASK
from configs.plain_yaml import read_yaml
from sweeps.execution import BEGUN
from sweeps.runs import COLUMNS, Run, read_json, read_rows
from training.sessions import SESSIONS

GOALS = (0.5, 0.9, 0.99)
"""Success rates whose first crossing is looked for."""


@dataclass(frozen=True)
class Result:
    """A run that is done.

    Attributes:
        run: which.
        steps: of each evaluation `[k]`: environment steps, or tasks learned.
        rates: success, or accuracy, in them `[k]`.
        final: success in the report, which plays more goals; accuracy over all tasks.
        area: mean of the curve, straight between evaluations, over the whole run.
        reached: of `GOALS`: steps and hours of the first evaluation there; `None` where none is. Empty for
            images, whose accuracy begins high and falls.
        hours: of training.
        places: machines or nodes that it was on, in order.
        processors: of its sessions.csv, in order, each with its precision.
    """

    run: Run
    steps: NDArray[np.float64]
    rates: NDArray[np.float64]
    final: float
    area: float
    reached: tuple[tuple[float, float] | None, ...]
    hours: float
    places: tuple[str, ...]
    processors: tuple[str, ...]


def results_of(runs: Sequence[Run]) -> list[Result]:
    """Those of the runs that are done.

    Raises:
        UsageError: a run has its report, but its metrics.csv is missing or ends long before the run did.
    """
    return [result for run in runs if (result := _result(run)) is not None]


def mean_of_curve(steps: NDArray[np.float64], rates: NDArray[np.float64], from_zero: bool) -> float:
    """Area under a curve, straight between its points, divided by its length.

    Args:
        steps: `[k]`, rising.
        rates: `[k]`.
        from_zero: the curve begins at step 0 with 0; else with its first point.
    """
    if from_zero:
        steps, rates = np.append(0.0, steps), np.append(0.0, rates)
    if len(steps) == 1:
        return float(rates[0])
    return float(np.trapezoid(rates, steps) / (steps[-1] - steps[0]))


def _result(run: Run) -> Result | None:
    report = read_json(run.folder / "report.json")
    if report is None:
        return None
    counter, measure = COLUMNS[run.command]
    robots = run.command == "train_mt10.py"
    final = float(report["mean_success_rate" if robots else "acc"])
    written = read_rows(run.folder / "metrics.csv")
    _require_whole(run, np.array([float(row[counter]) for row in written]))
    spent = [float(row["time/elapsed_hours"]) for row in written if row["time/elapsed_hours"]]
    rows = [row for row in written if row.get(measure)]
    steps = np.array([float(row[counter]) for row in rows])
    rates = np.array([float(row[measure]) for row in rows])
    hours = np.array([float(row["time/elapsed_hours"]) for row in rows])
    if not rows:  # too short for an evaluation: the report is the only one
        steps, rates, hours = (
            np.array([run.total]),
            np.array([final]),
            np.array([max(spent, default=0.0)]),
        )
    if run.phase is not None and "matrix" in report:
        # Within a phase its own task alone is evaluated; all of them are at its end.
        rates = np.mean(report["matrix"], axis=1)  # [phases]
        ends = run.phase * np.arange(1.0, 1 + len(rates))
        steps, hours = ends, hours[np.searchsorted(steps, ends)]
    goals = GOALS if robots else ()
    first = [np.flatnonzero(rates >= goal) for goal in goals]
    return Result(
        run=run,
        steps=steps,
        rates=rates,
        final=final,
        area=mean_of_curve(steps, rates, from_zero=robots),
        reached=tuple(
            (float(steps[at[0]]), float(hours[at[0]])) if len(at) else None for at in first
        ),
        hours=max(spent, default=0.0),
        places=_places(run),
        processors=_processors(run),
    )


def _require_whole(run: Run, counted: NDArray[np.float64]) -> None:
    """Refuse the rows of a file that was lost or cut on its way here: they would give another area."""
    last = counted.max(initial=0.0)
    interval = 1
    if run.command == "train_mt10.py":
        path = run.folder / "config.yaml"
        recorded = MULTI_TASK.parse_recorded(read_yaml(path), str(path))
        interval = recorded.recording.log_interval_env_steps
    if last < run.total // interval * interval:  # a row is written when it is due, not at the end
        raise UsageError(
            f"{run.folder}/metrics.csv: ends at {last:,.0f} of {run.total:,}, and yet there is a report.json; "
            "copy the whole file, or delete the folder to make the run again"
        )


def _places(run: Run) -> tuple[str, ...]:
    """Where it was begun and resumed."""
    try:
        lines = run.log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    begun = [line for line in lines if line.startswith(BEGUN) and " on " in line]
    places = [line.split(" on ", 1)[1].split(": ", 1)[0] for line in begun]
    return _changes(places)


def _processors(run: Run) -> tuple[str, ...]:
    """By name, with the GPU where there is one, and the precision."""
    return _changes(
        [
            ", ".join(
                (row.get(key) or "").removeprefix("torch.")
                for key in ("processor", "device", "precision")
                if row.get(key) != "cpu"
            )
            for row in read_rows(run.folder / SESSIONS)
        ]
    )


def _changes(values: Sequence[str]) -> tuple[str, ...]:
    """Without repeats in a row."""
    return tuple([*values[:1], *(new for old, new in pairwise(values) if new != old)])
