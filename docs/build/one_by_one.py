"""The table and the picture of Meta-World's tasks one after the other.

docs/results/one_by_one/METHOD-seedN.json is a run's report.json; alone.csv has the areas of the reference
runs, each of which begins with the task: network, task, seed, area (the first of its report's `areas`).
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import mean

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from continual.metrics import continual_world
from docs.build.markdown import table
from docs.build.runs import RESULTS, read_csv
from reporting.report import Report, read_report
from reporting.statistics import has_spread, mean_interval

FOLDER = RESULTS / "one_by_one"
NETWORKS = {"dendrites": "dendrites, k-winners", "mlp": "MLP"}
METHODS = {"": "fine-tuning", "_rehearsal": "rehearsal", "_si": "SI"}


def read_runs_of(method: str, folder: Path = FOLDER) -> list[Report]:
    """The reports of `NETWORK` or `NETWORK_METHOD`, by seed."""
    paths = sorted(folder.glob(f"{method}-seed*.json"))
    return [read_report(path) for path in paths]


def one_by_one_table(folder: Path = FOLDER) -> str:
    """A row for each network and method that has runs: means, and what the seeds say of their spread."""
    areas, rows = _areas_alone(folder), []
    for network, network_name in NETWORKS.items():
        for ending, name in METHODS.items():
            reports = read_runs_of(network + ending, folder)
            if not reports:
                continue
            found = [_measures(report, areas[network]) for report in reports]
            own = [float(np.mean(np.diagonal(report["matrix"]))) for report in reports]
            values = [
                [report["mean_success_rate"] for report in reports],
                [report["mean_final_step_success_rate"] for report in reports],
                own,
                [one["forgetting"] for one in found],
                [one["forward_transfer"] for one in found],
            ]
            cells = [_interval(np.array(column)) for column in values]
            rows.append((network_name, name, *cells, f"{len(reports)}"))
    headers = ("network", "method", "success at the end", "at the last step", "when just learned")
    return table((*headers, "forgetting", "forward transfer", "n"), rows)


def alone_table(folder: Path = FOLDER) -> str:
    """A row for each task: the area under its success curve when it is learned first, mean over the runs."""
    areas = _areas_alone(folder)
    tasks = list(dict.fromkeys(task for network in NETWORKS for task in areas[network]))
    means = [[mean(areas[network][task]) for network in NETWORKS] for task in tasks]
    rows = [(task, *map(_fraction, row)) for task, row in zip(tasks, means, strict=True)]
    rows.append(("**mean**", *map(_fraction, np.mean(means, axis=0))))
    return table(("learned first", *NETWORKS.values()), rows)


def draw_matrices(out: Path, folder: Path = FOLDER) -> None:
    """R of every network and method, mean over the seeds: success from 0 (white) to 1."""
    figure = Figure(figsize=(11, 7.2), layout="constrained")
    axes = figure.subplots(len(NETWORKS), len(METHODS), squeeze=False)
    scale = ScalarMappable(Normalize(0, 1), "Blues")
    for row, (network, network_name) in zip(axes, NETWORKS.items(), strict=True):
        for place, (ending, name) in zip(row, METHODS.items(), strict=True):
            place.set_title(f"{network_name}: {name}", fontsize=10)
            reports = read_runs_of(network + ending, folder)
            if not reports:
                place.set_axis_off()
                continue
            matrix = np.mean([report["matrix"] for report in reports], axis=0)
            place.imshow(matrix, norm=scale.norm, cmap=scale.cmap)
            names = list(reports[0]["tasks"])
            left = place is row[0]
            place.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
            place.set_yticks(range(len(names)), names if left else [], fontsize=7)
    axes[0, 0].set_ylabel("after the phase of")
    axes[1, 0].set_ylabel("after the phase of")
    figure.supxlabel("success on", fontsize=10)
    figure.colorbar(scale, ax=axes, shrink=0.6)
    figure.savefig(out, dpi=110)


def _measures(report: Report, alone: dict[str, list[float]]) -> dict[str, float]:
    """Forward transfer is NaN as long as a task has no reference run."""
    known = all(alone[task] for task in report["tasks"])
    reference = [mean(alone[task]) if known else 0.0 for task in report["tasks"]]
    found = continual_world(report["matrix"], report["areas"], reference)
    return found if known else found | {"forward_transfer": float("nan")}


def _areas_alone(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Network -> task -> the areas of its reference runs."""
    areas: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    path = folder / "alone.csv"
    for row in read_csv(path) if path.is_file() else ():
        areas[row["network"]][row["task"]].append(float(row["area"]))
    return areas


def _interval(values: NDArray[np.float64]) -> str:
    """The mean with its 95 % interval; of two seeds both values, for their interval is 13 times as wide."""
    if np.isnan(values).any():
        return "not measured yet"
    said = _fraction(values.mean())
    if len(values) == 2:
        return f"{said} ({', '.join(map(_fraction, values))})"
    if not has_spread(values):
        return said
    low, high = mean_interval(values)
    return f"{said} ({_fraction(low)} to {_fraction(high)})"


def _fraction(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # no minus before a zero
