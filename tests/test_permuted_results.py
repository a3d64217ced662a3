"""Tables and figures of permuted images, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from docs.build.permuted import draw_permuted, methods_table


def write(folder: Path, name: str, seed: int, matrix: list[list[float | None]], **more) -> None:
    end = matrix[-1]
    report = {
        "seed": seed,
        "acc": sum(end) / len(end),
        "forgetting": matrix[0][0] - end[0],
        "matrix": matrix,
        "told": "nothing",
        "contexts": 2,
        "hours": 0.5,
        **more,
    }
    (folder / f"{name}-seed{seed}.json").write_text(json.dumps(report))


def test_a_table_of_methods_by_hand(tmp_path: Path) -> None:
    write(tmp_path, "permuted_mnist_10", 0, [[0.9, None], [0.8, 1.0]])
    write(tmp_path, "permuted_mnist_10", 1, [[0.9, None], [0.8, 0.9]])
    write(tmp_path, "permuted_mnist_10_mlp", 0, [[0.9, None], [0.5, 0.9]], hours=0.25)
    write(tmp_path, "permuted_mnist_10_mlp", 1, [[0.9, None], [0.4, 0.9]])
    write(tmp_path, "permuted_mnist_10_clustering", 1, [[0.9, None], [0.8, 0.8]], contexts=3)
    header, _, *rows = methods_table("permuted_mnist_10", tmp_path).splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in (header, *rows)]
    assert len(cells[0]) == 10
    # Student's t with one degree of freedom, 12.706: half-widths 12.706 x sd / sqrt 2, cut at 100 %
    assert cells[1][:5] == [
        "dendrites, k-winners",
        "nothing",
        "87.5% (55.7% to 100.0%)",
        "",
        "92.5% (60.7% to 100.0%)",
    ]
    assert cells[2][0] == "dendrites, k-winners, clusters"
    assert cells[2][2:] == ["80.0%", "-5.0", "85.0%", "10.0%", "3", "30.0", "1", "94.3%"]
    assert cells[3][3] == "-20.0"  # with both seeds: no spread, no interval
    assert cells[3][7:] == ["15.0", "2", "82.0%"]


def test_the_figure_is_drawn_from_the_same_files(tmp_path: Path, drawn: list[Figure]) -> None:
    matrix = [
        [0.9, 0.1, None],
        [None, 0.9, 0.1],
        [0.8, 0.8, 1.0],
    ]  # not all tested after the second
    write(tmp_path, "digits", 0, matrix)
    draw_permuted("digits", tmp_path / "digits.png", tmp_path)
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
    (line,) = drawn[0].axes[0].lines
    assert list(line.get_xdata()) == [1, 3]
    assert list(line.get_ydata()) == pytest.approx([90.0, 100 * (0.8 + 0.8 + 1.0) / 3])
