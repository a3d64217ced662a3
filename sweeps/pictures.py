"""The pictures of a sweep: its arms' curves, and their differences to the first one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from pages.contents import Picture, Table
from reporting.comparison import LEAST_SEEDS, Comparison
from reporting.statistics import mean_rate_in_words, mean_rate_interval
from sweeps.results import Result

_PROGRESS = {"train_mt10.py": "environment steps", "train_permuted_mnist.py": "tasks learned"}
_SUCCESS = {"train_mt10.py": "success rate", "train_permuted_mnist.py": "accuracy"}
_LINES = ("-", "--", ":", "-.", (0, (8, 2)), (0, (3, 1, 1, 1)), (0, (1, 1)))


def curves(command: str, results: Sequence[Result]) -> Picture:
    """The mean of each arm, in a band over its seeds, at the steps of the first run."""
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.subplots()
    scale = 1e6 if command == "train_mt10.py" else 1
    arms = list(dict.fromkeys(result.run.arm for result in results))
    steps = results[0].steps  # others' are a few steps off: an evaluation waits for a chunk's end
    rows = [[f"{step:,.0f}"] for step in steps]
    for index, arm in enumerate(arms):
        own = [result for result in results if result.run.arm == arm]
        rates = np.array([np.interp(steps, one.steps, one.rates) for one in own])  # [n, k]
        means = rates.mean(axis=0)
        axes.plot(
            steps / scale,
            100 * means,
            linestyle=_LINES[index % 7],
            marker="o" if len(steps) == 1 else "",
            color=f"C{index % 7}",
            label=f"{arm}, n = {len(own)}",
        )
        if len(own) >= LEAST_SEEDS:  # of two seeds, the bands of a few arms cover everything
            low, high = 100 * np.array([mean_rate_interval(column) for column in rates.T]).T
            axes.fill_between(steps / scale, low, high, color=f"C{index % 7}", alpha=0.15, lw=0)
        for row, column in zip(rows, rates.T, strict=True):
            row.append(mean_rate_in_words(column))
    unit = "" if scale == 1 else ", all tasks [million]"
    axes.locator_params(axis="x", integer=scale == 1)
    axes.set(
        xlabel=f"{_PROGRESS[command]}{unit}", ylabel=f"{_SUCCESS[command]} [%]", ylim=(-3, 103)
    )
    axes.grid(alpha=0.3)
    columns = 1 if len(arms) < 4 else 2
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=columns)
    return Picture(
        figure,
        f"Mean {_SUCCESS[command]} of {', '.join(arms)} while training.",
        f"Mean {_SUCCESS[command]} in the evaluations while training, at the steps of the first run; bands are "
        f"95 % intervals over seeds, cut at 0 and 100 %, from {LEAST_SEEDS} seeds on.",
        Table((_PROGRESS[command], *arms), [tuple(row) for row in rows]),
    )


def differences(
    compared: Mapping[str, Comparison], measure: str, first: str, planned: int
) -> Picture:
    """A point with both intervals for each arm.

    Args:
        compared: arm -> its comparison with the first one.
        measure: in words.
        first: name of the first arm.
        planned: number of seeds; with fewer nothing is decided.
    """
    figure = Figure(figsize=(5.2, 1.1 + 0.4 * len(compared)), layout="constrained")
    axes = figure.subplots()
    rows = []
    for place, (arm, found) in enumerate(compared.items()):
        axes.plot(100 * found.difference, place, "o", color="C0")
        cells = []
        for interval, width in (
            (found.interval, 3.0),
            (found.corrected, 1.0),
            (found.bootstrap, 0),
        ):
            if interval is None:
                cells.append("-")
                continue
            low, high = (100 * end for end in interval)
            cells.append(f"{low:+.1f} to {high:+.1f}")
            if width:
                axes.plot(
                    [low, high],
                    [place, place],
                    color="C0",
                    linewidth=width,
                    solid_capstyle="butt",  # others reach beyond the interval
                )
        values = (f"{100 * found.difference:+.1f}", *cells)
        so_far = "so far " if found.seeds < planned and found.verdict != "undecided" else ""
        verdict = f"{so_far}{found.verdict}"
        rows.append((arm, f"{found.seeds}", *values, f"{found.p_different:.3g}", verdict))
    axes.axvline(0, color="0.5", linewidth=0.8)
    axes.axvspan(-5, 5, color="0.5", alpha=0.12, lw=0)
    low, high = axes.get_xlim()
    axes.set_xlim(
        max(low, -100), min(high, 100)
    )  # two rates differ by no more; intervals may go on
    names = [f"{arm}, n = {found.seeds}" for arm, found in compared.items()]
    axes.set_yticks(range(len(compared)), names)
    axes.set(
        ylim=(len(compared) - 0.5, -0.5),
        xlabel=f"{measure}, less that of {first} [points]",
    )
    headers = (
        *("arm", "seeds", "difference", "95 %", "corrected", "bootstrap"),
        *("p, Holm's correction", "verdict"),
    )
    means = ", ".join(f"{arm} {100 * one.difference:+.1f}" for arm, one in compared.items())
    return Picture(
        figure,
        f"Differences to {first}, {measure}, in points: {means}.",
        f"Difference to {first}, {measure}: to the right is better than {first}. 95 % intervals by Student's t over n "
        f"seeds (thick), and corrected for the number of comparisons (thin). Shaded: within five points.",
        Table(headers, rows),
    )
