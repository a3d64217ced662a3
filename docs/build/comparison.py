"""Dendrites against their rivals: equal parameters, seeds and gradient steps, or equal wall-clock.

The runs are docs/results/comparison/NETWORK-seedN.csv and .json; docs/results.md has the commands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from docs.build.markdown import mean_in_points, table
from docs.build.runs import Run, read_runs
from reporting.statistics import mean_rate_in_words

NETWORKS = {
    "k_winners": "dendrites, k-winners",
    "relu": "dendrites, ReLU",
    "gate_table": "gate table, k-winners",
    "mlp": "MLP, ReLU",
}
"""File name -> name in tables and figures; the first is what the others are compared with."""

Rates = NDArray[np.float64]


def read_comparison() -> dict[str, list[Run]]:
    """The runs of every network, by seed.

    Raises:
        ValueError: the networks were not trained with the same seeds and gradient steps.
    """
    runs = {network: read_runs(f"comparison/{network}") for network in NETWORKS}
    if len({tuple((run.seed, run.gradient_steps) for run in own) for own in runs.values()}) != 1:
        raise ValueError("docs/results/comparison: seeds or gradient steps differ between networks")
    return runs


def comparison_tables(runs: dict[str, list[Run]]) -> dict[str, str]:
    """The tables of the comparison, by the name in their markers."""
    return {
        "comparison": success_table(runs),
        "comparison-costs": costs_table(runs),
        "comparison-tasks": tasks_table(runs),
    }


def success_table(runs: dict[str, list[Run]]) -> str:
    """Success after equal steps and on the way there; differences to the first network."""
    goals = next(iter(runs.values()))[0].report["goals"]
    headers = ("network", f"success, {goals} goals per task", "difference")
    measures = {network: _measures(own) for network, own in runs.items()}
    first = next(iter(measures.values()))
    rows = []
    for network, own in measures.items():
        cells = [NETWORKS[network]]
        for rates, reference in zip(own, first, strict=True):
            cells += [mean_rate_in_words(rates), _difference(rates, reference)]
        rows.append(cells)
    return table((*headers, "mean on the way", "difference"), rows)


def costs_table(runs: dict[str, list[Run]]) -> str:
    """Success at the time when the fastest run was done, hours to the end, and dead units."""
    time = min(run.hours[-1] for own in runs.values() for run in own)
    measures = {
        network: np.array([np.interp(time, run.hours, run.success) for run in own])
        for network, own in runs.items()
    }
    first = next(iter(measures.values()))
    rows = []
    for network, own in runs.items():
        rates = measures[network]
        rows.append(
            (
                NETWORKS[network],
                f"{np.mean([run.hours[-1] for run in own]):.2f}",
                mean_rate_in_words(rates),
                _difference(rates, first),
                f"{np.mean([run.dead_units for run in own]):.1%}",
            )
        )
    success = f"success after {time:.2f} h, 10 goals per task"
    return table(("network", "hours", success, "difference", "dead units"), rows)


def tasks_table(runs: dict[str, list[Run]]) -> str:
    """Mean success of every task and network over the seeds, and each seed's."""
    rows = []
    for task in next(iter(runs.values()))[0].tasks:
        cells = []
        for own in runs.values():
            rates = [run.report["tasks"][task]["success_rate"] for run in own]
            seeds = ", ".join(f"{100 * rate:.0f}" for rate in rates)
            cells.append(f"{np.mean(rates):.0%} ({seeds})")
        rows.append((task.removesuffix("-v3"), *cells))
    return table(("task", *(NETWORKS[network] for network in runs)), rows)


def _measures(own: list[Run]) -> tuple[Rates, Rates]:
    """Success at the end and the mean of the evaluations during training, each `[seeds]`."""
    final = np.array([run.report["mean_success_rate"] for run in own])
    return final, np.array([run.success.mean() for run in own])


def _difference(rates: Rates, reference: Rates) -> str:
    """Of pairs by seed; nothing for the reference itself."""
    return "" if rates is reference else mean_in_points(rates - reference)
