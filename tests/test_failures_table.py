"""The study's table of tasks that runs have not learned, from three runs made by hand."""

from __future__ import annotations

import json
from pathlib import Path

from docs.build.failures import failure_tables
from reporting.report import read_report

SHIPPED = Path(__file__).parent.parent / "pretrained" / "mt10" / "report.json"
TASK = "push-v3"


def write_run(folder: Path, success: float, training: list[float], returns: list[int]) -> None:
    """A report that is the shipped one but for one task, and a row of metrics for each return."""
    folder.mkdir(parents=True)
    report = json.loads(json.dumps(read_report(SHIPPED)))
    report["tasks"] = {TASK: report["tasks"][TASK] | {"success_rate": success}}
    (folder / "report.json").write_text(json.dumps(report))
    lines = [f"env_steps,train/success_rate/{TASK},eval/return/{TASK}", "1,,"]
    lines += [f"2,{rate},{value}" for rate, value in zip(training, returns, strict=True)]
    (folder / "metrics.csv").write_text("\n".join([*lines, ""]))


def test_the_table_by_hand(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    write_run(runs / "never", 0.0, [0.0] * 6, [0, 10, 20, 60, 100, 300])
    write_run(runs / "lost", 0.48, [0.9, *[0.0] * 5], [40, 40, 40, 40, 40, 40])
    (row,) = failure_tables(tmp_path)["study-failures"].splitlines()[2:]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    # half time: (10 + 20 + 60) / 3 and 40; the end: (100 + 300) / 2 and 40
    assert cells == [TASK, "2 of 2", "1", "35 (30 to 40)", "120 (40 to 200)", "-"]
    write_run(runs / "learned", 0.5, [0.0] * 6, [7, 7, 7, 7, 7, 9])
    (row,) = failure_tables(tmp_path)["study-failures"].splitlines()[2:]
    assert [cell.strip() for cell in row.strip("|").split("|")][1::4] == ["2 of 3", "8"]
