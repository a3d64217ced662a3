"""Several runs beside each other: those that differ in their seeds alone are one group.

The interval of a difference is over seeds (Welch's t) where both groups have two runs or more. With one run
in a group it can cover the luck of the goals only, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import hypot

import numpy as np
from scipy import stats

from configs.schema import Config
from pages.contents import EvaluatedRun
from reporting.statistics import Interval


@dataclass(frozen=True)
class Difference:
    """Mean success of one group less that of another.

    Attributes:
        value: as a fraction.
        interval: 95 %.
        over_seeds: whether it covers the luck of training; else that of the goals only.
    """

    value: float
    interval: Interval
    over_seeds: bool


def group_runs(runs: Sequence[EvaluatedRun]) -> list[list[EvaluatedRun]]:
    """Runs with equal settings apart from the seed and the machine, in the order given."""
    groups: dict[str, list[EvaluatedRun]] = {}
    for run in runs:
        groups.setdefault(_key(run.config), []).append(run)
    return list(groups.values())


def _key(config: Config) -> str:
    other = Config()
    return repr(replace(config, seed=0, machine=other.machine, recording=other.recording))


def difference(group: Sequence[EvaluatedRun], other: Sequence[EvaluatedRun]) -> Difference:
    """How much more the runs of `group` succeed than those of `other`."""
    rates = [np.array([run.report["mean_success_rate"] for run in one]) for one in (group, other)]
    value = float(rates[0].mean() - rates[1].mean())
    if min(map(len, rates)) > 1:
        if all(np.ptp(one) == 0 for one in rates):  # no spread: nothing to estimate it from
            return Difference(value, (value, value), over_seeds=True)
        found = stats.ttest_ind(*rates, equal_var=False).confidence_interval(0.95)
        return Difference(value, (float(found.low), float(found.high)), over_seeds=True)
    below, above = zip(*(_distances(one) for one in (group, other)), strict=True)
    # the method of variance estimates recovery (reporting/statistics.py), for a difference
    low, high = value - hypot(below[0], above[1]), value + hypot(above[0], below[1])
    return Difference(value, (low, high), over_seeds=False)


def _distances(group: Sequence[EvaluatedRun]) -> tuple[float, float]:
    """From the mean of the runs' success down and up to the ends of its interval over goals."""
    below, above = [], []
    for run in group:
        mean, (low, high) = run.report["mean_success_rate"], run.report["mean_success_rate_ci95"]
        below.append(mean - low)
        above.append(high - mean)
    return hypot(*below) / len(below), hypot(*above) / len(above)
