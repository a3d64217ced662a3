"""The sections of the page, in their order, from evaluated runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from configs import dump_config
from configs.network import gates_in_words
from configs.settings import flatten
from pages.charts import Curve, learning_curves, success_per_task, time_spent
from pages.compare import (
    comparable,
    difference,
    group_runs,
    number_of_seeds,
    steps_trained,
)
from pages.contents import EvaluatedRun, Film, Section, Table
from pages.inside import pictures_of
from pages.one_by_one import kept
from reporting.report import goals_in_words
from reporting.statistics import mean_rate_in_words


def sections_of(
    runs: Sequence[EvaluatedRun], published: Mapping[str, Sequence[Curve]]
) -> list[Section]:
    """All that there is something to say in."""
    sections = [_overview(runs)]
    groups = group_runs(runs)
    if len(runs) > 1:
        sections.append(_comparison(groups))
    sections.append(Section("Success, task by task", pictures=[success_per_task(runs)]))
    trained = [learning_curves(runs, published), time_spent(runs)]
    pictures = [picture for picture in trained if picture is not None]
    if pictures:
        sections.append(Section("Training", pictures=pictures))
    for run in runs:
        of_run = f": {run.name}" if len(runs) > 1 else ""
        matrix = kept(run)
        if matrix is not None:
            sections.append(Section(f"One task after the other{of_run}", pictures=[matrix]))
        if run.analysis is not None:
            pictures = pictures_of(run.analysis)
            sections.append(Section(f"Inside the actor{of_run}", _INSIDE, pictures=pictures))
        if run.films:
            films = [Film(path.stem, path) for path in run.films]
            sections.append(Section(f"Videos{of_run}", _VIDEOS, films=films))
    return [*sections, *_settings(runs)]


_INSIDE = (
    "Measured on the actor's hidden layers, while the policy plays. The first picture asks what the others "
    "can't: does a task need the units that it uses most?"
)
_VIDEOS = "One episode of each task, on its first goal, until shortly after its success; without one, to the end."


def _overview(runs: Sequence[EvaluatedRun]) -> Section:
    headers = ("run", "network", "seed", "steps trained", "success", "at last step", "return")
    rows = []
    for run in runs:
        report = run.report
        low, high = report["mean_success_rate_ci95"]
        rows.append(
            (
                run.name,
                _network_name(run),
                f"{run.config.seed}",
                f"{report['env_steps_trained']:,}",
                f"{report['mean_success_rate']:.1%} ({low:.1%} to {high:.1%})",
                f"{report['mean_final_step_success_rate']:.1%}",
                f"{report['mean_return']:.0f}",
            )
        )
    ways: dict[str, list[str]] = {}
    for run in runs:
        ways.setdefault(_how_evaluated(run), []).append(run.name)
    how = (
        next(iter(ways))
        if len(ways) == 1
        else "; ".join(f"{', '.join(names)}: {way}" for way, names in ways.items())
    )
    over = "episodes" if any(run.report["episodes_per_goal"] > 1 for run in runs) else "goals"
    text = f"{how}. Intervals: 95 %, over {over}; they do not cover the luck of training, which takes several seeds."
    return Section("Result", text, Table(headers, rows))


def _how_evaluated(run: EvaluatedRun) -> str:
    report = run.report
    return (
        f"{len(report['tasks'])} tasks, {goals_in_words(report)} (goal list of seed {report['seed']}), "
        f"{report['horizon']} steps per episode, {report['actions']} actions"
    )


def _comparison(groups: Sequence[Sequence[EvaluatedRun]]) -> Section:
    """Every group, and its difference to the first."""
    headers = ("runs", "what differs", "seeds", "mean success", "difference to the first")
    changes = _changes([group[0] for group in groups])
    rows = []
    for index, group in enumerate(groups):
        rates = np.array([run.report["mean_success_rate"] for run in group])
        every_seed_once = number_of_seeds(group) == len(group)
        success = mean_rate_in_words(rates) if every_seed_once else f"{rates.mean():.1%}"
        cell = _difference_cell(group, groups[0]) if index else "-"
        differs = "; ".join(f"{key}: {values[index]}" for key, values in changes.items())
        names = ", ".join(run.name for run in group)
        rows.append((names, differs, f"{number_of_seeds(group)}", success, cell))
    text = (
        "Runs whose settings differ in the seed alone are one group. Intervals: 95 %; over seeds by "
        "Student's and Welch's t, where no seed comes twice. One seed says nothing of the luck of training."
    )
    return Section("Comparison", text, Table(headers, rows))


def _difference_cell(group: Sequence[EvaluatedRun], first: Sequence[EvaluatedRun]) -> str:
    if not comparable(group, first):
        return "not compared: other tasks, goals, horizon or actions"
    found = difference(group, first)
    points = f"{100 * found.value:+.1f} points"
    low, high = (100 * end for end in found.interval)
    if low == high:
        return f"{points} (no spread between seeds, so no interval)"
    twice = any(number_of_seeds(one) < len(one) for one in (group, first))
    why = "a seed comes twice" if twice else "one seed in a group"
    over = "over seeds" if found.over_seeds else f"over goals only: {why}"
    return f"{points} ({low:+.1f} to {high:+.1f}; {over})"


def _settings(runs: Sequence[EvaluatedRun]) -> list[Section]:
    made = [
        *((run.name, f"trained on {machine}") for run in runs for machine in run.trained_on),
        *((run.name, f"{name} {version}") for run in runs for name, version in _versions(run)),
    ]
    found = [Section("Made with", table=Table(("run", "machine, code and packages"), made))]
    for run in runs:
        of_run = f": {run.name}" if len(runs) > 1 else ""
        found.append(Section(f"Settings{of_run}", typed=dump_config(run.config)))
    return found


def _versions(run: EvaluatedRun) -> list[tuple[str, str]]:
    trained = [(f"trained with {name}", version) for name, version in run.trained_with.items()]
    report = run.report
    here = [("metaworld", report["metaworld_version"]), ("mujoco", report["mujoco_version"])]
    return [*trained, *((f"evaluated with {name}", version) for name, version in here)]


def _network_name(run: EvaluatedRun) -> str:
    network = run.config.network
    words = gates_in_words(network)
    kind = f"dendrites ({network.gating})" if words == "dendrites" else words
    return f"{kind}, {network.activation.replace('_', '-')}"


def _changes(runs: Sequence[EvaluatedRun]) -> dict[str, list[str]]:
    """Setting -> its value in each run, for those that are not alike in all; without seed and machine.

    Of two checkpoints of a run, the steps trained.
    """
    flat = [
        dict(flatten(asdict(run.config))) | {"steps trained": f"{steps_trained(run):,}"}
        for run in runs
    ]
    return {
        key: [str(settings[key]) for settings in flat]
        for key in flat[0]
        if key != "seed"
        and not key.startswith(("machine.", "recording."))
        and len({str(settings[key]) for settings in flat}) > 1
    }
