"""What the runs of a sweep have come to, from their folders."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from configs.errors import UsageError
from configs.loading import MULTI_TASK
from configs.plain_yaml import read_yaml
from configs.schema import Config
from reporting.rows import read_rows
from sweeps.execution import BEGUN
from sweeps.runs import COLUMNS, Run, read_json
from training.sessions import machine_in_words, read_sessions, without_repeats

GOALS = (0.5, 0.9, 0.99)
"""Success rates whose first crossing is looked for."""
MEASURES = {"area": "mean over the run", "final": "at the end"}
"""Attribute of `Result` -> in words. The first is what a sweep is decided by."""
_ROUNDING = 1e-9
"""The mean of tasks' rates can be 0.8999999999999998 where nine of ten episodes succeed."""


class OfTask(NamedTuple):
    """What came of one task in a run, as fractions."""

    area: float
    """Mean of the task's own curve, as of all tasks."""
    final: float
    """Success in the report."""


@dataclass(frozen=True)
class Result:
    """A run that is done.

    Attributes:
        run: which.
        steps: of each evaluation `[k]`: environment steps, or tasks learned.
        rates: success, or accuracy, in them `[k]`.
        final: success in the report, which plays more goals; accuracy over all tasks.
        area: mean of the curve, straight between evaluations, over the whole run.
        tasks: of robots, by name.
        reached: of `GOALS`: steps and hours of the first evaluation there; `None` where none is. Empty for
            images, whose accuracy begins high and falls.
        hours: of training.
        places: machines or nodes that it was on, in order.
        sessions: rows of its sessions.csv: code, packages and machine of each time that it was on.
    """

    run: Run
    steps: NDArray[np.float64]
    rates: NDArray[np.float64]
    final: float
    area: float
    tasks: Mapping[str, OfTask]
    reached: tuple[tuple[float, float] | None, ...]
    hours: float
    places: tuple[str, ...]
    sessions: tuple[dict[str, str], ...]

    @property
    def processors(self) -> tuple[str, ...]:
        """By name, with the GPU where there is one, precision and threads; in order."""
        return without_repeats([machine_in_words(session) for session in self.sessions])

    @property
    def code(self) -> tuple[str, ...]:
        """Commits, in order."""
        return without_repeats([session.get("code") or "" for session in self.sessions])


def results_of(runs: Sequence[Run]) -> list[Result]:
    """Those of the runs that are done.

    Raises:
        UsageError: a run has its report, but its metrics.csv is missing or ends long before the run did, or
            one of them is not that of such a run.
    """
    found = []
    for run in runs:
        report = read_json(run.folder / "report.json")
        if report is None:
            continue
        try:
            found.append(_result(run, report))
        except (
            *(KeyError, TypeError, ValueError, IndexError, AttributeError),
            csv.Error,
        ) as error:
            raise UsageError(
                f"{run.folder}: report.json and metrics.csv are not those of a finished run ({error!r:.100}); "
                "copy them again, or delete the folder to make the run again"
            ) from error
    return found


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


def _result(run: Run, report: dict[str, Any]) -> Result:
    robots = run.command == "train_mt10.py"
    counter, measure = COLUMNS[run.command]
    written, config = read_rows(run.folder / "metrics.csv"), _config(run)
    _require_whole(run, config, np.array([float(row[counter]) for row in written]))
    evaluated = _evaluations(run, written)
    rows, spent = [written[place] for place in evaluated], _hours(written)
    steps = np.array([float(row[counter]) for row in rows] or [run.total])
    hours = spent[evaluated] if evaluated else spent[-1:]
    final = float(report["mean_success_rate" if robots else "acc"])
    rates = _rates(rows, measure, final)
    first = [np.flatnonzero(rates >= goal - _ROUNDING) for goal in (GOALS if robots else ())]
    tasks = {}
    for name in config.env.task_names if config else ():
        end = float(report["tasks"][name]["success_rate"])
        curve = _rates(rows, f"{measure}/{name}", end)
        tasks[name] = OfTask(mean_of_curve(steps, curve, from_zero=True), end)
    _require_rates([*rates, final, *(one for task in tasks.values() for one in task)], steps)
    return Result(
        run=run,
        steps=steps,
        rates=rates,
        final=final,
        area=mean_of_curve(steps, rates, from_zero=robots),
        tasks=tasks,
        reached=tuple(
            (float(steps[at[0]]), float(hours[at[0]])) if len(at) else None for at in first
        ),
        hours=float(spent[-1]),
        places=_places(run),
        sessions=tuple(read_sessions(run.folder)),
    )


def _config(run: Run) -> Config | None:
    """The settings that a run of robots has recorded."""
    if run.command != "train_mt10.py":
        return None
    path = run.folder / "config.yaml"
    return MULTI_TASK.parse_recorded(read_yaml(path), str(path))


def _evaluations(run: Run, written: Sequence[dict[str, str]]) -> list[int]:
    """Places among the rows of the evaluations of all tasks."""
    counter, measure = COLUMNS[run.command]
    return [
        place
        for place, row in enumerate(written)
        # Within a phase its own task alone is evaluated; all of them are at its end.
        if row.get(measure) and (run.phase is None or float(row[counter]) % run.phase == 0)
    ]


def _rates(evaluations: Sequence[dict[str, str]], column: str, final: float) -> NDArray[np.float64]:
    """Success or accuracy in each `[k]`; that of the report where a run was too short for an evaluation."""
    return np.array([float(row[column]) for row in evaluations] or [final])


def _hours(written: Sequence[dict[str, str]]) -> NDArray[np.float64]:
    """Of learning, at each row `[n]`; a row of an evaluation alone has that of the row before."""
    known = [float(row["time/elapsed_hours"] or "nan") for row in written] or [0.0]
    return np.fmax.accumulate([0.0, *known])[1:]


def _require_whole(run: Run, config: Config | None, counted: NDArray[np.float64]) -> None:
    """Refuse the rows of a file that was lost or cut on its way here: they would give another area."""
    last = counted.max(initial=0.0)
    if last < _last_due(run, config):
        raise UsageError(
            f"{run.folder}/metrics.csv: ends at {last:,.0f} of {run.total:,}, and yet there is a report.json; "
            "copy the whole file, or delete the folder to make the run again"
        )


def _last_due(run: Run, config: Config | None) -> int:
    """Where the last row is: rows are written when they are due, not at the end."""
    if config is None:
        return run.total
    evaluated = run.phase or config.evaluation.interval_env_steps
    intervals = (config.recording.log_interval_env_steps, evaluated)
    return max(run.total // interval * interval for interval in intervals)


def _require_rates(rates: Sequence[float], steps: NDArray[np.float64]) -> None:
    """Raise `ValueError` for rates that none of our runs has, or steps that do not rise."""
    for rate in rates:
        if not 0 <= rate <= 1 + _ROUNDING:  # nor is NaN
            raise ValueError(f"a rate of {rate}")
    if (np.diff(steps) <= 0).any():
        raise ValueError("evaluations are there twice, or not in order")


def _places(run: Run) -> tuple[str, ...]:
    """Where it was begun and resumed."""
    try:
        lines = run.log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    begun = [line for line in lines if line.startswith(BEGUN) and " on " in line]
    places = [line.split(" on ", 1)[1].split(": ", 1)[0] for line in begun]
    return without_repeats(places)
