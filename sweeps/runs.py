"""The runs of a sweep. Each is an ordinary run in its folder, and the folder is all that is known of it."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from configs.errors import UsageError
from configs.plain_yaml import read_yaml
from configs.settings import flatten
from reporting.rows import read_rows
from sweeps.definition import EVALUATED, SETTINGS, Sweep, config_of, preset_and_flags
from training.run_lock import is_locked

State = Literal["new", "begun", "running", "done"]
"""No config.yaml yet; to be resumed; a process is at it; has its report.json."""


COLUMNS = {
    "train_mt10.py": ("env_steps", "eval/success_rate"),
    "train_permuted_mnist.py": ("tasks_done", "eval/accuracy"),
}
"""Of metrics.csv, by command: how far the run is, and how well it does."""


@dataclass(frozen=True)
class Run:
    """One arm with one seed.

    Attributes:
        arm: its name.
        seed: of the run.
        folder: of the run.
        log: file that its console goes into.
        command: the script.
        config: the preset.
        flags: settings on top of it.
        total: environment steps, or tasks, in all.
        phase: environment steps of a task, where robots' tasks are learned one after the other.
        cwd: folder that relative paths among the settings are meant from.
    """

    arm: str
    seed: int
    folder: Path
    log: Path
    command: str
    config: str
    flags: tuple[str, ...]
    total: int
    phase: int | None
    cwd: Path

    @property
    def name(self) -> str:
        """Unique within the sweep."""
        return self.folder.name

    @property
    def state(self) -> State:
        """What its folder says."""
        if read_json(self.folder / "report.json") is not None:
            return "done"
        if is_locked(self.folder):
            return "running"
        return "begun" if (self.folder / "config.yaml").is_file() else "new"

    def arguments(self, cores: int) -> list[str]:
        """The command that begins it, or goes on with it: the ordinary one."""
        machine = ["--machine.threads", f"{cores}"]
        if self.command == "train_mt10.py":
            threads, workers = threads_and_workers(cores)
            machine = ["--machine.threads", f"{threads}", "--machine.workers", f"{workers}"]
        if (self.folder / "config.yaml").is_file():
            return [self.command, "--resume", str(self.folder), *machine]
        begin = ["--config", self.config, "--seed", str(self.seed), "--out", str(self.folder)]
        return [self.command, *begin, *self.flags, *machine]


def threads_and_workers(cores: int) -> tuple[int, int]:
    """Of a run of train_mt10.py: half of its cores are the learner's, the others the simulators'."""
    return max(1, cores // 2), max(1, cores - cores // 2)


def runs_of(sweep: Sweep, out: Path) -> list[Run]:
    """Every arm with every seed, seed by seed, so that arms can be compared early."""
    lengths = {arm: _total_and_phase(sweep, arm, out) for arm in sweep.arms}
    commands = {arm: preset_and_flags(sweep, arm, str(out)) for arm in sweep.arms}
    return [
        Run(
            arm=arm,
            seed=seed,
            folder=out / "runs" / f"{arm}-seed{seed}",
            log=out / "logs" / f"{arm}-seed{seed}.log",
            command=sweep.command,
            config=commands[arm][0],
            flags=tuple(commands[arm][1]),
            total=lengths[arm][0],
            phase=lengths[arm][1],
            cwd=Path.cwd(),
        )
        for seed in sweep.seeds
        for arm in sweep.arms
    ]


def require_same_settings(sweep: Sweep, runs: list[Run]) -> None:
    """Raise `UsageError` if a run has been begun with other settings or seed than its arm has now.

    What the machine is may differ. Arms and seeds may be added to the file; a folder whose runs are all of
    another sweep is refused.
    """
    known = SETTINGS[sweep.command]
    folder, names = runs[0].folder.parent, {run.name for run in runs}
    there = {path.parent.name for path in folder.glob("*/config.yaml")}
    if there and not there & names:
        raise UsageError(f"{folder}: has the runs of another sweep; give another --out")
    of_arm = {arm: _settings(config_of(sweep, arm, "the sweep")) for arm in sweep.arms}
    for run in runs:
        path = run.folder / "config.yaml"
        if not path.is_file():
            if run.state == "done":
                raise UsageError(f"{path}: missing, and yet there is a report.json; copy it, too")
            continue
        recorded = known.parse_recorded(read_yaml(path), str(path))
        if recorded.seed != run.seed:
            raise UsageError(
                f"{run.folder}: is a run with seed {recorded.seed}; give the folder its name"
            )
        then, now = _settings(recorded), of_arm[run.arm]
        other = [key for key in now if now[key] != then[key]]
        if other:
            key = other[0]
            raise UsageError(
                f"{run.folder}: was begun with {key} {then[key]!r}, arm {run.arm} has {now[key]!r} now; "
                "give the arm another name, or another --out"
            )


@dataclass(frozen=True)
class Progress:
    """How far a run is, from its metrics.csv.

    Attributes:
        fraction: of its steps, 0 to 1.
        success: of its last evaluation; `None` before the first.
        hours: of learning so far.
    """

    fraction: float
    success: float | None
    hours: float


def progress_of(run: Run) -> Progress:
    """Where a run stands; one without a row of metrics, or with one that can't be read, stands at its beginning."""
    path = run.folder / "metrics.csv"
    try:
        found = path.stat()
    except FileNotFoundError:
        return Progress(0.0, None, 0.0)
    return _progress(path, run.command, run.total, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=1_000)
def _progress(path: Path, command: str, total: int, mtime_ns: int, size: int) -> Progress:
    """Of a file as it is at that time and of that size: the live table asks twice a second."""
    counter, measure = COLUMNS[command]
    try:
        rows = read_rows(path)
        rates = [float(row[measure]) for row in rows if row.get(measure)]
        hours = [float(row["time/elapsed_hours"]) for row in rows if row.get("time/elapsed_hours")]
        done = float(rows[-1].get(counter) or 0) / total if rows else 0.0
    except (ValueError, csv.Error):  # damaged; the run itself says so when it is resumed
        return Progress(0.0, None, 0.0)
    return Progress(min(1.0, done), rates[-1] if rates else None, hours[-1] if hours else 0.0)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file; `None` where there is none, or only the first part of one.

    Raises:
        OSError: the file is there and can't be read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _total_and_phase(sweep: Sweep, arm: str, out: Path) -> tuple[int, int | None]:
    config = config_of(sweep, arm, str(out))
    if sweep.command != "train_mt10.py":
        return config.data.num_tasks, None
    in_phases = config.env.schedule == "one_by_one"
    return config.total_env_steps, config.env.steps_per_task if in_phases else None


def _settings(config: Any) -> dict[str, Any]:
    """Dotted name -> value, of what has to be the same in all runs of an arm."""
    leaves = flatten(asdict(config))
    return {
        key: value
        for key, value in leaves
        if key != "seed" and (key == EVALUATED or not key.startswith(("machine.", "recording.")))
    }
