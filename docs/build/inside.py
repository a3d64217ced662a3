"""The tables and a picture of what is inside networks of several kinds.

docs/results/inside/NETWORK-seedN.json is analysis.json of a run (`evaluate.py RUN --analyze`), and
NETWORK-seedN-silencing.csv its silencing.csv.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figures import draw_silencing
from analysis.measure import Analysis
from analysis.silencing import Silencing
from docs.build.markdown import table
from docs.build.runs import RESULTS

FOLDER = RESULTS / "inside"
NETWORKS = {
    "dendrites": "dendrites, k-winners",
    "relu": "dendrites, ReLU",
    "mlp": "MLP, ReLU",
}


def inside_tables(folder: Path = FOLDER) -> dict[str, str]:
    """The tables by the name in their markers: `overlap`, a row for a layer, and `silencing`."""
    for network in NETWORKS:
        if not list(folder.glob(f"{network}-seed*.json")):
            raise FileNotFoundError(f"{folder}: no {network}-seed*.json")
    found = [
        (
            f"{NETWORKS[network]}, seed {path.stem.rpartition('seed')[2]}",
            json.loads(path.read_text()),
        )
        for network in NETWORKS
        for path in sorted(folder.glob(f"{network}-seed*.json"))
    ]
    return {"overlap": _overlap_table(found), "silencing": _silencing_table(found)}


def draw_inside(out: Path, folder: Path = FOLDER) -> None:
    """Success of the shipped policy with units silenced, as a picture."""
    with (folder / "dendrites-seed23-silencing.csv").open(encoding="utf-8", newline="") as file:
        rates: dict[str, list[float]] = {}
        for row in csv.DictReader(file):
            rates.setdefault(row["silenced"], []).append(float(row["success_rate"]))
    summary = json.loads((folder / "dendrites-seed23.json").read_text())
    tasks = tuple(summary["tasks"])
    silencing = Silencing(
        fraction=summary["silencing"]["fraction"],
        intact=np.array(rates["nothing"]),
        most_used=np.array([rates[task] for task in tasks]),  # [T, T]
        random=np.array([rates[name] for name in rates if name.startswith("random_")]),  # [R, T]
    )
    analysis = Analysis(tasks, summary["goals"], [], [], silencing)
    draw_silencing(analysis).savefig(out, dpi=120)


def _overlap_table(found: list[tuple[str, dict[str, Any]]]) -> str:
    headers = ("network", "layer", "on", "dead units", "most used in common", "Jaccard within")
    rows = [
        (
            name,
            f"{index + 1}",
            f"{layer['density']:.0%}",
            f"{layer['dead_units']} of {layer['units']}",
            f"{layer['most_used_across']:.0%}",
            f"{layer['jaccard_within']:.2f}",
            f"{layer['jaccard_across']:.2f}",
            f"{layer['cosine_distance_within']:.2f}",
            f"{layer['cosine_distance_across']:.2f}",
        )
        for name, analysis in found
        for index, layer in enumerate(analysis["layers"])
    ]
    return table((*headers, "across", "cosine distance within", "across"), rows)


def _silencing_table(found: list[tuple[str, dict[str, Any]]]) -> str:
    headers = ("network", "all units", "without its own", "without another task's")
    rows = []
    for name, analysis in found:
        silencing = analysis["silencing"]
        low, high = silencing["specificity_ci95"]
        rows.append(
            (
                name,
                f"{silencing['success_intact']:.0%}",
                f"{silencing['success_own_units_silenced']:.0%}",
                f"{silencing['success_other_tasks_units_silenced']:.0%}",
                f"{silencing['success_random_units_silenced']:.0%}",
                f"{100 * silencing['specificity']:.0f} points ({100 * low:.0f} to {100 * high:.0f})",
            )
        )
    return table((*headers, "without random ones", "own matter more by"), rows)
