"""Differences between groups of runs, by hand and against scipy's own test."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from conftest import ROOT
from scipy import stats

from configs.schema import Config
from pages.compare import difference, group_runs
from pages.contents import EvaluatedRun
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


def test_with_seeds_the_interval_is_welchs() -> None:
    rates = [0.5, 0.6, 0.8], [0.4, 0.45]
    groups = [[run(rate) for rate in own] for own in rates]
    found = difference(*groups)
    assert found.over_seeds
    assert found.value == pytest.approx(1.9 / 3 - 0.425)
    # Welch's t by hand: variances of the means, and Welch-Satterthwaite's degrees of freedom
    parts = [0.07 / 3 / 3, 0.00125 / 2]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 1)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(sum(parts))
    assert found.interval == pytest.approx((found.value - half, found.value + half))


def test_with_one_seed_the_interval_is_of_the_goals_and_says_so() -> None:
    one, other = run(0.8, interval=(0.7, 0.9)), run(0.5, interval=(0.3, 0.6))
    found = difference([one], [other])
    assert not found.over_seeds
    low, high = 0.3 - math.hypot(0.1, 0.1), 0.3 + math.hypot(0.1, 0.2)
    assert found.interval == pytest.approx((low, high))


def test_equal_runs_have_no_spread_to_estimate_from() -> None:
    found = difference([run(1.0), run(1.0)], [run(0.5), run(0.5)])
    assert found.interval == (0.5, 0.5)


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
