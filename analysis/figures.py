"""Figures of an analysis: who shares units with whom, what silencing does, which segments win.

Colours run from dark to light with the number (viridis and the like), so that they can be told apart
without seeing colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from analysis.activity import Floats
from analysis.gates import LayerGates
from analysis.measure import Analysis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL = 3.6
"""Width and height of a matrix, at least [inches]."""
_NAME = 0.16
"""Room for a task's name [inches]."""
_MOST_NUMBERS = 12
"""Tasks up to which the cells of a matrix hold their numbers."""
_DARK = 45
"""Per cent below which a cell's colour needs white numbers."""


def write_figures(analysis: Analysis, folder: Path) -> None:
    """Write every figure as a PNG into a folder that exists; one that there is not is removed."""
    for name, draw in _FIGURES.items():
        figure, path = draw(analysis), folder / f"{name}.png"
        if figure is None:
            path.unlink(missing_ok=True)  # of an earlier analysis
        else:
            figure.savefig(path, dpi=120)


def draw_overlap(analysis: Analysis) -> Figure:
    """How much of their most used quarter of units two tasks have in common, for every hidden layer."""
    layers = analysis.layers
    figure, panels = _panels(len(layers), len(analysis.tasks))
    for index, (axes, layer) in enumerate(zip(panels, layers, strict=True)):
        _draw_matrix(axes, layer.most_used, names_of(analysis), names_of(analysis))
        axes.set_title(f"hidden layer {index + 1}")
    _hide_inner_names(panels)
    _add_scale(figure, panels, "units in common, of the most used quarter [%]")
    return figure


def draw_silencing(analysis: Analysis) -> Figure:
    """Success on every task: with nothing silenced, with each task's units, with as many at random."""
    silencing, tasks = analysis.silencing, names_of(analysis)
    draws = len(silencing.random)
    rows = np.vstack([silencing.intact, silencing.most_used, silencing.random.mean(axis=0)])
    figure, panels = _panels(1, len(tasks), extra_rows=2)
    _draw_matrix(panels[0], rows, ["nothing", *tasks, f"{draws} random quarters"], tasks)
    for border in (0.5, len(tasks) + 0.5):
        panels[0].axhline(border, color="black", linewidth=2)
    panels[0].set_ylabel("silenced: nothing, or a task's most used quarter")
    panels[0].set_xlabel("success on")
    _add_scale(figure, panels, "success rate [%]")
    return figure


def draw_activity(analysis: Analysis) -> Figure:
    """How often each unit is on in each task; units are sorted by the task that uses them most."""
    layers, tasks = analysis.layers, names_of(analysis)
    height = 0.5 + (0.6 + 0.17 * len(tasks)) * len(layers)
    figure = Figure(figsize=(5.2, height), layout="constrained")
    rows = figure.subplots(len(layers), 1, squeeze=False)[:, 0]
    for index, (axes, layer) in enumerate(zip(rows, layers, strict=True)):
        order = np.lexsort((-layer.on_rate.max(axis=0), layer.on_rate.argmax(axis=0)))
        axes.imshow(100 * layer.on_rate[:, order], aspect="auto", vmin=0, vmax=100, cmap="viridis")
        axes.set_yticks(range(len(tasks)), tasks, fontsize=7)
        axes.set_xticks([])
        axes.set_title(f"hidden layer {index + 1}: {layer.on_rate.shape[1]} units", fontsize=9)
    _add_scale(figure, list(rows), "steps in which a unit is on [%]")
    return figure


def draw_gates(analysis: Analysis) -> Figure | None:
    """How many units the same segment gates in two tasks; nothing where there is no choice of segments."""
    chosen = choosing_gates(analysis)
    if not chosen:
        return None
    figure, panels = _panels(len(chosen), len(analysis.tasks))
    for axes, (index, gates) in zip(panels, chosen.items(), strict=True):
        _draw_matrix(axes, gates.same_segment, names_of(analysis), names_of(analysis))
        axes.set_title(f"hidden layer {index + 1}, {gates.num_segments} segments")
    _hide_inner_names(panels)
    _add_scale(figure, panels, "units that the same segment gates in both tasks [%]")
    return figure


def choosing_gates(analysis: Analysis) -> dict[int, LayerGates]:
    """The gates of layers whose units choose among segments, by the layer's index."""
    return {
        index: gates
        for index, gates in enumerate(analysis.gates)
        if gates is not None and gates.chooses
    }


_FIGURES: dict[str, Callable[[Analysis], Figure | None]] = {
    "overlap": draw_overlap,
    "silencing": draw_silencing,
    "activity": draw_activity,
    "gates": draw_gates,
}
"""File name -> what draws it."""


def names_of(analysis: Analysis) -> list[str]:
    """The tasks' names, without the version that all have in common."""
    return [task.removesuffix("-v3") for task in analysis.tasks]


def _panels(number: int, tasks: int, extra_rows: int = 0) -> tuple[Figure, list[Axes]]:
    """So many matrices of all tasks, one below the other, so that they can be read on a phone."""
    side = max(_PANEL, _NAME * tasks)
    more = extra_rows * side / max(tasks, _MOST_NUMBERS)
    size = (1.6 + side, 1.6 + side * number + more)
    figure = Figure(figsize=size, layout="constrained")
    return figure, list(figure.subplots(number, 1, squeeze=False)[:, 0])


def _draw_matrix(axes: Axes, values: Floats, rows: Sequence[str], columns: Sequence[str]) -> None:
    percent = 100 * values
    axes.imshow(percent, vmin=0, vmax=100, cmap="viridis", aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    if len(columns) > _MOST_NUMBERS:
        return
    for (row, column), value in np.ndenumerate(percent):
        colour = "white" if value < _DARK else "black"
        text = f"{value:.0f}"
        axes.text(column, row, text, color=colour, ha="center", va="center", fontsize=7)


def _hide_inner_names(panels: Sequence[Axes]) -> None:
    for axes in panels[:-1]:
        axes.set_xticklabels([])


def _add_scale(figure: Figure, panels: Sequence[Axes], label: str) -> None:
    figure.colorbar(
        panels[0].images[0], ax=list(panels), location="bottom", label=label, aspect=40, pad=0.02
    )
