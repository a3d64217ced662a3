"""The page of a sweep: answer, arms, curves, differences, tasks, runs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from pages.contents import Section, Table
from reporting.comparison import Comparison
from sweeps.definition import Sweep, preset_and_flags
from sweeps.pictures import curves, differences
from sweeps.results import MEASURES, Result
from sweeps.runs import Run, progress_of
from sweeps.summary import ArmSummary
from sweeps.tasks import TaskResult, heat_map


def sections_of(
    sweep: Sweep,
    runs: Sequence[Run],
    results: Sequence[Result],
    summaries: Sequence[ArmSummary],
    compared: Mapping[str, Mapping[str, Comparison]],
    by_task: Sequence[TaskResult],
    said: Sequence[tuple[str, str]],
) -> list[Section]:
    """All sections, in their order.

    Args:
        sweep: what was compared.
        runs: all of them.
        results: of those that are done.
        summaries: of the arms that have any.
        compared: measure -> arm -> its comparison with the first.
        by_task: of robots.
        said: the answer: what is compared, and what is said of it.
    """
    others = len(sweep.arms) - 1
    how = _HOW.format(first=next(iter(sweep.arms)), number=others) if others else ""
    answer = Section("Answer", how, Table(("what", "answer"), said))
    found = [answer, _arms(summaries), Section("Curves", pictures=[curves(sweep.command, results)])]
    pictures = [
        differences(by_arm, MEASURES[measure], summaries[0].arm, len(sweep.seeds))
        for measure, by_arm in compared.items()
        if by_arm
    ]
    if pictures:
        found.append(Section("Differences", pictures=pictures))
    if by_task:
        found.append(
            Section("Tasks", pictures=[heat_map(by_task, measure) for measure in MEASURES])
        )
    return [*found, _runs(runs, results), Section("Arms' settings", typed=_commands(sweep))]


_HOW = (
    "Arms are compared with {first}, seed by seed. Intervals: 95 %, Student's t over seeds. The corrected ones of a "
    "measure hold together in 95 % of all studies (Bonferroni, comparisons planned: {number}). An arm is called better "
    "where the difference from 0 is significant at 5 % after Holm's correction for as many, equal where two one-sided "
    "tests put it within five points. Nothing is decided before the last seed of the plan."
)


def _arms(summaries: Sequence[ArmSummary]) -> Section:
    goals = range(len(summaries[0].reached))
    headers = (
        *("arm", "runs done", "at the end", "mean over the run"),
        *("steps to 50 %", "to 90 %", "to 99 %")[: len(goals)],
        "minutes a run",
    )
    rows = [
        (
            *(one.arm, f"{one.runs}", one.said("final"), one.said("area")),
            *(one.said_steps(goal) for goal in goals),
            f"{60 * one.hours:.1f}",
        )
        for one in summaries
    ]
    text = (
        " Steps are the median over an arm's runs; in brackets, how many of them got there in an evaluation. Where half "
        "of them or fewer did, there is no median."
        if goals
        else ""
    )
    return Section("Arms", _MEASURED + text, Table(headers, rows))


_MEASURED = (
    "'At the end' is what the report says; 'mean over the run' is the mean of the curve of the evaluations while "
    "training. In brackets: 95 % intervals over seeds, cut at 0 and 100 %."
)


def _runs(runs: Sequence[Run], results: Sequence[Result]) -> Section:
    """Every run that was begun, how far it is, and where it ran."""
    done = {result.run.name: result for result in results}
    begun = [run for run in runs if run.state != "new"]
    rows = []
    for run in begun:
        result = done.get(run.name)
        if result is None:
            rows.append((run.name, f"{run.state}, {progress_of(run).fraction:.0%}", *[""] * 6))
            continue
        values = (f"{result.final:.1%}", f"{result.area:.1%}", f"{60 * result.hours:.1f}")
        where = [", then ".join(one) for one in (result.places, result.processors, result.code)]
        rows.append((run.name, "done", *values, *where))
    headers = (
        *("run", "state", "at the end", "mean over the run"),
        *("minutes", "where", "processor", "code"),
    )
    known = [column for column, _ in enumerate(headers) if any(row[column] for row in rows)]
    table = Table(
        tuple(headers[column] for column in known),
        [tuple(row[column] for column in known) for row in rows],
    )
    return Section("Runs", f"Begun: {len(begun)} of {len(runs)}.", table)


def _commands(sweep: Sweep) -> str:
    lines = []
    for arm in sweep.arms:
        preset, flags = preset_and_flags(sweep, arm, "the sweep")
        lines += [f"# {arm}", shlex.join([sweep.command, "--config", preset, *flags])]
    return "\n".join(lines)
