"""evaluate.py --analyze --page --record on a real run: files, and a page whose numbers are theirs."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, refused, succeed
from pyarrow import parquet
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import evaluate
from machine.cores import processor_name

FLAGS = ("--goals", 2, "--workers", 1)
CURVES = ROOT / "docs/results/published/active_dendrites_mt10_curves.csv"


class Page(HTMLParser):
    """The cells of every table, and the words that stand for every picture."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.texts: list[str] = []
        self._in_cell = False
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._in_cell = True
        elif tag == "svg":
            self.texts.append(dict(attrs)["aria-label"] or "")

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.tables[-1][-1][-1] += data

    def table(self, *headers: str) -> list[list[str]]:
        """The rows of the table with these first headers."""
        (found,) = [one for one in self.tables if tuple(one[0][: len(headers)]) == headers]
        return found[1:]


@pytest.fixture(scope="module")
def inside(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an evaluation with everything but videos."""
    out = tmp_path_factory.mktemp("inside") / "out"
    asked = ("--analyze", "--analysis-goals", 2, "--page", "--record", out.parent / "episodes")
    succeed(evaluate.main, tiny_run, "--out", out, *FLAGS, *asked, "--published", CURVES)
    return out


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_page_has_the_numbers_of_the_report(inside: Path, tiny_run: Path) -> None:
    page, report = Page(inside / "report.html"), json.loads((inside / "report.json").read_text())
    low, high = report["mean_success_rate_ci95"]
    mean = f"{report['mean_success_rate']:.1%} ({low:.1%} to {high:.1%})"
    (overview,) = page.table("run", "network")
    assert overview[0] == tiny_run.name
    assert overview[4:] == [
        mean,
        f"{report['mean_final_step_success_rate']:.1%}",
        f"{report['mean_return']:.0f}",
    ]
    *tasks, last = page.table("task", tiny_run.name)
    assert last == ["mean", mean]
    assert [row[0] for row in tasks] == list(report["tasks"])
    made_with = [row[1] for row in page.table("run", "machine, code and packages")]
    assert made_with[0].startswith(f"trained on {processor_name()}, ")
    for name, cell in tasks:
        own = report["tasks"][name]
        assert cell.startswith(f"{own['success_rate']:.1%} ({own['success_rate_ci95'][0]:.1%}")


def test_the_page_has_the_numbers_of_the_analysis(inside: Path) -> None:
    page = Page(inside / "report.html")
    rows = read_rows(inside / "analysis" / "silencing.csv")
    shown = [cell for row in page.table("silenced") for cell in row[1:]]
    assert shown == [f"{float(row['success_rate']):.1%}" for row in rows]
    pairs = read_rows(inside / "analysis" / "pairs.csv")
    tables = [table for table in page.tables if table[0][0] == "layer: task"]
    for column, table in zip(("most_used", "same_segment"), tables, strict=True):
        shown = [cell for row in table[1:] for cell in row[1:]]
        assert shown == [f"{float(row[column]):.1%}" for row in pairs]
    units = read_rows(inside / "analysis" / "units.csv")
    first = [float(row["on_rate"]) for row in units if row["layer"] == "1"]
    density = np.reshape(first, (2, -1)).mean(axis=1)
    assert [row[1] for row in page.table("task", "density, layer 1")] == [
        f"{value:.1%}" for value in density
    ]


def test_the_analysis_files_agree_with_each_other(inside: Path) -> None:
    summary = json.loads((inside / "analysis" / "analysis.json").read_text())
    for name in ("overlap", "silencing", "activity", "gates"):
        assert (inside / "analysis" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    rows = read_rows(inside / "analysis" / "silencing.csv")
    rates = {(row["silenced"], row["task"]): float(row["success_rate"]) for row in rows}
    tasks = summary["tasks"]
    own = np.mean([rates[task, task] for task in tasks])
    others = np.mean([rates[a, b] for a in tasks for b in tasks if a != b])
    assert summary["silencing"]["success_own_units_silenced"] == pytest.approx(own)
    assert summary["silencing"]["success_other_tasks_units_silenced"] == pytest.approx(others)
    report = json.loads((inside / "report.json").read_text())
    intact = {task: rates["nothing", task] for task in tasks}
    assert intact == {task: report["tasks"][task]["success_rate"] for task in tasks}
    assert {row["segment"] for row in read_rows(inside / "analysis" / "units.csv")} <= set(
        "0123456789"
    )


def test_the_page_is_one_file_with_words_for_every_picture(inside: Path) -> None:
    page = Page(inside / "report.html")
    links = re.findall(r'(?:src|href|url)\s*[=(]\s*"?([^")\s>]+)', page.source)
    assert links
    assert not [link for link in links if not link.startswith(("#", "data:"))]
    assert "http" not in re.sub(r"http://www\.w3\.org/[\w/]+", "", page.source)
    assert len(page.texts) == page.source.count("<svg ") == 7
    assert all(len(text) > 30 for text in page.texts)
    identifiers = re.findall(r' id="([^"]+)"', page.source)
    assert len(set(identifiers)) == len(identifiers)


def test_recorded_episodes_are_those_of_the_report(inside: Path) -> None:
    report = json.loads((inside / "report.json").read_text())
    folder = inside.parent / "episodes"
    for index, (name, own) in enumerate(report["tasks"].items()):
        table = parquet.read_table(folder / f"data/chunk-000/file-{index:03d}.parquet")
        rewards = np.array(table["next.reward"]).reshape(own["episodes"], -1)
        assert rewards.sum(axis=1).mean() == pytest.approx(own["mean_return"], rel=1e-5), name


def test_training_shows_its_hidden_layers_in_tensorboard(tiny_run: Path) -> None:
    events = EventAccumulator(str(tiny_run / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    for index in range(2):
        for name, width in (("overlap", 32), ("activity", 128), ("gates", 128), ("segments", 128)):
            images = events.Images(f"network/actor/layer_{index}/{name}")
            assert (images[0].width, images[0].height) == (width, 32)
            assert len(images) == len(events.Scalars("eval/success_rate"))


def test_runs_side_by_side(tiny_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_run, other)
    out = tmp_path / "out"
    flags = ("--goals", 1, "--workers", 1, "--page", "--out", out)
    succeed(evaluate.main, tiny_run, other, *flags)
    assert (out / "tiny-run" / "report.json").is_file()
    assert (out / "other" / "report.json").is_file()
    page = Page(out / "report.html")
    assert [row[0] for row in page.table("run", "network")] == ["tiny-run", "other"]


def test_what_can_not_be_asked_for(tiny_run: Path, tmp_path: Path) -> None:
    assert "given twice" in refused(evaluate.main, tiny_run, tiny_run)
    assert "own report would be replaced" in refused(evaluate.main, tiny_run, "--out", tiny_run)
    said = refused(evaluate.main, tiny_run, "--threads", 4)
    assert "--threads" in said
    assert "is now" not in said  # that of train_mt10.py
    assert "only with --analyze" in refused(evaluate.main, tiny_run, "--analysis-goals", 2)
    assert "--record: give one run" in refused(
        evaluate.main, tiny_run, tmp_path, "--record", tmp_path / "new"
    )
    assert "exists already" in refused(evaluate.main, tiny_run, "--record", tmp_path)
    assert "add --page" in refused(evaluate.main, tiny_run, "--published", CURVES)
    assert "--analysis-goals 51" in refused(evaluate.main, tiny_run, "--analysis-goals", 51)
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("a,b\n1,2\n")
    said = refused(evaluate.main, tiny_run, "--page", "--published", wrong)
    assert "no column env_steps, network, run, success_rate" in said
    (tmp_path / "file").touch()
    said = refused(evaluate.main, tiny_run, "--record", tmp_path / "file" / "new")
    assert f"{tmp_path}/file is no folder to write into" in said


def test_what_can_be_known_before_anything_is_played(copied_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    flags = ("--goals", 1, "--workers", 1, "--page", "--out", out)
    assert "none: no such run" in refused(evaluate.main, copied_run, tmp_path / "none", *flags)
    metrics = copied_run / "metrics.csv"
    whole = metrics.read_text()
    header, first, *_ = whole.splitlines()
    place = header.split(",").index("time/elapsed_hours")
    cells = first.split(",")
    cells[place] = "soon"
    metrics.write_text(f"{header}\n{','.join(cells)}\n")
    assert f"{metrics}: not a metrics.csv" in refused(evaluate.main, copied_run, *flags)
    (copied_run / "report.json").write_text("{}")
    metrics.write_text(whole)
    assert "not a report of this version" in refused(evaluate.main, copied_run, *flags)
    assert not out.exists()


def test_a_missing_extra_is_named_in_one_line(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as where it is not installed
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    record = ("--record", tmp_path / "episodes")
    assert "pip install '.[record]'" in refused(evaluate.main, tiny_run, *record)
    flags = ("--goals", 1, "--workers", 1, "--out", tmp_path / "out", "--video")
    done = succeed(evaluate.main, tiny_run, *flags)
    assert done.stderr.count("pip install '.[video]'") == 1
    assert (tmp_path / "out" / "report.json").is_file()
