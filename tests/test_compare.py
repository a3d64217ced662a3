"""Differences between groups of runs, by hand and against scipy's own test."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from scipy import stats

from analysis.activity import measure_layer
from analysis.figures import draw_overlap, draw_silencing, write_figures
from analysis.files import write_analysis
from analysis.measure import Analysis
from analysis.silencing import Silencing
from configs import MT50
from configs.schema import Config
from pages.compare import difference, group_runs
from pages.contents import EvaluatedRun
from pages.page import write_page
from pages.sections import sections_of
from reporting.report import read_report

REPORT = read_report(ROOT / "pretrained" / "mt10" / "report.json")


def run(
    success: float, seed: int = 0, discount: float = 0.99, interval: tuple[float, float] = (0, 1)
) -> EvaluatedRun:
    config = Config()
    config = replace(config, seed=seed, agent=replace(config.agent, discount=discount))
    report = REPORT | {"mean_success_rate": success, "mean_success_rate_ci95": interval}
    return EvaluatedRun(f"{discount}-{seed}", report, config, {})  # type: ignore[arg-type]


def test_runs_that_differ_in_the_seed_alone_are_a_group() -> None:
    runs = [run(0.5, 1), run(0.6, 2, 0.9), run(0.7, 3), run(0.8, 4, 0.9)]
    assert group_runs(runs) == [[runs[0], runs[2]], [runs[1], runs[3]]]


def test_runs_that_ended_with_another_chunk_are_a_group_and_shorter_ones_are_not() -> None:
    total = Config().total_env_steps
    runs = [run(0.5, seed) for seed in range(4)]
    ends = (total + 50, total + 450, total, total - 1000)
    runs = [
        replace(one, report=one.report | {"env_steps_trained": end})  # type: ignore[arg-type]
        for one, end in zip(runs, ends, strict=True)
    ]
    assert [len(group) for group in group_runs(runs)] == [3, 1]


def test_with_seeds_the_interval_is_welchs() -> None:
    rates = [0.5, 0.6, 0.8], [0.4, 0.45]
    groups = [[run(rate, seed) for seed, rate in enumerate(own)] for own in rates]
    found = difference(*groups)
    assert found.over_seeds
    assert found.value == pytest.approx(1.9 / 3 - 0.425)
    theirs = stats.ttest_ind(*rates, equal_var=False).confidence_interval(0.95)
    assert found.interval == pytest.approx((theirs.low, theirs.high))


def test_a_seed_that_comes_twice_is_no_second_seed() -> None:
    twice = [run(0.8, 1, interval=(0.7, 0.9)), run(0.9, 1, interval=(0.8, 1.0))]
    assert not difference(twice, [run(0.5, 1), run(0.4, 2)]).over_seeds


def test_with_one_seed_the_interval_is_of_the_goals_and_says_so() -> None:
    one, other = run(0.8, interval=(0.7, 0.9)), run(0.5, interval=(0.3, 0.6))
    found = difference([one], [other])
    assert not found.over_seeds
    low, high = 0.3 - math.hypot(0.1, 0.1), 0.3 + math.hypot(0.1, 0.2)
    assert found.interval == pytest.approx((low, high))


def test_equal_runs_have_no_spread_to_estimate_from() -> None:
    alike = [run(0.38, seed) for seed in range(3)]  # whose variance is not 0, but 1e-33
    found = difference(alike, [run(0.5, seed) for seed in range(3)])
    assert found.interval == (found.value, found.value) == pytest.approx((-0.12, -0.12))


def test_the_comparison_names_what_differs_and_counts_seeds() -> None:
    runs = [run(0.9, 1), run(0.8, 2), run(0.4, 1, 0.9)]
    (section,) = [one for one in sections_of(runs, {}) if one.title == "Comparison"]
    assert section.table is not None
    first, second = section.table.rows
    assert first[1:3] == ("agent.discount: 0.99", "2")
    assert first[3].startswith("85.0%")
    assert second[1:4] == ("agent.discount: 0.9", "1", "40.0%")
    assert second[4].startswith("-45.0 points")
    assert "one seed in a group" in second[4]


def test_a_seed_that_comes_twice_gives_no_interval_over_seeds() -> None:
    runs = [run(0.9, 1), run(0.8, 1), run(0.7, 2), run(0.4, 1, 0.9), run(0.5, 2, 0.9)]
    (section,) = [one for one in sections_of(runs, {}) if one.title == "Comparison"]
    assert section.table is not None
    first, second = section.table.rows
    assert first[2:4] == ("2", "80.0%")
    assert second[3].startswith("45.0% (")
    assert "over goals only: a seed comes twice" in second[4]


def test_seeds_of_one_network_have_a_mean_over_seeds() -> None:
    (section,) = [
        one
        for one in sections_of([run(0.9, 1), run(0.8, 2), run(0.7, 3)], {})
        if one.title == "Comparison"
    ]
    assert section.table is not None
    ((*_, seeds, mean, difference_to_first),) = section.table.rows
    assert (seeds, mean, difference_to_first) == ("3", "80.0% (55.2% to 100.0%)", "-")


def test_more_than_one_episode_on_a_goal_is_said() -> None:
    often = run(0.9)
    report = often.report | {"goals": 1, "episodes_per_goal": 3}
    (section,) = [
        one
        for one in sections_of([replace(often, report=report)], {})  # type: ignore[arg-type]
        if one.title == "Result"
    ]
    assert "1 goal per task, 3 episodes on each (goal list of seed" in section.text
    assert "over episodes" in section.text


def test_the_interval_of_a_mean_success_ends_at_100_percent() -> None:
    runs = [run(rate, seed) for seed, rate in enumerate((0.99, 0.992, 0.998))]
    (section,) = [
        one for one in sections_of([*runs, run(0.4, 1, 0.9)], {}) if one.title == "Comparison"
    ]
    assert section.table is not None
    assert section.table.rows[0][3] == "99.3% (98.3% to 100.0%)"


def test_a_network_is_called_by_what_it_has() -> None:
    network = Config().network
    for settings, name in (
        ({"gating": "film"}, "FiLM, k-winners"),
        ({"gating": "attention", "activation": "relu"}, "dendrites (attention), relu"),
        ({"kind": "mlp", "activation": "relu"}, "MLP, relu"),
        ({"gating": "gate_table"}, "table of gates, k-winners"),
    ):
        one = run(0.9)
        one = replace(one, config=replace(one.config, network=replace(network, **settings)))
        (section,) = [one for one in sections_of([one], {}) if one.title == "Result"]
        assert section.table is not None
        assert section.table.rows[0][1] == name


def test_names_and_versions_are_text_on_the_page(tmp_path: Path) -> None:
    one = replace(run(0.9), name="a<b", trained_with={"torch": "<script>alert(1)</script>"})
    write_page([one], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert "a&lt;b" in page


def test_any_folders_name_goes_onto_the_page(tmp_path: Path) -> None:
    """Dollars are mathematics for matplotlib, a backslash is one for regular expressions, `_` hides from legends."""
    names = ["lr$=1e-3$ a_$b_$", r"a\q", "_mlp"]
    runs = [replace(run(0.9, seed), name=name) for seed, name in enumerate(names)]
    write_page(runs, tmp_path / "report.html")
    text = re.sub(r"<table.*?</table>", "", (tmp_path / "report.html").read_text(), flags=re.DOTALL)
    for name in names:
        assert re.search(rf">\u200b?{re.escape(name)}</text>", text), name


def test_a_single_task_has_nothing_to_share(tmp_path: Path) -> None:
    layer = measure_layer(np.eye(4, dtype=np.float32)[None])
    silencing = Silencing(0.25, np.ones(1), np.zeros((1, 1)), np.ones((3, 1)))
    analysis = Analysis(("reach-v3",), 4, [layer], [None], silencing)
    write_page([replace(run(0.9), analysis=analysis)], tmp_path / "report.html")
    assert "nan" not in (tmp_path / "report.html").read_text()
    write_analysis(analysis, tmp_path)
    assert json.loads((tmp_path / "analysis.json").read_text())["silencing"]["specificity"] is None


def test_what_hurts_no_task_has_no_interval(tmp_path: Path) -> None:
    layer = measure_layer(np.tile(np.eye(4, dtype=np.float32), (2, 1, 1)))
    silencing = Silencing(0.25, np.ones(2), np.ones((2, 2)), np.ones((3, 2)))
    analysis = Analysis(("reach-v3", "push-v3"), 4, [layer], [None], silencing)
    write_page([replace(run(0.9), analysis=analysis)], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "+0 points (no spread over the tasks, so no interval)" in page
    (tmp_path / "gates.png").write_bytes(b"of an earlier analysis")
    write_figures(analysis, tmp_path)
    assert not (tmp_path / "gates.png").exists()
    write_analysis(analysis, tmp_path)
    found = json.loads((tmp_path / "analysis.json").read_text())["silencing"]
    assert (found["specificity"], found["specificity_ci95"]) == (0, None)


@pytest.mark.parametrize("tasks", [1, 10, 50])
def test_names_of_tasks_have_room(tasks: int, tmp_path: Path) -> None:
    layer = measure_layer(np.tile(np.eye(4, dtype=np.float32), (tasks, 1, 1)))
    matrix = np.ones((tasks, tasks))
    silencing = Silencing(0.25, np.ones(tasks), matrix, np.ones((3, tasks)))
    analysis = Analysis(MT50[:tasks], 4, [layer], [None], silencing)
    for draw, rows in ((draw_overlap, tasks), (draw_silencing, tasks + 2)):
        figure = draw(analysis)
        figure.draw_without_rendering()
        (axes, _) = figure.axes
        height = axes.get_window_extent().height / figure.dpi  # inches
        assert height / rows >= 0.13
        assert figure.get_figheight() < 12


def test_two_checkpoints_of_a_run_differ_in_the_steps_trained() -> None:
    newest, best = run(0.9), run(0.95)
    best = replace(best, report=best.report | {"env_steps_trained": 2_600_000})  # type: ignore[arg-type]
    (section,) = [one for one in sections_of([newest, best], {}) if one.title == "Comparison"]
    assert section.table is not None
    assert [row[1] for row in section.table.rows] == [
        f"steps trained: {steps}" for steps in ("3,000,000", "2,600,000")
    ]


def test_the_page_says_of_each_run_how_it_was_evaluated() -> None:
    one, other = run(0.5, 1), run(0.6, 2)
    alike = sections_of([one, other], {})[0]
    assert f"goal list of seed {REPORT['seed']})" in alike.text
    other = replace(other, report=other.report | {"seed": 1000, "goals": 7})  # type: ignore[arg-type]
    text = sections_of([one, other], {})[0].text
    assert "0.99-1: 10 tasks, 50 goals per task (goal list of seed" in text
    assert "0.99-2: 10 tasks, 7 goals per task (goal list of seed 1000)" in text


def test_runs_evaluated_in_other_ways_are_not_compared() -> None:
    other = run(0.5, discount=0.9)
    other = replace(other, report=other.report | {"goals": 7})  # type: ignore[arg-type]
    (section,) = [one for one in sections_of([run(0.9), other], {}) if one.title == "Comparison"]
    assert section.table is not None
    assert section.table.rows[1][4].startswith("not compared")


def test_a_run_without_an_evaluation_has_no_curve(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("env_steps,eval/success_rate,time/elapsed_hours\n10,,\n")
    write_page([replace(run(0.9), metrics=path)], tmp_path / "report.html")
    assert "while training" not in (tmp_path / "report.html").read_text()
