"""The numbers behind a sweep's answer, as CSV files in its folder."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reporting.comparison import Comparison
from sweeps.results import GOALS, Result
from sweeps.summary import ArmSummary
from sweeps.tasks import TaskResult


def write_tables(
    out: Path,
    results: Sequence[Result],
    summaries: Sequence[ArmSummary],
    compared: Mapping[str, Mapping[str, Comparison]],
    by_task: Sequence[TaskResult],
    first: str,
    planned: int,
) -> list[str]:
    """Write runs.csv, arms.csv, comparisons.csv and tasks.csv; returns the names of those that have rows.

    A file without rows is not written, and one of an earlier answer is removed.

    Args:
        out: folder of the sweep.
        results: at least one.
        summaries: of the arms.
        compared: measure -> arm -> its comparison with the first one.
        by_task: none of images.
        first: arm that the others are compared with.
        planned: number of seeds.
    """
    tables = {
        "runs.csv": [_run_row(result) for result in results],
        "arms.csv": [_arm_row(summary) for summary in summaries],
        "comparisons.csv": [
            _comparison_row(arm, first, measure, found, planned)
            for measure, by_arm in compared.items()
            for arm, found in by_arm.items()
        ],
        "tasks.csv": [asdict(one) for one in by_task],
    }
    for name, rows in tables.items():
        _write_csv(out / name, rows)
    return [name for name, rows in tables.items() if rows]


def _run_row(result: Result) -> dict[str, Any]:
    row: dict[str, Any] = {
        "arm": result.run.arm,
        "seed": result.run.seed,
        "final": result.final,
        "area": result.area,
        "hours": result.hours,
    }
    for goal, reached in zip(GOALS, result.reached, strict=False):
        row[f"steps_to_{goal:.0%}"], row[f"hours_to_{goal:.0%}"] = reached or ("", "")
    for name in ("places", "processors", "code"):
        row[name] = "; ".join(getattr(result, name))
    return row


def _arm_row(summary: ArmSummary) -> dict[str, Any]:
    row = {"arm": summary.arm, "runs": summary.runs, "hours": summary.hours}
    for measure, (mean, low, high) in (("final", summary.final), ("area", summary.area)):
        row |= {measure: mean, f"{measure}_low": low, f"{measure}_high": high}
    for goal, (runs, steps, hours) in zip(GOALS, summary.reached, strict=False):
        name = f"{goal:.0%}"
        row |= {f"reached_{name}": runs, f"steps_to_{name}": steps, f"hours_to_{name}": hours}
    return row


def _comparison_row(
    arm: str, first: str, measure: str, found: Comparison, planned: int
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "arm": arm,
        "against": first,
        "measure": measure,
        "planned_seeds": planned,
    }
    for key, value in asdict(found).items():
        if key in ("interval", "bootstrap", "corrected"):
            row[f"{key}_low"], row[f"{key}_high"] = value or ("", "")
        else:
            row[key] = value
    return row


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        path.unlink(missing_ok=True)  # of an earlier answer
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
