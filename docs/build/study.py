"""The study's answer in short, for the README: both measures, an arm a row, named in words."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from docs.build.markdown import in_points, table
from docs.build.runs import read_csv
from docs.build.sweeps import FOLDER
from reporting.comparison import Verdict, interval_says
from sweeps.results import MEASURES

_NETWORKS = {
    "mlp": "MLP of equal size",
    "mlp_4x": "MLP, four times the parameters",
    "gate_table": "table of gates",
    "film": "FiLM",
    "relu": "the same dendrites, ReLU",
    "attention": "dendrites, softmax over segments",
}


def short_study_table(folder: Path = FOLDER / "study") -> dict[str, str]:
    """`study-short`: differences with corrected intervals, in points; bold where they decide.

    A `*` is where Holm's correction alone decides.
    """
    cells = {(row["arm"], row["measure"]): row for row in read_csv(folder / "comparisons.csv")}
    first = next(iter(cells.values()))["against"]
    headers = (f"network, against {first}", *MEASURES.values())
    rows = [
        (words, *(_difference(cells[arm, measure]) for measure in MEASURES))
        for arm, words in _NETWORKS.items()
    ]
    return {"study-short": table(headers, rows)}


def _difference(row: dict[str, str]) -> str:
    corrected = float(row["corrected_low"]), float(row["corrected_high"])
    points = in_points(float(row["difference"]), corrected)
    verdict = cast(Verdict, row["verdict"])
    if verdict == "undecided":
        return points
    return f"**{points}**" if interval_says(corrected, verdict) else f"{points} *"
