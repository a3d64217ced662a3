"""An arm in figures: means over its seeds, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from statistics import median

import numpy as np

from reporting.statistics import has_spread, mean_rate_interval
from sweeps.results import Result

Estimate = tuple[float, float, float]
"""Mean, and its 95 % interval over seeds (Student's t, within 0 and 1); the interval is nan with one seed, or
without a spread."""


@dataclass(frozen=True)
class ArmSummary:
    """What the runs of an arm have come to.

    Attributes:
        arm: its name.
        runs: that are done.
        final: success in the report.
        area: mean of the curve.
        hours: mean per run.
        reached: of `GOALS`: how many runs were there, the median of their steps and of their hours; nan
            where half or fewer were, because then nobody knows the median of all.
    """

    arm: str
    runs: int
    final: Estimate
    area: Estimate
    hours: float
    reached: tuple[tuple[int, float, float], ...]

    def said(self, measure: str) -> str:
        """`final` or `area` as a percentage with its interval."""
        mean, low, high = getattr(self, measure)
        return f"{mean:.1%}" if np.isnan(low) else f"{mean:.1%} ({low:.1%} to {high:.1%})"

    def said_steps(self, goal: int) -> str:
        """The median steps to a goal, by its place in `GOALS`."""
        runs, steps, _ = self.reached[goal]
        if np.isnan(steps):
            return f"{runs} of {self.runs} reached it"
        return f"{steps:,.0f} ({runs} of {self.runs})"


def summarize(arm: str, results: Sequence[Result]) -> ArmSummary:
    """The figures of an arm, from one run or more."""
    return ArmSummary(
        arm=arm,
        runs=len(results),
        final=_estimate([result.final for result in results]),
        area=_estimate([result.area for result in results]),
        hours=float(np.mean([result.hours for result in results])),
        reached=tuple(_reached(results, goal) for goal in range(len(results[0].reached))),
    )


def _estimate(values: Sequence[float]) -> Estimate:
    rates = np.array(values)
    interval = mean_rate_interval(rates) if has_spread(rates) else (nan, nan)
    return float(rates.mean()), *interval


def _reached(results: Sequence[Result], goal: int) -> tuple[int, float, float]:
    """Runs that never get there count as later than all that do."""
    found = [result.reached[goal] for result in results]
    there = [one for one in found if one is not None]
    if 2 * len(there) <= len(found):
        return len(there), nan, nan
    never = [(np.inf, np.inf)] * (len(found) - len(there))
    steps, hours = zip(*(there + never), strict=True)
    return len(there), float(median(steps)), float(median(hours))
