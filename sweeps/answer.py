"""The answer of a sweep: its arms compared with the first one, in words, CSV and a page."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from pages.page import write_sections
from reporting.comparison import LEAST_SEEDS, MARGIN, Comparison, compare, interval_says
from sweeps.definition import Sweep
from sweeps.results import GOALS, MEASURES, Result, results_of
from sweeps.runs import Run
from sweeps.sections import sections_of
from sweeps.summary import ArmSummary, summarize
from sweeps.tasks import task_results
from training.sessions import FROM, WHEN

_SECONDARY = {"area": "", "final": " (secondary)"}


def write_answer(sweep: Sweep, runs: Sequence[Run], out: Path) -> str:
    """Write runs.csv, arms.csv, comparisons.csv, of robots tasks.csv, and report.html; returns the answer in words.

    Args:
        sweep: what was compared.
        runs: of the sweep; those that are not done count in nothing but their number.
        out: folder of the sweep.
    """
    results = results_of(runs)
    if not results:
        return f"done: 0 of {len(runs)} runs. There is no answer yet."
    arms = [arm for arm in sweep.arms if any(result.run.arm == arm for result in results)]
    first = next(iter(sweep.arms))
    if first not in arms:
        return f"done: {len(results)} of {len(runs)} runs, none of {first}, which the others are compared with."
    summaries = [summarize(arm, [one for one in results if one.run.arm == arm]) for arm in arms]
    others = len(sweep.arms) - 1
    compared = {measure: compare_arms(results, arms, measure, others) for measure in MEASURES}
    _write_csv(out / "runs.csv", [_run_row(result) for result in results])
    _write_csv(out / "arms.csv", [_arm_row(summary) for summary in summaries])
    by_task = task_results(results)
    _write_csv(out / "tasks.csv", [asdict(one) for one in by_task])
    _write_csv(
        out / "comparisons.csv",
        [
            _comparison_row(arm, first, measure, found, len(sweep.seeds))
            for measure, by_arm in compared.items()
            for arm, found in by_arm.items()
        ],
    )
    said = [("done", f"{len(results)} of {len(runs)} runs."), *_not_alike(results)] + [
        (
            f"{arm} against {first}, {MEASURES[measure]}{_SECONDARY[measure]}",
            verdict_of(arm, first, found, len(sweep.seeds)),
        )
        for measure, by_arm in compared.items()
        for arm, found in by_arm.items()
    ]
    title = f"{out.name}: {', '.join(arms)}"
    write_sections(
        title,
        lambda: sections_of(sweep, runs, results, summaries, compared, by_task, said),
        out / "report.html",
    )
    table = tabulate(_console_rows(summaries), headers="firstrow", tablefmt="github")
    files = [
        "runs.csv, arms.csv",
        *["comparisons.csv"] * any(compared.values()),
        *["tasks.csv"] * bool(by_task),
    ]
    return "\n".join(
        [
            table,
            "",
            *(": ".join(one) for one in said),
            f"page: {out}/report.html; {', '.join(files)}",
        ]
    )


def compare_arms(
    results: Sequence[Result], arms: Sequence[str], measure: str, number: int
) -> dict[str, Comparison]:
    """Every other arm with the first, over the seeds that both have done; `number` are planned."""
    values = {
        arm: {one.run.seed: float(getattr(one, measure)) for one in results if one.run.arm == arm}
        for arm in arms
    }
    first, differences = values[arms[0]], {}
    for arm in arms[1:]:
        seeds = sorted(values[arm].keys() & first.keys())
        if seeds:
            differences[arm] = np.array([values[arm][seed] - first[seed] for seed in seeds])
    return compare(differences, number)


def verdict_of(arm: str, first: str, found: Comparison, planned: int) -> str:
    """What can be said of an arm against the first one, in one or two sentences.

    Before the `planned` seeds are done it is said with "so far": who looks often sees differences that are not there.
    """
    points = f"{100 * found.difference:+.1f} points"
    said = f"{points} ({_how_sure(found)}). "
    by_interval = found.corrected is None or interval_says(found.corrected, found.verdict)
    decided = "Decided" if by_interval else "Decided by Holm's correction alone"
    if found.seeds < planned and found.verdict != "undecided":
        decided = f"So far, with {found.seeds} of {planned} seeds, which decides nothing"
    if found.verdict in ("more", "less"):
        return said + f"{decided}: {arm if found.verdict == 'more' else first} is better."
    if found.verdict == "equal":
        return said + f"{decided}: equal within {100 * MARGIN:.0f} points."
    if found.seeds < LEAST_SEEDS:
        return said + f"Undecided: fewer than {LEAST_SEEDS} seeds decide nothing."
    if found.more_seeds is None:
        return said + "Undecided."
    more = f"{found.more_seeds} more seed{'' if found.more_seeds == 1 else 's'}"
    stays = "the differences stay" if found.interval is None else "mean and spread stay"
    return said + f"Undecided: it takes at least about {more}, if {stays} as they are."


def _how_sure(found: Comparison) -> str:
    """Intervals where there are any, and the number of seeds."""
    if found.seeds == 1:
        return "1 seed"
    if found.interval is None or found.corrected is None:
        return f"no spread between {found.seeds} seeds, so no interval"
    low, high = (100 * end for end in found.interval)
    wide = "corrected {:+.1f} to {:+.1f}".format(*(100 * end for end in found.corrected))
    return f"95 % {low:+.1f} to {high:+.1f}; {wide}; {found.seeds} seeds"


def _not_alike(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Warnings: runs of a seed that were not made with the same code on the same machine, or nobody knows."""
    of_seed: dict[int, list[dict[str, str]]] = {}
    for result in results:
        of_seed.setdefault(result.run.seed, []).extend(result.sessions)
    seeds, keys = [], set()
    for seed, sessions in of_seed.items():
        columns = {key for session in sessions for key in session if key} - {WHEN, FROM}
        other = {key for key in columns if len({session.get(key) for session in sessions}) > 1}
        seeds += [f"{seed}"] if other else []
        keys |= other
    warnings = []
    if seeds:
        which = f"seed{'' if len(seeds) == 1 else 's'} {', '.join(seeds)}"
        warnings.append(
            f"not all runs of {which}: {', '.join(sorted(keys))} (sessions.csv). Part of a difference may "
            "come from that."
        )
    unknown = sum(not result.sessions for result in results)
    if unknown:
        which = "1 run has" if unknown == 1 else f"{unknown} runs have"
        warnings.append(f"not known of all: {which} no sessions.csv.")
    return [("runs of a seed made alike", warning) for warning in warnings]


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


def _console_rows(summaries: Sequence[ArmSummary]) -> list[list[str]]:
    to_a_goal = bool(summaries[0].reached)
    rows = [["arm", "runs", "at the end", "mean over the run", *["steps to 90 %"] * to_a_goal]]
    for one in summaries:
        steps = [one.said_steps(1)] if to_a_goal else []
        rows.append([one.arm, f"{one.runs}", one.said("final"), one.said("area"), *steps])
    return rows


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        path.unlink(missing_ok=True)  # of an earlier answer
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
