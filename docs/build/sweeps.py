"""A sweep's answer: docs/results/sweeps/NAME has its arms.csv and comparisons.csv, some have the runs, too."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import cast

from docs.build.markdown import table
from docs.build.runs import RESULTS, read_csv
from reporting.comparison import Verdict, interval_says
from sweeps.answer import compare_arms
from sweeps.definition import read_sweep
from sweeps.pictures import curves, differences
from sweeps.results import MEASURES, results_of
from sweeps.runs import runs_of
from sweeps.tasks import heat_map, read_task_results, task_results, task_table

FOLDER = RESULTS / "sweeps"
_VERDICTS: dict[Verdict, str] = {
    "more": "better",
    "less": "worse",
    "equal": "equal within 5 points",
}


def sweep_tables(folder: Path = FOLDER) -> dict[str, str]:
    """`NAME-arms` and `NAME-comparisons` of every sweep; of robots also `NAME-tasks`, at the end."""
    tables = {}
    for answer in sorted(folder.glob("*/comparisons.csv")):
        name = answer.parent.name
        tables[f"{name}-arms"] = _arms(read_csv(answer.with_name("arms.csv")))
        tables[f"{name}-comparisons"] = _comparisons(read_csv(answer))
        tasks = answer.with_name("tasks.csv")
        if tasks.is_file():
            at_the_end = task_table(read_task_results(tasks), "final")
            tables[f"{name}-tasks"] = table(at_the_end.headers, at_the_end.rows)
    return tables


def draw_sweeps(
    images: Path, names: Sequence[str] = ("study", "winners"), folder: Path = FOLDER
) -> None:
    """NAME-curves.png and NAME-differences.png, of robots NAME-tasks.png: of sweeps whose runs are there, too."""
    for name in names:
        file = folder / name / "sweep.yaml"
        sweep = read_sweep(file)
        results = results_of(runs_of(sweep, file.parent))
        measure, in_words = next(iter(MEASURES.items()))
        first = next(iter(sweep.arms))
        compared = compare_arms(results, list(sweep.arms), measure, len(sweep.arms) - 1)
        curves(sweep.command, results).figure.savefig(images / f"{name}-curves.png", dpi=150)
        picture = differences(compared, in_words, first, len(sweep.seeds))
        picture.figure.savefig(images / f"{name}-differences.png", dpi=150)
        by_task = task_results(results)
        if by_task:
            heat_map(by_task, measure).figure.savefig(images / f"{name}-tasks.png", dpi=150)


def _arms(rows: list[dict[str, str]]) -> str:
    headers = ["arm", "n", "mean over the run", "at the end", "minutes a run"]
    cells = [
        [
            row["arm"],
            row["runs"],
            _rate(row, "area"),
            _rate(row, "final"),
            f"{60 * float(row['hours']):.1f}",
        ]
        for row in rows
    ]
    if "reached_90%" in rows[0]:
        headers.append("steps to 90 %, median")
        for row, line in zip(rows, cells, strict=True):
            line.append(_steps(row))
    return table(headers, cells)


def _comparisons(rows: list[dict[str, str]]) -> str:
    headers = ("arm", "measure", "difference [points]", "95 %", "corrected", "n", "verdict")
    cells = [
        (
            f"{row['arm']} against {row['against']}",
            MEASURES[row["measure"]],
            f"{100 * float(row['difference']):+.1f}",
            _ends(row, "interval"),
            _ends(row, "corrected"),
            row["seeds"],
            _verdict(row),
        )
        for row in rows
    ]
    return table(headers, cells)


def _rate(row: dict[str, str], measure: str) -> str:
    mean, low, high = (float(row[f"{measure}{end}"]) for end in ("", "_low", "_high"))
    return f"{mean:.1%}" if isnan(low) else f"{mean:.1%} ({low:.1%} to {high:.1%})"


def _steps(row: dict[str, str]) -> str:
    reached = f"{row['reached_90%']} of {row['runs']}"
    steps = float(row["steps_to_90%"])  # nan where fewer than half got there
    return f"{reached} reached it" if isnan(steps) else f"{steps:,.0f} ({reached})"


def _ends(row: dict[str, str], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{100 * float(low):+.1f} to {100 * float(high):+.1f}" if low else ""


def _verdict(row: dict[str, str]) -> str:
    verdict, more = cast(Verdict, row["verdict"]), row["more_seeds"]
    if verdict == "undecided":
        seeds = f"{more} more seed{'' if more == '1' else 's'}"
        return f"undecided; at least about {seeds}" if more else "undecided"
    if int(row["seeds"]) < int(row["planned_seeds"]):
        return f"not decided yet; so far {_VERDICTS[verdict]}"
    if not row["corrected_low"]:  # no spread: a sign test has decided
        return _VERDICTS[verdict]
    corrected = float(row["corrected_low"]), float(row["corrected_high"])
    return _VERDICTS[verdict] + ("" if interval_says(corrected, verdict) else ", by Holm alone")
