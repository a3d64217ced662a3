"""The analysis as files: units.csv, pairs.csv, silencing.csv and analysis.json."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from analysis.activity import Floats, LayerActivity
from analysis.gates import LayerGates
from analysis.measure import Analysis
from reporting.statistics import has_spread, mean_interval

Row = dict[str, Any]


def write_analysis(analysis: Analysis, folder: Path) -> None:
    """Write the four files; columns and fields are in docs/analysis.md."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_csv(folder / "units.csv", unit_rows(analysis))
    _write_csv(folder / "pairs.csv", pair_rows(analysis))
    _write_csv(folder / "silencing.csv", silencing_rows(analysis))
    text = json.dumps(summary(analysis), indent=1, allow_nan=False) + "\n"
    (folder / "analysis.json").write_text(text, encoding="utf-8")


def unit_rows(analysis: Analysis) -> Iterator[Row]:
    """A row for each unit and task; hidden layers are counted from 1, as in the text."""
    for index, (layer, gates) in enumerate(zip(analysis.layers, analysis.gates, strict=True)):
        for place in np.ndindex(*layer.on_rate.shape):
            yield {
                "layer": index + 1,
                "task": analysis.tasks[place[0]],
                "unit": place[1],
                "on_rate": layer.on_rate[place],
                "mean_activation": layer.mean[place],
                "gate": None if gates is None else gates.gate[place],
                "segment": gates.segment[place] if gates is not None and gates.chooses else None,
            }


def pair_rows(analysis: Analysis) -> Iterator[Row]:
    """A row for each pair of tasks, in both orders, and for each task with itself."""
    for index, (layer, gates) in enumerate(zip(analysis.layers, analysis.gates, strict=True)):
        same_segment, alike = _same_segment(gates), None if gates is None else gates.alike
        for place in np.ndindex(*layer.shared.shape):
            yield {
                "layer": index + 1,
                "task": analysis.tasks[place[0]],
                "other_task": analysis.tasks[place[1]],
                "shared": layer.shared[place],
                "shared_over_chance": layer.shared_over_chance[place],
                "jaccard": layer.jaccard[place],
                "most_used": layer.most_used[place],
                "cosine_distance": layer.cosine_distance[place],
                "same_segment": None if same_segment is None else same_segment[place],
                "gate_correlation": None if alike is None else alike[place],
            }


def silencing_rows(analysis: Analysis) -> Iterator[Row]:
    """A row for each task under each choice of silenced units."""
    silencing = analysis.silencing
    choices = [
        ("nothing", silencing.intact),
        *zip(analysis.tasks, silencing.most_used, strict=True),
        *((f"random_{draw + 1}", rates) for draw, rates in enumerate(silencing.random)),
    ]
    for name, rates in choices:
        for task, rate in zip(analysis.tasks, rates, strict=True):
            yield {"silenced": name, "task": task, "success_rate": rate}


def summary(analysis: Analysis) -> Row:
    """Means over tasks, and over pairs of different tasks."""
    silencing = analysis.silencing
    own, others = within_and_across(silencing.most_used)
    specificity = silencing.specificity
    return {
        "tasks": list(analysis.tasks),
        "goals": analysis.goals,
        "layers": [
            _of_layer(layer, gates)
            for layer, gates in zip(analysis.layers, analysis.gates, strict=True)
        ],
        "silencing": {
            "fraction": silencing.fraction,
            "success_intact": float(silencing.intact.mean()),
            "success_own_units_silenced": own,
            "success_other_tasks_units_silenced": others,
            "success_random_units_silenced": float(silencing.random.mean()),
            "specificity": float(specificity.mean()) if len(specificity) > 1 else None,
            "specificity_ci95": mean_interval(specificity) if has_spread(specificity) else None,
        },
    }


def within_and_across(matrix: Floats) -> tuple[float, float | None]:
    """Mean of the diagonal of `[T, T]`, and of the rest; `None` for the rest of a single task."""
    tasks = len(matrix)
    rest = matrix[~np.eye(tasks, dtype=bool)]
    return float(np.diagonal(matrix).mean()), float(rest.mean()) if tasks > 1 else None


def _of_layer(layer: LayerActivity, gates: LayerGates | None) -> Row:
    names = ("shared_over_chance", "jaccard", "cosine_distance", "most_used")
    pairs = {name: within_and_across(getattr(layer, name)) for name in names}
    same_segment = _same_segment(gates)
    return {
        "units": layer.on_rate.shape[1],
        "dead_units": int(layer.dead.sum()),
        "density": float(layer.density.mean()),
        **{f"{name}_within": own for name, (own, _) in pairs.items()},
        **{f"{name}_across": across for name, (_, across) in pairs.items()},
        "same_segment_across": None if same_segment is None else within_and_across(same_segment)[1],
    }


def _same_segment(gates: LayerGates | None) -> Floats | None:
    """Of two tasks `[T, T]`; `None` where no unit has a choice."""
    return gates.same_segment if gates is not None and gates.chooses else None


def _write_csv(path: Path, rows: Iterator[Row]) -> None:
    first = next(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(first), lineterminator="\n")
        writer.writeheader()
        writer.writerow(first)
        writer.writerows(rows)
