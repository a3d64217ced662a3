"""Where an evaluation's files go."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs import UsageError
from reporting.places import out_folders, run_names


def test_no_two_runs_have_the_same_name() -> None:
    folders = [Path(place) for place in ("/a/x", "/b/x", "/c/x-2", "/d/x", "/e/y")]
    assert list(run_names(folders).values()) == ["x", "x-2", "x-2-2", "x-3", "y"]


def test_a_checkpoint_is_called_by_its_run() -> None:
    best = "checkpoints/best_000000100"
    folders = [Path(f"/a/one/{best}"), Path(f"/a/two/{best}"), Path("/a/two")]
    names = ["one-best_000000100", "two-best_000000100", "two"]
    assert list(run_names(folders).values()) == names


@pytest.mark.parametrize("name", ["config.yaml", "checkpoints", "state.json"])
def test_nor_does_it_replace_that_of_another_run(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    for folder in (tmp_path / "checkpoints" / "step_000000100", Path("/runs/other")):
        with pytest.raises(UsageError, match="own report would be replaced; give another"):
            out_folders([folder], tmp_path)


def test_a_report_goes_where_training_deletes_nothing() -> None:
    run = Path("/runs/one")
    best = run / "checkpoints" / "best_000000100"
    assert out_folders([run, best], None) == {
        run: run / "evaluation",
        best: run / "evaluation-best_000000100",
    }
    assert out_folders([best], Path("/out")) == {best: Path("/out")}


@pytest.mark.parametrize("folders", [[Path("/runs/one")], [Path("/runs/one"), Path("/runs/two")]])
def test_no_report_replaces_that_of_training(folders: list[Path]) -> None:
    out = folders[0] if len(folders) == 1 else Path("/runs")
    with pytest.raises(UsageError, match="own report would be replaced; give another"):
        out_folders(folders, out)
