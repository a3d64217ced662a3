"""The page of a sweep: answer, arms, curves, differences, runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pages.contents import Section, Table
from reporting.comparison import Comparison
from sweeps.definition import Sweep, flags_of
from sweeps.pictures import curves, differences
from sweeps.results import Result
from sweeps.runs import Run, progress_of
from sweeps.summary import ArmSummary


def sections_of(
    sweep: Sweep,
    runs: Sequence[Run],
    results: Sequence[Result],
    summaries: Sequence[ArmSummary],
    compared: Mapping[str, Mapping[str, Comparison]],
    said: Sequence[tuple[str, str]],
) -> list[Section]:
    """All sections, in their order.

    Args:
        sweep: what was compared.
        runs: all of them.
        results: of those that are done.
        summaries: of the arms that have any.
        compared: measure -> arm -> its comparison with the first.
        said: the answer: what is compared, and what is said of it.
    """
    answer = Section("Answer", _HOW, Table(("compared", "answer"), said))
    found = [answer, _arms(summaries), Section("Curves", pictures=[curves(sweep.command, results)])]
    if compared["area"]:
        found.append(Section("Differences", pictures=[differences(compared["area"])]))
    return [*found, _runs(runs, results), Section("Arms' settings", table=_settings(sweep))]


_HOW = (
    "Arms are compared with the first one, seed by seed. Intervals: 95 %, Student's t over seeds; the corrected "
    "ones hold together in 95 % of all studies (Bonferroni). An arm is called better where the difference from 0 is "
    "significant at 5 % after Holm's correction, equal where two one-sided tests put it within the margin."
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
        "Steps are the median over an arm's runs; in brackets, how many of them got there in an evaluation."
        if goals
        else ""
    )
    return Section("Arms", text, Table(headers, rows))


def _runs(runs: Sequence[Run], results: Sequence[Result]) -> Section:
    """Every run, how far it is, and where it ran."""
    done = {result.run.name: result for result in results}
    rows = []
    for run in runs:
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
    return Section("Runs", table=Table(headers, rows))


def _settings(sweep: Sweep) -> Table:
    rows = [
        (arm, f"{sweep.command} --config {sweep.config} {' '.join(flags_of(sweep.changes(arm)))}")
        for arm in sweep.arms
    ]
    return Table(("arm", "command"), rows)
