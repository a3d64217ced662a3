"""The pictures of an analysis, each with its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis.activity import Floats
from analysis.figures import (
    choosing_gates,
    draw_activity,
    draw_gates,
    draw_overlap,
    draw_silencing,
    names_of,
)
from analysis.files import within_and_across
from analysis.measure import Analysis
from pages.contents import Picture, Table
from reporting.statistics import has_spread, mean_interval


def pictures_of(analysis: Analysis) -> list[Picture]:
    """Silencing, activity, overlap and, for dendrites that choose among segments, gates."""
    found = [_silencing(analysis), _activity(analysis)]
    if len(analysis.tasks) == 1:
        return found  # nothing to share
    gates = _gates(analysis)
    return [*found, _overlap(analysis), *([] if gates is None else [gates])]


def _silencing(analysis: Analysis) -> Picture:
    silencing, names = analysis.silencing, names_of(analysis)
    own, others = within_and_across(silencing.most_used)
    random, intact = silencing.random.mean(), silencing.intact.mean()
    of_others = "" if others is None else f", {others:.0%} on the others"
    rows = _rows(["nothing", *names], [silencing.intact, *silencing.most_used])
    draws = len(silencing.random)
    specificity = silencing.specificity
    compared = ""
    if len(names) > 1:
        how_sure = "no spread over the tasks, so no interval"
        if has_spread(specificity):
            low, high = (100 * end for end in mean_interval(specificity))
            how_sure = f"95 % interval over the tasks: {low:+.0f} to {high:+.0f}"
        compared = (
            f" Success without another task's units, less success without its own: {100 * specificity.mean():+.0f} "
            f"points ({how_sure}). Above 0, tasks need their own units."
        )
    rows += _rows([f"random {draw + 1}" for draw in range(draws)], list(silencing.random))
    return Picture(
        draw_silencing(analysis),
        f"Success without the most used quarter of one task's units: {own:.0%} on that task"
        f"{of_others}; {random:.0%} without as many random units, {intact:.0%} with all.",
        f"The causal test, {analysis.goals} goals per task, in per cent: each row silences the quarter of "
        f"every hidden layer's units that one task uses most. Mean success is {own:.0%} on that task"
        f"{of_others}. Without as many random units ({draws} draws), which need not be used much, it is {random:.0%}, with all "
        f"units {intact:.0%}.{compared}",
        Table(("silenced", *names), rows),
    )


def _overlap(analysis: Analysis) -> Picture:
    names = names_of(analysis)
    across = [within_and_across(layer.most_used)[1] for layer in analysis.layers]
    means = ", ".join(
        f"{mean:.0%} in layer {index + 1}" for index, mean in enumerate(across) if mean is not None
    )
    return Picture(
        draw_overlap(analysis),
        f"Most used units that two tasks have in common: {means}, mean over pairs; a quarter by chance.",
        f"Overlap, in per cent: units that are among the most used quarter of both tasks. Mean over pairs of "
        f"different tasks: {means}. By chance it would be 25 %.",
        _by_layer(names, {index: layer.most_used for index, layer in enumerate(analysis.layers)}),
    )


def _activity(analysis: Analysis) -> Picture:
    names = names_of(analysis)
    headers, rows = ["task"], [[name] for name in names]
    for index, layer in enumerate(analysis.layers):
        headers += [f"density, layer {index + 1}"]
        for row, density in zip(rows, layer.density, strict=True):
            row.append(f"{density:.1%}")
    dead = ", ".join(
        f"{int(layer.dead.sum())} of {len(layer.dead)} in layer {index + 1}"
        for index, layer in enumerate(analysis.layers)
    )
    return Picture(
        draw_activity(analysis),
        f"How often each unit is on in each task. Units that are on in no task: {dead}.",
        "How often each unit is on, over the first hundred steps of the episodes. Units are sorted by the "
        f"task that uses them most. On in no task: {dead}.",
        Table(tuple(headers), [tuple(row) for row in rows]),
    )


def _gates(analysis: Analysis) -> Picture | None:
    figure = draw_gates(analysis)
    if figure is None:
        return None
    chosen = choosing_gates(analysis)
    segments = {gates.num_segments for gates in chosen.values()}
    means = " and ".join(
        f"{within_and_across(gates.same_segment)[1]:.0%} in layer {index + 1}"
        for index, gates in chosen.items()
    )
    chance = " or ".join(f"{1 / number:.0%}, with {number} segments" for number in sorted(segments))
    return Picture(
        figure,
        f"Units that the same segment gates in two tasks: {means}, mean over pairs.",
        f"Gates, in per cent: units that the same segment gates in both tasks. Mean over pairs: {means}. By "
        f"chance it would be {chance}.",
        _by_layer(
            names_of(analysis), {index: gates.same_segment for index, gates in chosen.items()}
        ),
    )


def _by_layer(names: Sequence[str], matrices: Mapping[int, Floats]) -> Table:
    """A row for each task and layer, by the layer's index."""
    rows: list[tuple[str, ...]] = []
    for index, matrix in matrices.items():
        rows += _rows([f"{index + 1}: {name}" for name in names], list(matrix))
    return Table(("layer: task", *names), rows)


def _rows(names: Sequence[str], values: Sequence[Floats]) -> list[tuple[str, ...]]:
    return [
        (name, *(f"{value:.1%}" for value in row)) for name, row in zip(names, values, strict=True)
    ]
