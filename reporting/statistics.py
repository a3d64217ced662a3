"""Interval estimates for success rates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Interval = tuple[float, float]


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Wilson score interval of a proportion (Wilson 1927), for one task's episodes."""
    interval = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def has_spread(values: NDArray[np.float64]) -> bool:
    """Whether `[n]` differ by more than their last bits; if not, there is no interval to take from them."""
    return bool(np.ptp(values) >= 1e-9)


def mean_interval(values: NDArray[np.float64], confidence: float = 0.95) -> Interval:
    """Student's t interval of the mean over training runs `[n]`, n of at least 2."""
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(values)
    return float(values.mean() - half), float(values.mean() + half)


def mean_rate_interval(values: NDArray[np.float64], confidence: float = 0.95) -> Interval:
    """`mean_interval` of rates `[n]`, cut off at 0 and 1."""
    low, high = mean_interval(values, confidence)
    return max(0.0, low), min(1.0, high)


def mean_rate_in_words(values: NDArray[np.float64]) -> str:
    """The mean of rates `[n]` in per cent, with its 95 % interval where there is one: `85.0% (80.1% to 89.9%)`."""
    said = f"{values.mean():.1%}"
    if not has_spread(values):
        return said
    low, high = mean_rate_interval(values)
    return f"{said} ({low:.1%} to {high:.1%})"


def mean_success_interval(success: NDArray[np.bool_], confidence: float = 0.95) -> Interval:
    """Interval of the mean over tasks, from the Wilson intervals `[l, u]` of the tasks.

    mean - sqrt(sum (p - l)^2) / T to mean + sqrt(sum (u - p)^2) / T: the method of variance estimates
    recovery (Zou, Huang & Zhang 2009, Computational Statistics & Data Analysis 53:1080). Unlike a
    bootstrap it has a width where every episode succeeded.

    It covers the luck of the goals drawn, not the luck of the training run: that needs more runs.

    Args:
        success: `[T, K]`.
        confidence: of the interval.
    """
    episodes = success.shape[1]
    rates = success.mean(axis=1)
    ends = np.array(
        [wilson_interval(int(row.sum()), episodes, confidence) for row in success]
    )  # [T, 2]
    low, high = np.sqrt(np.square(ends - rates[:, None]).sum(axis=0)) / len(success)
    mean = rates.mean()
    return float(max(mean - low, 0.0)), float(min(mean + high, 1.0))
