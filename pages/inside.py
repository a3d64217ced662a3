"""The pictures of an analysis, each with its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.activity import Floats
from analysis.figures import draw_activity, draw_gates, draw_overlap, draw_silencing, names_of
from analysis.files import within_and_across
from analysis.measure import Analysis
from pages.contents import Picture, Table
from reporting.statistics import mean_interval


def pictures_of(analysis: Analysis) -> list[Picture]:
    """Silencing, overlap, activity and, for dendrites, gates."""
    found = [_silencing(analysis), _overlap(analysis), _activity(analysis)]
    gates = _gates(analysis)
    return found if gates is None else [*found, gates]


def _silencing(analysis: Analysis) -> Picture:
    silencing, names = analysis.silencing, names_of(analysis)
    own, others = within_and_across(silencing.most_used)
    random, intact = silencing.random.mean(), silencing.intact.mean()
    rows = _rows(["nothing", *names], [silencing.intact, *silencing.most_used])
    draws = len(silencing.random)
    specificity = silencing.specificity
    compared = ""
    if len(names) > 1:
        low, high = mean_interval(specificity)
        compared = (
            f" A task loses {100 * specificity.mean():.0f} points more without its own units than without another "
            f"task's (95 % interval over the tasks: {100 * low:.0f} to {100 * high:.0f})."
        )
    rows += _rows([f"random {draw + 1}" for draw in range(draws)], list(silencing.random))
    return Picture(
        draw_silencing(analysis),
        f"Success without the most used quarter of one task's units: {own:.0%} on that task, "
        f"{others:.0%} on the others; {random:.0%} without as many random units, {intact:.0%} with all.",
        f"The causal test, {analysis.goals} goals per task, in per cent: each row silences the quarter of "
        f"every hidden layer's units that one task uses most. That task keeps {own:.0%} on average, the "
        f"others {others:.0%}. Without as many random units ({draws} draws) it is {random:.0%}, with all "
        f"units {intact:.0%}.{compared}",
        Table(("silenced", *names), rows),
    )


def _overlap(analysis: Analysis) -> Picture:
    names = names_of(analysis)
    across = [within_and_across(layer.most_used)[1] for layer in analysis.layers]
    means = ", ".join(f"{mean:.0%} in layer {index + 1}" for index, mean in enumerate(across))
    return Picture(
        draw_overlap(analysis),
        f"Most used units that two tasks have in common: {means}, mean over pairs; a quarter by chance.",
        f"Overlap, in per cent: units that are among the most used quarter of both tasks. Mean over pairs of "
        f"different tasks: {means}. By chance it would be 25 %.",
        _by_layer(names, [layer.most_used for layer in analysis.layers]),
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
    gated = [gates for gates in analysis.gates if gates is not None]
    across = [within_and_across(gates.same_segment)[1] for gates in gated]
    means = " and ".join(f"{mean:.0%}" for mean in across)
    segments = gated[0].num_segments
    return Picture(
        figure,
        f"Units that two tasks open with the same segment: {means} of the layers' units, mean over pairs.",
        f"Gates, in per cent: units that two tasks open with the same segment. Mean over pairs: {means}. By "
        f"chance it would be {1 / segments:.0%}, with {segments} segments.",
        _by_layer(names_of(analysis), [gates.same_segment for gates in gated]),
    )


def _by_layer(names: Sequence[str], matrices: Sequence[Floats]) -> Table:
    rows: list[tuple[str, ...]] = []
    for index, matrix in enumerate(matrices):
        rows += _rows([f"{index + 1}: {name}" for name in names], list(matrix))
    return Table(("layer: task", *names), rows)


def _rows(names: Sequence[str], values: Sequence[Floats]) -> list[tuple[str, ...]]:
    return [
        (name, *(f"{value:.1%}" for value in row)) for name, row in zip(names, values, strict=True)
    ]
