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


def mean_interval(values: NDArray[np.float64], confidence: float = 0.95) -> Interval:
    """Student's t interval of the mean over training runs `[n]`, n of at least 2."""
    spread = stats.sem(values)
    width = spread or 1e-12  # equal runs: scipy has no interval of width 0
    low, high = stats.t.interval(confidence, len(values) - 1, values.mean(), width)
    return float(low), float(high)


def mean_success_interval(
    success: NDArray[np.bool_], seed: int = 0, confidence: float = 0.95
) -> Interval:
    """Bootstrap percentile interval of the mean over tasks; episodes are resampled within each task.

    It covers the luck of the goals drawn, not the luck of the training run: that needs more runs.

    Args:
        success: `[T, K]`.
        seed: of the 9,999 resamples.
    """

    def mean_over_tasks(*samples: NDArray, axis: int = -1) -> NDArray:
        return np.mean([sample.mean(axis=axis) for sample in samples], axis=0)

    if success.shape[1] < 2:
        return 0.0, 1.0  # one episode per task says next to nothing
    result = stats.bootstrap(
        tuple(success.astype(float)),
        mean_over_tasks,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
