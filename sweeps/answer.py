"""The answer of a sweep: its arms compared with the first one, in words, CSV and a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate

from pages.page import write_sections
from reporting.comparison import LEAST_SEEDS, MARGIN, Comparison, compare, interval_says
from sweeps.definition import Sweep
from sweeps.results import MEASURES, Result, results_of
from sweeps.runs import Run
from sweeps.sections import sections_of
from sweeps.summary import ArmSummary, summarize
from sweeps.tables import write_tables
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
    others, planned = len(sweep.arms) - 1, len(sweep.seeds)
    compared = {measure: compare_arms(results, arms, measure, others) for measure in MEASURES}
    by_task = task_results(results)
    files = write_tables(out, results, summaries, compared, by_task, first, planned)
    verdicts = _verdicts(compared, first, planned)
    said = [("done", f"{len(results)} of {len(runs)} runs."), *_not_alike(results), *verdicts]
    write_sections(
        f"{out.name}: {', '.join(arms)}",
        lambda: sections_of(sweep, runs, results, summaries, compared, by_task, said),
        out / "report.html",
    )
    table = tabulate(_console_rows(summaries), headers="firstrow", tablefmt="github")
    page = f"page: {out}/report.html; {', '.join(files)}"
    return "\n".join([table, "", *(": ".join(one) for one in said), page])


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


def _verdicts(
    compared: Mapping[str, Mapping[str, Comparison]], first: str, planned: int
) -> list[tuple[str, str]]:
    """What is compared, and what can be said of it: measure by measure, arm by arm."""
    return [
        (
            f"{arm} against {first}, {MEASURES[measure]}{_SECONDARY[measure]}",
            verdict_of(arm, first, found, planned),
        )
        for measure, by_arm in compared.items()
        for arm, found in by_arm.items()
    ]


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


def _console_rows(summaries: Sequence[ArmSummary]) -> list[list[str]]:
    to_a_goal = bool(summaries[0].reached)
    rows = [["arm", "runs", "at the end", "mean over the run", *["steps to 90 %"] * to_a_goal]]
    for one in summaries:
        steps = [one.said_steps(1)] if to_a_goal else []
        rows.append([one.arm, f"{one.runs}", one.said("final"), one.said("area"), *steps])
    return rows
