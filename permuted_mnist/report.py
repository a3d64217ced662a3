"""The report of a run: report.json, report.md, matrix.csv, matrix.png."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from continual.matrix_files import write_matrix
from continual.metrics import measure_rows, measures
from machine.versions import package_versions
from permuted_mnist.run_state import RunState
from permuted_mnist.tasks import SCENARIO

SCHEMA_VERSION = 1


def make_report(run: RunState) -> dict[str, Any]:
    """What report.json holds; docs/continual.md has the meanings. For a run that is finished."""
    matrix, config = run.matrix.numpy(), run.config
    return {
        "schema_version": SCHEMA_VERSION,
        "data": run.tasks.images.name,
        "scenario": SCENARIO,
        "told": _told(run),
        "seed": config.seed,
        **measures(matrix, run.untrained.numpy()),
        "matrix": _plain(matrix),
        "untrained": _plain(run.untrained.numpy()),
        "contexts": len(run.contexts.table),
        "test_images_per_task": len(run.tasks.images.test),
        "gradient_steps": run.progress.gradient_steps,
        "hours": run.progress.elapsed_hours,
        "processor": run.machine["processor"],
        "precision": run.machine["precision"].removeprefix("torch."),
        "versions": {name: run.machine[name] for name in package_versions()},
    }


def write_report(report: dict[str, Any], run: RunState, folder: Path) -> None:
    """Write report.json, report.md, matrix.csv and matrix.png into the run's folder."""
    document = json.dumps(report, indent=1, allow_nan=False)
    (folder / "report.json").write_text(document + "\n", encoding="utf-8")
    (folder / "report.md").write_text(format_report(report) + "\n", encoding="utf-8")
    names = [f"task {task}" for task in range(run.tasks.num_tasks)]
    write_matrix(folder, run.matrix.numpy(), names)


def format_report(report: dict[str, Any]) -> str:
    """A Markdown table for the console and report.md."""
    rows = [
        *measure_rows(report, "accuracy"),
        ("tasks", str(len(report["matrix"]))),
        ("data", report["data"]),
        ("told", report["told"]),
        ("contexts known", str(report["contexts"])),
    ]
    return tabulate(rows, headers=("", ""), tablefmt="github", disable_numparse=True)


def _told(run: RunState) -> str:
    """What the method is told: a learning rate that falls within a task needs the task's length."""
    told = run.contexts.told
    if run.config.learning.final_lr_fraction == 1:
        return told
    if "where a task begins" in told:
        return told.replace("where a task begins", "where a task begins and how long it lasts")
    return f"{told}, and how long it lasts"


def _plain(values: np.ndarray) -> list[Any]:
    """Nested lists, with None where nothing was measured."""
    return json.loads(json.dumps(values.tolist()).replace("NaN", "null"))
