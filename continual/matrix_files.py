"""The matrix R of a run as files: matrix.csv and a heat map, matrix.png."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_NUMBERS = 12
"""Tasks up to which the cells of the heat map hold their numbers."""
_DARK = 0.45
"""Result below which a cell's colour needs white numbers."""


def write_matrix(folder: Path, matrix: NDArray[np.float64], tasks: Sequence[str]) -> None:
    """Write matrix.csv and matrix.png into a folder.

    Args:
        folder: which exists.
        matrix: R `[T, T]`, from 0 to 1, as in continual/metrics.py; NaN where nothing was measured.
        tasks: names, T of them.
    """
    with (folder / "matrix.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["after", *tasks])
        for name, row in zip(tasks, matrix, strict=True):
            rows.writerow([name, *("" if np.isnan(value) else f"{value:.6g}" for value in row)])
    draft = folder / ".matrix.png"
    heat_map(matrix, tasks).savefig(draft, dpi=120, format="png")
    os.replace(draft, folder / "matrix.png")


def heat_map(matrix: NDArray[np.float64], tasks: Sequence[str]) -> Figure:
    """R as a picture: rows are times, columns are tasks, in per cent."""
    from matplotlib.figure import Figure  # takes a second

    size = 2.5 + min(8.0, 0.55 * len(tasks))
    figure = Figure(figsize=(size + 1.5, size), layout="compressed")  # for axes of a fixed shape
    axes = figure.subplots()
    picture = axes.imshow(100 * matrix, vmin=0, vmax=100, cmap="viridis")
    figure.colorbar(picture, ax=axes, label="result [%]", shrink=0.8)
    axes.set_xlabel("on task")
    axes.set_ylabel("after task")
    if len(tasks) <= _MOST_NUMBERS:
        axes.set_xticks(range(len(tasks)), tasks, rotation=45, ha="right")
        axes.set_yticks(range(len(tasks)), tasks)
        for (row, column), value in np.ndenumerate(matrix):
            if not np.isnan(value):
                colour = "white" if value < _DARK else "black"
                text = f"{100 * value:.0f}"
                axes.text(column, row, text, color=colour, ha="center", va="center", fontsize=8)
    return figure
