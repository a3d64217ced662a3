"""Several runs beside each other: those that differ in their seeds alone are one group.

The interval of a difference is over seeds (Welch's t) where both groups have two runs or more. With one run
in a group it can cover the luck of the goals only, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import hypot

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from configs.schema import Config
from pages.contents import EvaluatedRun
from reporting.statistics import Interval, has_spread


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
    """Runs with equal settings and steps, apart from the seed and the machine, in the order given.

    A run ends with a chunk, up to a few hundred steps later than it should: that is no difference.
    """
    groups: dict[str, list[EvaluatedRun]] = {}
    for run in runs:
        groups.setdefault(_key(run), []).append(run)
    return list(groups.values())


def _key(run: EvaluatedRun) -> str:
    other, config = Config(), run.config
    same = replace(config, seed=0, machine=other.machine, recording=other.recording)
    return f"{same!r} {steps_trained(run)}"


def steps_trained(run: EvaluatedRun) -> int:
    """Environment steps, without those that the last chunk goes beyond the end."""
    return min(run.report["env_steps_trained"], run.config.total_env_steps)


def number_of_seeds(group: Sequence[EvaluatedRun]) -> int:
    """Different seeds among its runs."""
    return len({run.config.seed for run in group})


def comparable(group: Sequence[EvaluatedRun], other: Sequence[EvaluatedRun]) -> bool:
    """Whether all were evaluated in the same way: tasks, number of goals, horizon, actions."""
    keys = ("goals", "episodes_per_goal", "horizon", "actions")
    ways = {
        (tuple(run.report["tasks"]), *(dict(run.report)[key] for key in keys))
        for run in (*group, *other)
    }
    return len(ways) == 1


def difference(group: Sequence[EvaluatedRun], other: Sequence[EvaluatedRun]) -> Difference:
    """How much more the runs of `group` succeed than those of `other`."""
    rates = [np.array([run.report["mean_success_rate"] for run in one]) for one in (group, other)]
    value = float(rates[0].mean() - rates[1].mean())
    all_differ = all(number_of_seeds(one) == len(one) for one in (group, other))
    if min(map(len, rates)) > 1 and all_differ:
        half = _welch(*rates)
        return Difference(value, (value - half, value + half), over_seeds=True)
    below, above = zip(*(_distances(one) for one in (group, other)), strict=True)
    # the method of variance estimates recovery (reporting/statistics.py), for a difference
    low, high = value - hypot(below[0], above[1]), value + hypot(above[0], below[1])
    return Difference(value, (low, high), over_seeds=False)


def _welch(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Half the 95 % interval of the difference of two means (Welch 1947); 0 where nothing varies."""
    if not (has_spread(one) or has_spread(other)):
        return 0.0
    parts = np.array([values.var(ddof=1) / len(values) for values in (one, other)])
    freedom = parts.sum() ** 2 / (parts**2 / [len(one) - 1, len(other) - 1]).sum()
    return float(stats.t.ppf(0.975, freedom) * np.sqrt(parts.sum()))


def _distances(group: Sequence[EvaluatedRun]) -> tuple[float, float]:
    """From the mean of the runs' success down and up to the ends of its interval over goals."""
    below, above = [], []
    for run in group:
        mean, (low, high) = run.report["mean_success_rate"], run.report["mean_success_rate_ci95"]
        below.append(mean - low)
        above.append(high - mean)
    return hypot(*below) / len(below), hypot(*above) / len(above)
