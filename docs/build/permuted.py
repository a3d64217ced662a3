"""Tables and figures of permuted images: docs/results/permuted/METHOD-seedN.json, a run's report.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from docs.build.markdown import mean_in_points, table
from docs.build.runs import RESULTS
from reporting.statistics import mean_rate_in_words

FOLDER = RESULTS / "permuted"
PUBLISHED_CURVES = {
    "": {2: 0.975, 5: 0.964, 10: 0.946, 25: 0.921, 50: 0.870, 100: 0.814},
    "_si": {2: 0.977, 5: 0.975, 10: 0.972, 25: 0.965, 50: 0.944, 100: 0.916},
    "_k_winners": {2: 0.966, 5: 0.939, 10: 0.913, 25: 0.846, 50: 0.756, 100: 0.656},
}
"""Ending of a method's name -> number of tasks -> accuracy of a network that learned so many: Iyer et al. 2022
(arXiv 2201.00042), with settings chosen for each number."""
PUBLISHED: dict[str, dict[str, float | None]] = {
    "permuted_mnist_10": {
        "": PUBLISHED_CURVES[""][10],
        "_si": PUBLISHED_CURVES["_si"][10],
        "_clustering": 0.943,
        "_one_hot": None,
        "_k_winners": PUBLISHED_CURVES["_k_winners"][10],
        "_relu": 0.829,
        "_mlp": 0.820,
        "_si_alone": 0.971,
        "_xdg": 0.972,
        "_si_xdg": 0.980,
    },
    "permuted_mnist_100": {
        "": PUBLISHED_CURVES[""][100],
        "_si": PUBLISHED_CURVES["_si"][100],
        "_mlp": 0.483,
    },
    "digits": {"": None, "_clustering": None, "_k_winners": None, "_mlp": None},
}
"""Base -> ending of a method's name -> published accuracy, from the same source.

SI alone, XdG, and XdG with SI are rounded in its figures, apparently read off Masse et al. 2018
(doi 10.1073/pnas.1803839115: 2 x 2000 ReLU, four of five units off, the task known at test).
"""
NAMES = {
    "": "dendrites, k-winners",
    "_si": "dendrites, k-winners, SI",
    "_clustering": "dendrites, k-winners, clusters",
    "_one_hot": "dendrites, k-winners, one-hot",
    "_k_winners": "k-winners alone",
    "_relu": "dendrites alone, ReLU",
    "_mlp": "MLP, ReLU",
    "_si_alone": "MLP, SI",
    "_xdg": "XdG",
    "_si_xdg": "XdG, SI",
}

Report = dict[str, Any]


def read_reports(method: str, folder: Path = FOLDER) -> list[Report]:
    """The reports of a method, by seed."""
    reports = [json.loads(path.read_text("utf-8")) for path in folder.glob(f"{method}-seed*.json")]
    return sorted(reports, key=lambda report: report["seed"])


def permuted_tables(folder: Path = FOLDER) -> dict[str, str]:
    """A table for each base, by the name in its marker."""
    return {base: methods_table(base, folder) for base in PUBLISHED}


def methods_table(base: str, folder: Path = FOLDER) -> str:
    """Every method of a base that has runs: accuracy, forgetting, and the difference to the first."""
    published = PUBLISHED[base]
    first = {report["seed"]: report["acc"] for report in read_reports(base, folder)}
    rows = []
    for ending, theirs in published.items():
        reports = read_reports(base + ending, folder)
        if not reports:
            continue
        accuracy = np.array([report["acc"] for report in reports])
        pairs = [
            report["acc"] - first[report["seed"]] for report in reports if report["seed"] in first
        ]
        clusters = [report["contexts"] for report in reports]
        rows.append(
            (
                NAMES[ending],
                reports[0]["told"].replace(" while learning, nothing at test", ""),
                mean_rate_in_words(accuracy),
                "" if not ending else mean_in_points(np.array(pairs)),
                mean_rate_in_words(np.array([_own(report) for report in reports])),
                mean_rate_in_words(np.array([report["forgetting"] for report in reports])),
                ", ".join(map(str, clusters)) if ending == "_clustering" else "",
                f"{min(report['hours'] for report in reports) * 60:.1f}",
                f"{len(reports)}",
                "" if theirs is None else f"{theirs:.1%}",
            )
        )
    headers = (
        "method",
        "told while learning",
        "accuracy",
        "difference",
        "when just learned",
        "forgetting",
    )
    return table((*headers, "clusters", "minutes, fastest run", "n", "published"), rows)


def draw_permuted(base: str, out: Path, folder: Path = FOLDER) -> None:
    """Mean accuracy on the tasks so far against their number: a line for each method."""
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    axes = figure.subplots()
    for index, ending in enumerate(PUBLISHED[base]):
        reports = read_reports(base + ending, folder)
        if not reports:
            continue
        curves = np.array([_so_far(report) for report in reports])  # [n, T]
        measured = np.isfinite(curves).all(axis=0)
        tasks, percent = 1 + measured.nonzero()[0], 100 * curves[:, measured]
        axes.plot(tasks, percent.mean(axis=0), color=f"C{index}", label=NAMES[ending])
        low, high = percent.min(axis=0), percent.max(axis=0)
        axes.fill_between(tasks, low, high, color=f"C{index}", alpha=0.2, linewidth=0)
        theirs = PUBLISHED_CURVES.get(ending, {}) if base.startswith("permuted_mnist") else {}
        points = [(number, 100 * rate) for number, rate in theirs.items() if number <= tasks[-1]]
        if points:
            label = f"{NAMES[ending]}, published"
            axes.plot(*zip(*points, strict=True), "o:", color=f"C{index}", label=label)
    axes.set(xlabel="tasks learned", ylabel="accuracy on all of them [%]")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.savefig(out, dpi=110)


def _so_far(report: Report) -> NDArray[np.float64]:
    """Mean accuracy on the first i + 1 tasks after task i: `[T]`; NaN where not all were tested."""
    matrix = np.array(report["matrix"], np.float64)  # [T, T]; None becomes NaN
    return np.array([np.mean(row[: index + 1]) for index, row in enumerate(matrix)])


def _own(report: Report) -> float:
    return float(np.mean([row[index] for index, row in enumerate(report["matrix"])]))
