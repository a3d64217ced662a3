"""The table of what is inside networks of several kinds.

docs/results/inside/NETWORK-seedN.json is analysis.json of a run (`evaluate.py RUN --analyze`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
    found = [
        (
            f"{NETWORKS[network]}, seed {path.stem.rpartition('seed')[2]}",
            json.loads(path.read_text()),
        )
        for network in NETWORKS
        for path in sorted(folder.glob(f"{network}-seed*.json"))
    ]
    return {"overlap": _overlap_table(found), "silencing": _silencing_table(found)}


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
