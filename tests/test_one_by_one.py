"""Tasks one after the other: who plays when, what is learned from, what is measured, what a stop changes."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import TINY, refused, resume, rows_without_time, succeed, train

import evaluate
import train_mt10
from configs import Config, UsageError, load_config, parse_config
from configs.loading import parse_recorded_config
from configs.plain_yaml import read_yaml
from pages.contents import EvaluatedRun
from pages.one_by_one import kept
from reporting.one_by_one import area_of, success_matrix
from reporting.report import read_report
from reporting.transfer import forward_transfer, main
from tests.stress.small_run import differences
from training import export
from training.checkpoints.folder import find_checkpoint, load_part
from training.phases import ends_a_task, phase_at
from training.progress import Progress, chunk_steps, updates_due

STEPS = 280
"""Of a phase: 140 vector steps of two copies, 14 not being a multiple of the chunk's five."""
ONE_BY_ONE = (
    *(
        "--env.schedule",
        "one_by_one",
        "--env.steps-per-task",
        STEPS,
        "--total-env-steps",
        2 * STEPS,
    ),
    *("--env.least-task-share", 1, "--exploration.random-env-steps", 60),
    *("--evaluation.interval-env-steps", 100, "--recording.checkpoint-interval-env-steps", 140),
    *("--agent.final-lr-fraction", 0.5),  # falls within a phase, however long the run is
)
HELD = (
    "--protection.strength",
    0.5,
    "--agent.protects",
    "actor_and_critics",
    "--training.reset-optimizer",
    "True",
)


def settings(**env: object) -> Config:
    """Three tasks with two copies each, ten vector steps of random actions in each phase of 100 steps."""
    return parse_config(
        {
            "total_env_steps": 300,
            "env": {
                "tasks": ["reach-v3", "push-v3", "drawer-close-v3"],
                "schedule": "one_by_one",
                "steps_per_task": 100,
                "copies_per_task": 2,
                "least_task_share": 1,
                **env,
            },
            "replay": {"batch_size": 300},
            "exploration": {"random_env_steps": 20},
            "training": {"updates_per_vector_step": 0.5, "chunk_vector_steps": 7},
        },
        "it",
    )


# --- the phases ----------------------------------------------------------------------------------


def test_each_phase_is_of_the_next_task() -> None:
    config = settings()
    for env_steps, index in ((0, 0), (98, 0), (100, 1), (199, 1), (200, 2), (300, 2)):
        phase = phase_at(env_steps, config)
        assert (phase.index, phase.begins, phase.ends) == (index, 100 * index, 100 * index + 100)
        assert phase.plays.tolist() == phase.learned.tolist() == [index]
    assert phase_at(150, config).fraction(150) == 0.5
    assert [steps for steps in range(0, 301, 2) if ends_a_task(steps, config)] == [100, 200, 300]


def test_rehearsal_learns_from_all_tasks_so_far() -> None:
    config = settings()
    config = replace(config, replay=replace(config.replay, rehearsal=True))
    assert [phase_at(steps, config).learned.tolist() for steps in (0, 100, 200)] == [
        [0],
        [0, 1],
        [0, 1, 2],
    ]
    assert phase_at(100, config).plays.tolist() == [1]


def test_together_there_is_one_phase_without_an_end() -> None:
    config = load_config("smoke")
    phase = phase_at(1234, config)
    assert (phase.index, phase.begins, phase.ends) == (0, 0, config.total_env_steps)
    assert phase.plays.tolist() == phase.learned.tolist() == list(range(10))
    assert not ends_a_task(config.total_env_steps, config)


def test_no_chunk_goes_beyond_a_phase_and_random_actions_begin_each() -> None:
    """50 vector steps: ten of random actions in chunks of 7 and 3, forty in five of 7 and one of 5."""
    config, progress, chunks = settings(), Progress(), []
    while progress.env_steps < 300:
        chunks.append(chunk_steps(progress, config))
        progress.env_steps += 2 * chunks[-1]
    assert chunks == [7, 3, 7, 7, 7, 7, 7, 5] * 3


