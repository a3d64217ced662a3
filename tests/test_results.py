"""The documents' tables and figures against the files they are made from."""

from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from reporting import results
from reporting.figures import draw_on_published


@pytest.mark.parametrize("name", results.DOCUMENTS)
def test_the_tables_in_the_documents_are_those_of_the_files(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "<!-- table " in text
    assert results.insert_tables(text, results.make_tables()) == text, "run `make results`"


def test_an_unknown_table_is_an_error() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        results.insert_tables("<!-- table nonsense -->\n<!-- end -->", {"other": ""})


def test_the_published_figures_are_those_of_the_publication() -> None:
    # Iyer et al. 2022: 87.5 % (sd 7.1) and 76.6 % over ten runs, from the last ten evaluations
    curves = results.read_published()
    for network, mean in (("active_dendrites", 0.875), ("mlp", 0.766)):
        steps, success = curves[network]
        assert success.shape == (10, 300)
        assert steps[-1] == pytest.approx(15e6, rel=0.01)
        assert success[:, -10:].mean() == pytest.approx(mean, abs=0.005)
        by_task = results.read_published_tasks()[network]
        assert np.mean(list(by_task.values())) == pytest.approx(mean, abs=0.005)


def test_brcs_curve_counts_the_steps_of_all_ten_tasks() -> None:
    steps, success = results.read_published()["brc"]
    assert success.shape == (5, 20)
    by_step = dict(zip(steps.tolist(), success.mean(axis=0), strict=True))
    assert by_step[1_000_000] == pytest.approx(0.702)  # five seeds: 67, 66, 78, 55 and 85 %
    assert by_step[2_000_000] == pytest.approx(0.92)


def test_a_tuning_table_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ["a,0,100,10,0.1", "a,0,200,20,0.3", "a,0,300,30,0.5", "b,0,100,10,0.9"]
    header = "change,seed,env_steps,gradient_steps,train_success_rate"
    (tmp_path / "short.csv").write_text("\n".join([header, *rows]) + "\n")
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    table = results.tuning_table("short", "gradient_steps", (10, 30), window=20)
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert cells[0] == ["change", "10", "30"]
    assert cells[2:] == [["a", "10%", "40%"], ["b", "90%", ""]]  # 40: mean of the rows at 20 and 30


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    run = (0, np.array([1, 2]) * 100_000, np.array([0.1, 0.2]), np.array([0.3, 0.6]))
    out = tmp_path / "figure.png"
    draw_on_published("quick", [run], results.read_published(), out)
    assert out.read_bytes().startswith(b"\x89PNG")
    assert out.stat().st_size > 10_000
