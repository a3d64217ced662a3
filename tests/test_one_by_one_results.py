"""The table and the picture of Meta-World's tasks one after the other, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from docs.build.one_by_one import alone_table, draw_matrices, one_by_one_table
from docs.build.runs import RESULTS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs of two tasks with one method, one run with another."""
    report = json.loads((RESULTS / "mt10-seed21.json").read_text())
    first, second = list(report["tasks"])[:2]
    report["tasks"] = {name: report["tasks"][name] for name in (first, second)}

    def write(name: str, matrix: list[list[float]], areas: list[float]) -> None:
        text = json.dumps(report | {"matrix": matrix, "areas": areas})
        (tmp_path / f"{name}.json").write_text(text)

    report |= {"mean_success_rate": 0.75, "mean_final_step_success_rate": 0.25}
    write("dendrites-seed1", [[1.0, 0.0], [0.2, 0.8]], [0.5, 0.6])
    write("dendrites-seed2", [[1.0, 0.0], [0.4, 0.8]], [0.5, 0.6])
    write("mlp_si-seed1", [[0.9, 0.1], [0.9, 0.5]], [0.6, 0.2])
    (tmp_path / "alone.csv").write_text(
        "network,task,seed,area\n"
        f"dendrites,{first},1,0.4\ndendrites,{first},2,0.6\ndendrites,{second},1,0.5\n"
        f"mlp,{first},1,0.5\nmlp,{second},1,0.6\n"
    )
    return tmp_path


def test_the_table_by_hand(folder: Path) -> None:
    _, _, *rows = one_by_one_table(folder).splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    # forward transfer: ((0.5 - 0.5) / 0.5 + (0.6 - 0.5) / 0.5) / 2
    assert cells[0] == [
        *("dendrites, k-winners", "fine-tuning", "0.75 (0.75, 0.75)", "0.25 (0.25, 0.25)"),
        *("0.90 (0.90, 0.90)", "0.35 (0.40, 0.30)", "0.10 (0.10, 0.10)", "2"),
    ]
    # ((0.6 - 0.5) / 0.5 + (0.2 - 0.6) / 0.4) / 2
    assert cells[1] == ["MLP", "SI", "0.75", "0.25", "0.70", "0.00", "-0.40", "1"]


def test_three_seeds_have_an_interval(folder: Path) -> None:
    first = (folder / "dendrites-seed1.json").read_text()
    (folder / "dendrites-seed3.json").write_text(first.replace("[0.2, 0.8]", "[0.6, 0.8]"))
    # forgetting 0.4, 0.3, 0.2: Student's t with 2 degrees of freedom is 4.3027, the error 0.1 / sqrt(3)
    assert "0.30 (0.05 to 0.55)" in one_by_one_table(folder)


def test_the_areas_of_tasks_learned_first(folder: Path) -> None:
    _, _, first, second, both = (line.split("|")[2:4] for line in alone_table(folder).splitlines())
    # dendrites (0.4 + 0.6) / 2 and 0.5, the MLP 0.5 and 0.6
    assert [[float(cell) for cell in row] for row in (first, second)] == [[0.5, 0.5], [0.5, 0.6]]
    assert [float(cell) for cell in both] == [0.5, 0.55]


def test_the_matrices_are_drawn(folder: Path, drawn: list[Figure]) -> None:
    """Means over the seeds; rows are times, columns are tasks."""
    draw_matrices(folder / "matrices.png", folder)
    assert (folder / "matrices.png").read_bytes().startswith(b"\x89PNG")
    matrices = {
        axes.get_title(): axes.images[0].get_array() for axes in drawn[0].axes if axes.images
    }
    assert list(matrices) == ["dendrites, k-winners: fine-tuning", "MLP: SI"]
    mean, alone = matrices.values()
    np.testing.assert_allclose(mean, [[1.0, 0.0], [0.3, 0.8]])
    np.testing.assert_allclose(alone, [[0.9, 0.1], [0.9, 0.5]])