def test_gradient_steps_begin_after_the_random_actions_of_each_phase() -> None:
    """Half a step for each of the 40 vector steps that are left: 20 in a phase."""
    due = {0: 0, 20: 0, 24: 1, 60: 10, 98: 19, 100: 20, 120: 20, 124: 21, 200: 40, 300: 60}
    assert {steps: updates_due(steps, settings()) for steps in due} == due


# --- a run ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def held_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks one after the other, with Synaptic Intelligence and optimisers that begin anew."""
    out = tmp_path_factory.mktemp("runs") / "held"
    train(out, *ONE_BY_ONE, *HELD)
    return out


def test_only_the_present_task_plays(held_run: Path) -> None:
    replay = load_part(find_checkpoint(held_run), "replay")
    assert replay["stored"].tolist() == [STEPS // 2, STEPS // 2]
    columns, *rows = rows_without_time(held_run)
    task = [columns.index(f"train/task_share/{name}") for name in ("reach-v3", "drawer-close-v3")]
    shares = {int(row[0]): (row[task[0]], row[task[1]]) for row in rows if row[task[0]]}
    assert shares == {150: ("1.0", "0.0"), 300: ("0.0", "1.0"), 450: ("0.0", "1.0")}


def test_the_present_task_is_evaluated_and_at_the_end_of_its_phase_all_are(held_run: Path) -> None:
    columns, *rows = rows_without_time(held_run)
    first, second = (
        {int(row[0]): row[columns.index(f"eval/success_rate/{name}")] for row in rows}
        for name in ("reach-v3", "drawer-close-v3")
    )
    measured = {steps: (bool(first[steps]), bool(second[steps])) for steps in first}
    here, there, both, neither = (True, False), (False, True), (True, True), (False, False)
    assert {steps: value for steps, value in measured.items() if value != neither} == {
        100: here,
        200: here,
        280: both,
        300: there,
        400: there,
        500: there,
        560: both,
    }


def test_the_report_has_the_matrix_and_its_measures(held_run: Path) -> None:
    report = read_report(held_run / "report.json")
    columns, *rows = rows_without_time(held_run)
    tasks = ("reach-v3", "drawer-close-v3")
    at = {int(row[0]): row for row in rows}
    expected = [
        [float(at[steps][columns.index(f"eval/success_rate/{task}")]) for task in tasks]
        for steps in (280, 560)
    ]
    assert report["matrix"] == expected
    assert report["acc"] == np.mean(expected[1])
    assert report["bwt"] == -report["forgetting"] == expected[1][0] - expected[0][0]
    assert report["min_acc"] == expected[1][0]
    assert "the task is known" in report["scenario"]
    lines = (held_run / "matrix.csv").read_text().splitlines()
    assert lines[0] == "after,reach-v3,drawer-close-v3"
    assert (held_run / "matrix.png").read_bytes().startswith(b"\x89PNG")


def test_report_card_and_page_show_what_was_kept(held_run: Path, tmp_path: Path) -> None:
    report, exported = read_report(held_run / "report.json"), tmp_path / "exported"
    succeed(export.main, held_run, "--out", exported)
    table = (held_run / "report.md").read_text().partition("One task after the other")[2]
    assert re.search(rf"\| forgetting +\| +{100 * report['forgetting']:.1f}% +\|", table)
    card = (exported / "README.md").read_text()
    assert table.strip() in card
    assert "(Meta-World/own tasks), learned one after the other, with" in card
    assert "- continual-learning" in card

    succeed(evaluate.main, exported, "--goals", 1, "--workers", 1, "--page")
    page = (exported / "evaluation" / "report.html").read_text()
    section = page.partition("<h2>One task after the other</h2>")[2].partition("</section>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", section)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
    tasks = ["reach-v3", "drawer-close-v3"]
    assert cells[0] == ["after", *tasks]
    for task, cell, rates in zip(tasks, cells[1:], report["matrix"], strict=True):
        assert cell == [task, *(f"{rate:.1%}" for rate in rates)]


def test_a_page_of_a_stopped_run_has_the_phases_that_were_measured(
    held_run: Path, tmp_path: Path
) -> None:
    """It may have been stopped at the end of a phase, before the evaluation of all tasks."""
    stopped = tmp_path / "stopped"
    shutil.copytree(held_run, stopped)
    lines = (stopped / "metrics.csv").read_text().splitlines(keepends=True)
    ends = [line.startswith("560,") for line in lines].index(True)
    (stopped / "metrics.csv").write_text("".join(lines[:ends]))
    config = parse_recorded_config(read_yaml(stopped / "config.yaml"), "it")
    report = read_report(stopped / "report.json")
    picture = kept(EvaluatedRun("it", report, config, {}, metrics=stopped / "metrics.csv"))
    assert picture is not None
    assert picture.table.headers == ("after", "reach-v3")
    (stopped / "metrics.csv").write_text("".join(lines[:2]))
    assert kept(EvaluatedRun("it", report, config, {}, metrics=stopped / "metrics.csv")) is None


def test_the_forecast_says_how_long_each_phase_is() -> None:
    whole = _phases_forecast("--total-env-steps", 2 * STEPS)
    assert whole.startswith("2 phases of 280 environment steps and 55 gradient steps; against")
    begun = _phases_forecast("--total-env-steps", STEPS + 60)
    assert begun.startswith(
        "1 phase of 280 environment steps and 55 gradient steps, and a last one of 60 steps;"
    )
    short = _phases_forecast("--total-env-steps", 100)
    assert short.startswith("1 phase of 100 environment steps and 10 gradient steps;")


def _phases_forecast(*flags: object) -> str:
    said = succeed(train_mt10.main, *TINY, *ONE_BY_ONE, *flags, "--dry-run").stdout
    return said.partition("one task after the other: ")[2]


def test_what_the_first_task_needed_is_held_and_segments_are_not(held_run: Path) -> None:
    tensors = load_part(find_checkpoint(held_run), "agent")
    protection = {name: value for name, value in tensors.items() if name.startswith("protection.")}
    importance = {name: value for name, value in protection.items() if ".importance." in name}
    assert all((value >= 0).all() for value in importance.values())
    assert sum(float(value.sum()) for value in importance.values()) > 0
    # Of two hidden layers weight, bias, and norm's two; of the head weight and bias.
    assert len([name for name in importance if name.startswith("protection.actor")]) == 10
    held = sum(value.numel() for name, value in importance.items() if ".actor." in name)
    assert held == (39 * 32 + 32) + 2 * 32 + (32 * 32 + 32) + 2 * 32 + (32 * 8 + 8)
    # The optimisers began anew: they count the steps of the second phase alone.
    assert tensors["optimizer.actor.steps"] == updates_due(STEPS, _recorded(held_run))


@pytest.mark.parametrize(
    "stop",
    [330, pytest.param(280, marks=pytest.mark.slow), pytest.param(140, marks=pytest.mark.slow)],
)
def test_a_run_that_was_stopped_is_the_same_bit_for_bit(
    held_run: Path, tmp_path: Path, stop: int
) -> None:
    """In the second phase, between the two, and in the first."""
    out = tmp_path / "run"
    train(out, *ONE_BY_ONE, *HELD, "--total-env-steps", stop)
    resume(out, "--total-env-steps", 2 * STEPS)
    assert differences(held_run, out) == []
    assert _measures(out) == _measures(held_run)


@pytest.mark.slow
def test_rehearsal_and_fine_tuning_differ_from_the_second_phase_on(tmp_path: Path) -> None:
    """Until then there is nothing to rehearse."""
    runs = {name: tmp_path / name for name in ("tuned", "rehearsed")}
    train(runs["tuned"], *ONE_BY_ONE)
    train(runs["rehearsed"], *ONE_BY_ONE, "--replay.rehearsal", "True")
    columns, *tuned = rows_without_time(runs["tuned"])
    _, *rehearsed = rows_without_time(runs["rehearsed"])
    same = [mine == theirs for mine, theirs in zip(tuned, rehearsed, strict=True)]
    steps = [int(row[0]) for row in tuned]
    assert {step for step, equal in zip(steps, same, strict=True) if not equal} >= {450, 560}
    assert all(equal for step, equal in zip(steps, same, strict=True) if step <= STEPS)
    of_task, mean = (columns.index(f"policy/entropy{end}") for end in ("/reach-v3", ""))
    at = steps.index(450)
    assert tuned[at][of_task] == ""  # no batch has anything of the task
    assert float(rehearsed[at][of_task]) != 0
    other = columns.index("policy/entropy/drawer-close-v3")
    assert tuned[at][mean] == tuned[at][other] != ""


# --- curves and references -----------------------------------------------------------------------


def test_matrix_and_areas_by_hand(tmp_path: Path) -> None:
    path = _metrics(
        tmp_path, "a b", {50: (0.4, ""), 100: (1.0, 0.1), 150: ("", 0.2), 200: (0.7, 0.6)}
    )
    assert success_matrix(path, ("a", "b"), 100).tolist() == [[1.0, 0.1], [0.7, 0.6]]
    # Trapezia: from 0 to 0.4 and from 0.4 to 1; from 0 to 0.2 and from 0.2 to 0.6.
    assert area_of(path, "a", 0, 100) == pytest.approx((0.2 + 0.7) / 2)
    assert area_of(path, "b", 100, 100) == pytest.approx((0.1 + 0.4) / 2)
    # A reference run may end a little later: up to step 100 the line from 0.4 to 0.7 is at 0.5.
    path = _metrics(tmp_path, "a", {50: (0.4,), 200: (0.7,)})
    assert area_of(path, "a", 0, 100) == pytest.approx((0.2 + 0.45) / 2)
    with pytest.raises(UsageError, match="no evaluation of a at step 300 or later"):
        area_of(path, "a", 0, 300)


@pytest.fixture
def even_run(held_run: Path, tmp_path: Path) -> Path:
    """Config and report of a run whose phases are all measured at the same of their steps."""
    folder = tmp_path / "held"
    folder.mkdir()
    settings = yaml.safe_load((held_run / "config.yaml").read_text())
    settings["evaluation"]["interval_env_steps"] = 140
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    shutil.copy(held_run / "report.json", folder)
    return folder


def test_forward_transfer_by_hand(
    even_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Areas a and b of run and reference: (a - b) / (1 - b), the mean over the tasks."""
    areas = json.loads((even_run / "report.json").read_text())["areas"]
    first, again, second = (
        _reference(even_run, tmp_path / name, tasks, area)
        for name, tasks, area in (
            ("first", ["reach-v3", "drawer-close-v3"], 0.3),
            ("again", ["reach-v3", "drawer-close-v3"], 0.5),
            ("second", ["drawer-close-v3", "reach-v3"], 0.2),
        )
    )
    expected = ((areas[0] - 0.4) / 0.6 + (areas[1] - 0.2) / 0.8) / 2
    found = forward_transfer(even_run, [first, again, second])
    assert found["forward_transfer"] == pytest.approx(expected)
    assert found["average_performance"] == _measures(even_run)["acc"]
    assert main([str(even_run), str(first), str(again), str(second)]) == 0
    assert f"forward transfer     {expected:+.3f}" in capsys.readouterr().out


def test_phases_that_were_measured_at_other_steps_are_not_compared(held_run: Path) -> None:
    """Every 100 steps: after 100, 200 and 280 of the first phase, and 20, 120, 220 and 280 of the second."""
    with pytest.raises(
        UsageError, match=r"is 100, which does not divide env\.steps_per_task = 280"
    ):
        forward_transfer(held_run, [held_run])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"matrix": []}, "its first phase is not over"),
        ({"matrix": [[0.5, 0.5], [0.5]]}, "matrix and areas are not those of such a run"),
        ({"areas": [0.5]}, "matrix and areas are not those of such a run"),
        ({"matrix": [[0.5] * 3] * 3, "areas": [0.5] * 3}, "matrix and areas are not those"),
    ],
)
def test_a_damaged_report_gets_one_line(even_run: Path, changed: dict, said: str) -> None:
    report = json.loads((even_run / "report.json").read_text()) | changed
    (even_run / "report.json").write_text(json.dumps(report))
    with pytest.raises(UsageError, match=said):
        forward_transfer(even_run, [even_run])


def test_a_reference_is_of_the_same_networks_and_tasks(even_run: Path, tmp_path: Path) -> None:
    both = ["reach-v3", "drawer-close-v3"]
    first = _reference(even_run, tmp_path / "first", both, 0.3)
    with pytest.raises(UsageError, match="no reference run begins with drawer-close-v3; train one"):
        forward_transfer(even_run, [first])
    other = _reference(even_run, tmp_path / "other", ["reach-v3", "push-v3"], 0.3)
    with pytest.raises(UsageError, match=r"has other tasks than .*held"):
        forward_transfer(even_run, [first, other])
    shorter = _reference(even_run, tmp_path / "shorter", both, 0.3, steps_per_task=140)
    with pytest.raises(UsageError, match=r"shorter: env.steps_per_task is 140, .*held has 280"):
        forward_transfer(even_run, [shorter])


def _reference(run: Path, folder: Path, tasks: list[str], area: float, **env: object) -> Path:
    """A run that begins with the first of the tasks, and ended after its phase."""
    folder.mkdir()
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["env"] |= {"tasks": tasks, **env}
    settings |= {"total_env_steps": settings["env"]["steps_per_task"], "seed": 7}
    settings["protection"]["strength"] = 0.0
    settings["agent"]["protects"] = "actor_and_critics"  # nothing either, in a first phase
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    report = json.loads((run / "report.json").read_text())
    report |= {"matrix": [[area]], "areas": [area]}
    (folder / "report.json").write_text(json.dumps(report))
    return folder


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--protection.strength", 1), "protection.strength: all tasks are learned together"),
        (("--replay.rehearsal", "True"), "or --replay.rehearsal False"),
        (("--training.reset-optimizer", "True"), "or --training.reset-optimizer False"),
        ((*ONE_BY_ONE, "--total-env-steps", 600), "more than 2 tasks x env.steps_per_task = 560"),
        ((*ONE_BY_ONE, "--env.steps-per-task", 281), "not a multiple of env.copies_per_task = 2"),
        ((*ONE_BY_ONE, "--env.least-task-share", 0.5), "use --env.least-task-share 1"),
        ((*ONE_BY_ONE, "--replay.sampling", "uniform"), "use --replay.sampling balanced"),
    ],
)
def test_combinations_without_a_meaning_get_one_line(flags: tuple, said: str) -> None:
    tasks = ("--env.tasks", "reach-v3", "drawer-close-v3")
    line = refused(train_mt10.main, "--config", "smoke", *tasks, *flags)
    assert said in line


def _recorded(run: Path) -> Config:
    return parse_config(yaml.safe_load((run / "config.yaml").read_text()), "it")


def _measures(run: Path) -> dict:
    report = json.loads((run / "report.json").read_text())
    return {name: report[name] for name in ("matrix", "areas", "acc", "bwt", "forgetting")}


def _metrics(folder: Path, tasks: str, rows: dict[int, tuple]) -> Path:
    """A metrics.csv with the success of the tasks at some steps."""
    path = folder / "metrics.csv"
    header = ",".join(["env_steps", *(f"eval/success_rate/{task}" for task in tasks.split())])
    lines = [",".join(map(str, (steps, *values))) for steps, values in rows.items()]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path
