"""What the harnesses found, as tables and a figure: docs/results/reliability-*.json and .csv."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from docs.build.markdown import table
from docs.build.runs import RESULTS, read_csv

_SOAKED = {
    "env_steps_per_second": "environment steps per second, since the row before",
    "trainer_mb": "memory of the trainer alone [MB]",
    "workers_mb": "memory of the simulators alone [MB]",
    "open_files": "open files of the trainer",
    "processes": "processes",
    "tensorboard_kb": "TensorBoard event files [kB]",
    "run_folder_mb": "run folder [MB]",
}


def read_findings(name: str) -> dict[str, Any]:
    """What `python -m tests.stress NAME --json ...` wrote."""
    return json.loads((RESULTS / f"reliability-{name}.json").read_text(encoding="utf-8"))


def read_soak() -> dict[str, NDArray[np.float64]]:
    """The samples of the soak, by column `[k]`."""
    rows = read_csv(RESULTS / "reliability-soak.csv")
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def reliability_tables() -> dict[str, str]:
    """The tables of docs/reliability.md."""
    return {
        "kills": _kills_table(),
        "workers": _workers_table(),
        "fuzz": _fuzz_table(),
        "soak": _soak_table(),
        "sweeps": _sweeps_table(),
    }


def _kills_table() -> str:
    found = read_findings("kills")
    rows = [
        (
            name,
            part["kills"],
            part["in_a_save"],
            part["before_a_checkpoint"],
            part["runs"],
            sum(part["differences"].values()),
            f"{part['slowest_exit_s']:.1f} s",
            len(part["left_over"]),
        )
        for name, part in (("eager", found["plain"]), ("compiled", found["compiled"]))
    ]
    headers = (
        "update",
        "kills",
        "in the middle of a save",
        "before the first checkpoint",
        "runs brought to their end",
        "that differ",
        "workers gone after, at most",
        "left over",
    )
    return table(headers, rows)


def _sweeps_table() -> str:
    kinds = ("driver", "run", "node", "stop", "warning")
    rows = []
    for backend in ("local", "ray", "slurm"):
        found = read_findings(f"sweeps-{backend}")
        kills = [found["kills"].get(kind, "") for kind in kinds]
        wrong = len(found["differences"]) + len(found["failures"])
        rows.append((backend, *kills, f"{found['minutes']:.0f}", wrong))
    headers = ("backend", "sweep.py killed", "runs killed", "nodes killed", "sweep.py sent SIGTERM")
    return table((*headers, "jobs warned", "minutes", "runs that failed or differ"), rows)


def _workers_table() -> str:
    found = read_findings("workers")
    cells = {
        "workers killed": found["killed"],
        "frozen": found["frozen"],
        "runs": found["runs"],
        "that failed": len(found["failures"]),
        "that differ": sum(found["differences"].values()),
        "processes left over": len(found["left_over"]),
    }
    return table(list(cells), [list(cells.values())])


def _fuzz_table() -> str:
    rows = [
        (
            kind,
            f"{part['tried']:,}",
            f"{part['refused']:,}",
            f"{part['accepted']:,}",
            f"{part['slowest_s']:.1f} s",
            len(part["failures"]),
        )
        for kind, part in read_findings("fuzz").items()
        if isinstance(part, dict) and "tried" in part
    ]
    damage = "tracebacks, hangs, damage not noticed"
    return table(("files", "tried", "refused", "accepted", "slowest", damage), rows)


def _soak_table() -> str:
    found = read_findings("soak")
    rows = []
    for column, label in _SOAKED.items():
        trend = found[column]
        digits = 0 if abs(trend["mean"]) >= 10 and column != "processes" else 1
        change = f"{trend['per_hour']:+.1f}"
        if not np.isclose(trend["low"], trend["high"]):
            change += f" ({trend['low']:+.1f} to {trend['high']:+.1f})"
        rows.append((label, f"{trend['mean']:,.{digits}f}", change))
    hours = f"second half of {read_soak()['hours'][-1]:.2f} hours"
    return table((hours, "mean", "change per hour"), rows)
