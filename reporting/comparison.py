"""Paired comparisons over seeds, corrected for their number, with a verdict each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from reporting.statistics import Interval, has_spread, mean_interval

Verdict = Literal["more", "less", "equal", "undecided"]

MARGIN = 0.05
"""Differences within this many are 'equal': five points of success."""
LEVEL = 0.05
LEAST_SEEDS = 3
"""Two differences that happen to be alike say nothing, and their spread says little."""
LEAST_BOOTSTRAP_SEEDS = 10
"""A bootstrap of few seeds is too narrow: of normal values, it covers their mean in 50 % with n = 2, 75 % with
3, 84 % with 5, 89 % with 12."""
_MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Comparison:
    """A mean difference by seed, and what can be said of it.

    Attributes:
        seeds: n, in both arms.
        difference: mean of the n differences.
        interval: 95 %, Student's t; `None` with one seed, and where all seeds have the same difference.
        bootstrap: 95 %, BCa bootstrap (Efron 1987) over seeds; `None` with fewer than `LEAST_BOOTSTRAP_SEEDS`, and
            without a spread.
        corrected: t, at the level 1 - 0.05 / m for m comparisons (Bonferroni): all m intervals hold the true
            differences at once in 95 % of all studies.
        p_different: of a t test against 0, times Holm's factor.
        p_equal: of two one-sided t tests against the margin (Schuirmann 1987), times Holm's factor.
        verdict: `more` or `less` where p_different is below 0.05; else `equal` where p_equal is below 0.025;
            else `undecided`. A difference that is there and small may be both; it is called `more` or `less`.
        more_seeds: with so many more the corrected interval is off 0 or within the margin, if mean and spread
            stay. They will not stay exactly so: it may well take more. `None` where it is decided, or nothing
            can be said.
    """

    seeds: int
    difference: float
    interval: Interval | None
    bootstrap: Interval | None
    corrected: Interval | None
    p_different: float
    p_equal: float
    verdict: Verdict
    more_seeds: int | None


def compare(
    differences: Mapping[str, NDArray[np.float64]],
    number: int | None = None,
    margin: float = MARGIN,
) -> dict[str, Comparison]:
    """Compare several arms with one, by seed.

    The two families of p values, for a difference and for equality, are each corrected by Holm's method
    (Holm 1979). It decides all that the corrected intervals decide, and sometimes more. Where all seeds have the
    same difference there are no intervals; sign tests decide.

    Args:
        differences: name of the comparison -> `[n]`, one for each seed that both arms have.
        number: m, of comparisons planned; by default as many as there are. Those without data yet count:
            else the first ones to be done would be corrected for too few.
        margin: differences within it count as equal.
    """
    names, number = list(differences), number or len(differences)
    different = holm(np.array([_p_different(differences[name]) for name in names]), number)
    equal = holm(np.array([_p_equal(differences[name], margin) for name in names]), number)
    return {
        name: _comparison(differences[name], float(p), float(q), number, margin)
        for name, p, q in zip(names, different, equal, strict=True)
    }


def interval_says(interval: Interval, verdict: Verdict, margin: float = MARGIN) -> bool:
    """Whether an interval alone says what a verdict says: it is off 0, or within the margin."""
    low, high = interval
    if verdict == "equal":
        return -margin < low and high < margin
    return {"more": low > 0, "less": high < 0, "undecided": False}[verdict]


def holm(p_values: NDArray[np.float64], number: int | None = None) -> NDArray[np.float64]:
    """P values times m, m - 1, ... from the smallest on, never falling, at most 1 (Holm 1979).

    Args:
        p_values: `[k]`.
        number: m, at least k, which is the default; the others count as 1.
    """
    order = np.argsort(p_values, kind="stable")
    factors = (number or len(p_values)) - np.arange(len(p_values))
    adjusted = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    found = np.empty_like(adjusted)
    found[order] = adjusted
    return found


def bootstrap_interval(values: NDArray[np.float64]) -> Interval:
    """95 % BCa bootstrap interval of the mean `[n]`, n of at least 2, with a spread; the same for the same values."""
    rng = np.random.default_rng(0)
    found = stats.bootstrap((values,), np.mean, n_resamples=9_999, method="BCa", rng=rng)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _comparison(
    values: NDArray[np.float64], p_different: float, p_equal: float, number: int, margin: float
) -> Comparison:
    seeds, mean = len(values), float(values.mean())
    verdict: Verdict = "undecided"
    if seeds >= LEAST_SEEDS and p_different < LEVEL:
        verdict = "more" if mean > 0 else "less"
    elif seeds >= LEAST_SEEDS and p_equal < LEVEL / 2:
        verdict = "equal"
    spread = has_spread(values)
    corrected = 1 - LEVEL / number
    return Comparison(
        seeds=seeds,
        difference=mean,
        interval=mean_interval(values) if spread else None,
        bootstrap=bootstrap_interval(values) if spread and seeds >= LEAST_BOOTSTRAP_SEEDS else None,
        corrected=mean_interval(values, corrected) if spread else None,
        p_different=p_different,
        p_equal=p_equal,
        verdict=verdict,
        more_seeds=_more_seeds(values, corrected, margin) if verdict == "undecided" else None,
    )


def _more_seeds(values: NDArray[np.float64], confidence: float, margin: float) -> int | None:
    """Until half the interval is shorter than the way from the mean to 0, or to the margin."""
    if len(values) < LEAST_SEEDS:
        return None
    if not has_spread(values):
        return max(1, math.ceil(math.log2(2 / (1 - confidence))) - len(values))
    mean = abs(float(values.mean()))
    spread, way = float(values.std(ddof=1)), max(mean, margin - mean)
    for seeds in range(len(values), _MOST_SEEDS):
        half = stats.t.ppf((1 + confidence) / 2, seeds - 1) * spread / math.sqrt(seeds)
        if half < way:
            return max(1, seeds - len(values))
    return None


def _p_different(values: NDArray[np.float64]) -> float:
    """Of a two-sided t test of mean 0; of a sign test where there is no spread to take a t from."""
    if len(values) < 2:
        return 1.0
    if not has_spread(values):
        return 1.0 if abs(values[0]) < 1e-9 else min(1.0, 2 * 0.5 ** len(values))
    return float(stats.ttest_1samp(values, 0.0).pvalue)


def _p_equal(values: NDArray[np.float64], margin: float) -> float:
    """The larger one of two one-sided t tests, or sign tests: the mean is above -margin, and below margin."""
    if len(values) < 2:
        return 1.0
    if not has_spread(values):
        return 1.0 if abs(values[0]) >= margin else 0.5 ** len(values)
    above = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(values, margin, alternative="less").pvalue
    return float(max(above, below))
