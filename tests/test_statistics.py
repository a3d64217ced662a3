"""Intervals against formulas, published values and their coverage; the report by hand."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
from scipy import stats

from configs import load_config
from envs.rollout import EpisodeResults
from reporting.report import (
    format_table,
    make_report,
    read_report,
    report_facts,
    write_report,
)
from reporting.statistics import mean_interval, mean_success_interval, wilson_interval
from training.evaluation import evaluation_metrics, format_evaluation

# --- Wilson ----------------------------------------------------------------------------------


def wilson_formula(k, n, z):
    p, centre = k / n, k / n + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


@pytest.mark.parametrize(("confidence", "z"), [(0.95, 1.959963985), (0.9, 1.644853627)])
def test_wilson_interval_equals_the_closed_formula(confidence, z):
    for n in (1, 2, 7, 50):
        for k in range(n + 1):
            actual = wilson_interval(k, n, confidence)
            assert actual == pytest.approx(wilson_formula(k, n, z), abs=1e-8)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_gives_the_textbook_values(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_is_symmetric_and_stays_within_zero_and_one():
    for k in range(51):
        low, high = wilson_interval(k, 50)
        assert 0 <= low <= k / 50 <= high <= 1
        assert wilson_interval(50 - k, 50) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_wilson_interval_covers_the_truth_by_exact_binomial_summation():
    intervals = [wilson_interval(k, 50) for k in range(51)]
    coverages = []
    for p in np.linspace(0.02, 0.98, 193):
        chances = stats.binom.pmf(range(51), 50, p)
        hits = [chance for chance, (a, b) in zip(chances, intervals, strict=True) if a <= p <= b]
        coverages.append(sum(hits))
    assert min(coverages) >= 0.92
    assert np.mean(coverages) == pytest.approx(0.95, abs=0.01)


# --- mean over tasks -------------------------------------------------------------------------


def test_mean_interval_by_hand():
    # mean 0.8, sample standard deviation 0.1, t(2, 0.975) = 4.3027
    low, high = mean_interval(np.array([0.7, 0.8, 0.9]))
    assert (low, high) == pytest.approx((0.8 - 0.24842, 0.8 + 0.24842), abs=1e-4)
    assert mean_interval(np.array([0.5, 0.5])) == pytest.approx((0.5, 0.5))


def test_mean_success_interval_covers_the_truth_in_simulation():
    rng = np.random.default_rng(5)
    repetitions = 1000
    # nominal 0.95, standard error of the simulation 0.007; near 0 and 1 it errs on the wide side
    for rates, most in ((np.array([0.3, 0.6, 0.8]), 0.98), (np.array([0.05, 0.9, 0.99]), 1.0)):
        hits = 0
        for _ in range(repetitions):
            low, high = mean_success_interval(rng.random((3, 20)) < rates[:, None])
            hits += low <= rates.mean() <= high
        assert 0.93 <= hits / repetitions <= most


@pytest.mark.parametrize("outcome", [False, True])
def test_without_any_spread_the_mean_interval_still_has_a_width(outcome):
    # Wilson of 20 of 20 is 1 - 0.16113; of three such tasks the mean's is 0.16113 sqrt(3) / 3 wide
    low, high = mean_success_interval(np.full((3, 20), outcome))
    width = 0.16113 / math.sqrt(3)
    assert (low, high) == pytest.approx((1 - width, 1) if outcome else (0, width), abs=1e-5)


def test_the_mean_interval_of_one_task_is_its_wilson_interval():
    for successes in (0, 1, 13, 20):
        success = np.arange(20)[None] < successes
        assert mean_success_interval(success) == pytest.approx(wilson_interval(successes, 20))


def test_mean_success_interval_is_near_the_normal_approximation():
    rng = np.random.default_rng(1)
    success = rng.random((10, 50)) < rng.uniform(0.2, 0.9, 10)[:, None]
    p = success.mean(axis=1)
    half = 1.96 * math.sqrt((p * (1 - p)).sum() / 50) / 10
    expected = (p.mean() - half, p.mean() + half)
    assert mean_success_interval(success) == pytest.approx(expected, abs=0.006)


def test_how_far_apart_the_tasks_are_does_not_widen_the_mean_interval():
    # all solved and all failed leave little to the luck of the goals
    low, high = mean_success_interval(np.repeat([[True], [False]], 50, axis=1))
    assert 0.4 < low < 0.5 < high < 0.6


def test_one_episode_per_task_says_little():
    low, high = mean_success_interval(np.ones((10, 1), bool))
    assert low < 0.76
    assert high == 1


# --- the report ------------------------------------------------------------------------------

TASKS = ("reach-v3", "push-v3", "door-open-v3")
NEVER = -1


def make_results():
    """Three tasks, four episodes: all solved, half (one not at the last step), none."""
    first = np.array([[10, 20, 30, 60], [7, NEVER, 9, NEVER], [NEVER] * 4])
    return EpisodeResults(
        tasks=TASKS,
        goal=np.array([[0, 1, 2, 3]] * 3),
        success=first > 0,
        final_success=np.array([[1, 1, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0]], bool),
        returns=np.array([[100.0, 200, 300, 400], [1, 2, 3, 6], [0, 0, 0, -1]]),
        length=np.full((3, 4), 500),
        steps_to_success=first,
    )


@pytest.fixture
def report():
    config = load_config("smoke")
    return make_report(make_results(), report_facts(config, 2000, config.evaluation))


def test_report_means_by_hand(report):
    assert report["mean_success_rate"] == pytest.approx(6 / 12)
    assert report["mean_final_step_success_rate"] == pytest.approx(5 / 12)
    assert report["mean_return"] == pytest.approx(1011 / 12)
    low, high = report["mean_success_rate_ci95"]
    assert (low, high) == mean_success_interval(make_results().success)
    assert low <= 0.5 <= high


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("reach-v3", (1.0, 1.0, 250.0, 25.0, [])),
        ("push-v3", (0.5, 0.25, 3.0, 8.0, [1, 3])),
        ("door-open-v3", (0.0, 0.0, -0.25, None, [0, 1, 2, 3])),
    ],
)
def test_report_of_a_task_by_hand(report, task, expected):
    row = report["tasks"][task]
    actual = tuple(
        row[key]
        for key in (
            "success_rate",
            "final_step_success_rate",
            "mean_return",
            "median_steps_to_success",
            "failed_goals",
        )
    )
    assert actual == expected
    assert row["episodes"] == 4
    assert row["mean_episode_length"] == 500
    assert tuple(row["success_rate_ci95"]) == wilson_interval(round(4 * expected[0]), 4)


def test_success_at_any_step_and_at_the_last_step_are_told_apart(report):
    push = report["tasks"]["push-v3"]
    assert (push["success_rate"], push["final_step_success_rate"]) == (0.5, 0.25)
    assert report["mean_success_rate"] > report["mean_final_step_success_rate"]


def test_a_goal_that_failed_twice_is_listed_once():
    results = make_results()
    results.goal[:] = [0, 0, 5, 5]
    row = make_report(results, {})["tasks"]["door-open-v3"]
    assert row["failed_goals"] == [0, 5]


def test_report_says_how_the_episodes_came_about(report):
    config = load_config("smoke")
    assert report["env_steps_trained"] == 2000
    assert report["goals"] == config.evaluation.report_goals
    assert report["horizon"] == config.evaluation.horizon
    assert report["actions"] == config.evaluation.actions
    assert report["seed"] == config.seed
    assert report["metaworld_version"].count(".") == 2


def refuse_constant(name):
    raise ValueError(f"{name} is no JSON")


def test_report_json_is_strict_json_and_reads_back_equal(report, tmp_path):
    write_report(report, tmp_path / "made" / "on the way")
    path = tmp_path / "made" / "on the way" / "report.json"
    json.loads(path.read_text(), parse_constant=refuse_constant)
    assert read_report(path) == report


def test_report_csv_has_a_row_per_task_with_the_same_numbers(report, tmp_path):
    write_report(report, tmp_path)
    with (tmp_path / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["task"] for row in rows] == list(TASKS)
    for row in rows:
        task = report["tasks"][row["task"]]
        for key in ("success_rate", "final_step_success_rate", "mean_return", "episodes"):
            assert float(row[key]) == task[key]
        ends = float(row["success_rate_low"]), float(row["success_rate_high"])
        assert ends == task["success_rate_ci95"]
    assert [row["median_steps_to_success"] for row in rows] == ["25.0", "8.0", ""]


def test_report_markdown_shows_every_task_and_the_mean(report, tmp_path):
    write_report(report, tmp_path)
    lines = (tmp_path / "report.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rows = {row[0]: row for row in cells if len(row) == 6}
    assert rows["push-v3"] == ["push-v3", "50.0%", "15.0% - 85.0%", "25.0%", "3", "8"]
    assert rows["door-open-v3"][5] == "-"
    assert rows["**mean**"][1] == "**50.0%**"


def test_tables_are_aligned_and_valid_markdown(report):
    for table in (format_table(report), format_evaluation(make_results(), 12_345)):
        lines = table.splitlines()
        bars = [[i for i, letter in enumerate(line) if letter == "|"] for line in lines]
        assert all(own == bars[0] for own in bars)
        assert set(lines[1]) == {"|", "-"}
        assert len(lines) == 2 + len(TASKS) + 1
    assert "12,345 steps" in format_evaluation(make_results(), 12_345)


def test_evaluation_metrics_by_hand():
    metrics = evaluation_metrics(make_results())
    assert metrics["eval/success_rate"] == pytest.approx(0.5)
    assert metrics["eval/success_rate/push-v3"] == 0.5
    assert metrics["eval/final_step_success_rate/push-v3"] == 0.25
    assert metrics["eval/final_step_success_rate"] == pytest.approx(5 / 12)
    assert metrics["eval/return/reach-v3"] == 250.0
    assert metrics["eval/return"] == pytest.approx(1011 / 12)
    assert len(metrics) == 3 * (len(TASKS) + 1)
