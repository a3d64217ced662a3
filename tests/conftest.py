"""Shared by the tests: goal lists, one finished tiny run, and the commands run as a user runs them."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from matplotlib.figure import Figure

# A busy machine is not a failure, and CI tries the same examples every time.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import train_mt10  # noqa: E402
from configs import MT10, exit_on_error  # noqa: E402
from envs import GoalLists, Step, make_goal_lists  # noqa: E402

Main = Callable[[], int]

TINY_STEPS = 820
TINY = [
    *("--config", "smoke"),
    *("--env.tasks", "reach-v3", "drawer-close-v3", "--env.horizon", "25"),
    *("--network.actor-hidden", "32", "32", "--network.critic-hidden", "32", "32"),
    *("--exploration.random-env-steps", "200", "--training.updates-per-vector-step", "0.5"),
    *("--evaluation.horizon", "25", "--evaluation.copies-per-task", "1"),
    *("--exploration.hold-rate", "0.2"),  # so that a stop comes in the middle of a hold
    *("--agent.final-lr-fraction", "1"),  # else the learning rates depend on the run's length
    *("--recording.log-interval-env-steps", "150", "--evaluation.interval-env-steps", "300"),
    *("--recording.checkpoint-interval-env-steps", "250"),
    # in a process that has torch already: forked simulators are there at once
    *("--machine.workers", "1", "--machine.threads", "1", "--machine.start-method", "fork"),
    *("--total-env-steps", str(TINY_STEPS)),
]
"""Two tasks, small networks, short episodes; every part of a run comes within seconds."""


# --- what all tests of a session share -----------------------------------------------------------


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all processes of this session."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def _cache_of_this_session(shared_folder: Path) -> None:
    """Goal lists and kernels are made once in a session, whatever the user's own cache holds."""
    os.environ["XDG_CACHE_HOME"] = str(shared_folder / "cache")
    fonts = Path("~/.cache/matplotlib").expanduser()  # matplotlib needs seconds to list them anew
    os.environ.setdefault("MPLCONFIGDIR", str(fonts))


@pytest.fixture(autouse=True)
def _subnormals() -> Iterator[None]:
    """A run that a test made in this process flushed them; the next test has them again."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def goal_lists(shared_folder: Path) -> GoalLists:
    """The goals of MT10 with seed 0."""
    with FileLock(shared_folder / "goals.lock"):
        return make_goal_lists(MT10, seed=0)


@pytest.fixture(scope="session")
def tiny_run(shared_folder: Path) -> Path:
    """A finished run with the settings in `TINY`; who changes it copies it.

    What it said is in `tiny-run.txt` beside it, stdout and stderr.
    """
    run = shared_folder / "tiny-run"
    with FileLock(shared_folder / "tiny-run.lock"):
        if not (run / "report.md").is_file():
            done = train(run)
            run.with_suffix(".txt").write_text(done.stdout + done.stderr)
    return run


@pytest.fixture
def copied_run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(tiny_run, tmp_path / "copied"))


# --- the commands --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """What a command has left behind."""

    returncode: int
    stdout: str
    stderr: str


def in_process(main: Main, *arguments: object) -> Done:
    """Run a command as its script does, but in this process, where torch is there at once."""
    name = "train_mt10.py" if main is train_mt10.main else f"{main.__module__}.py"
    out, err = StringIO(), StringIO()
    with (
        patch.object(sys, "argv", [name, *map(str, arguments)]),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as left,
    ):
        exit_on_error(main)
    return Done(left.value.code or 0, out.getvalue(), err.getvalue())


def train(out: Path, *arguments: object) -> Done:
    """Train into a new run folder; fails the test if the command fails."""
    return succeed(train_mt10.main, *TINY, "--out", out, *arguments)


def resume(run: Path, *arguments: object) -> Done:
    """Go on with a run; fails the test if the command fails."""
    return succeed(train_mt10.main, "--resume", run, *arguments)


def succeed(main: Main, *arguments: object) -> Done:
    """Run a command in this process; fails the test if the command fails."""
    done = in_process(main, *arguments)
    assert done.returncode == 0, done.stderr
    return done


def refused(main: Main, *arguments: object) -> str:
    """What a command says that ends with exit code 2 and exactly one line on stderr."""
    done = in_process(main, *arguments)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    return done.stderr


@contextmanager
def training_process(said: Path, *arguments: object) -> Iterator[BaseProcess]:
    """train_mt10.py in a process of its own, forked from this one; what it says goes to a file."""

    def run() -> None:
        sys.argv = ["train_mt10.py", *map(str, arguments)]
        with said.open("w", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
            exit_on_error(train_mt10.main)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def assert_same_steps(left: list[Step], right: list[Step]) -> None:
    """Whatever became of the workers."""
    for one, other in zip(left, right, strict=True):
        for name in set(Step._fields) - {"worker_restarts"}:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def wait_until(reached: Callable[[], bool]) -> None:
    """Wait for a process to come so far."""
    deadline = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.005)


def rows_written(run: Path) -> int:
    """Rows of metrics.csv so far."""
    path = run / "metrics.csv"
    return path.read_text().count("\n") - 1 if path.is_file() else 0


def run_script(script: str, *arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """Run one of the two commands in a new process and wait for it."""
    return run_python(ROOT / script, *arguments, cwd=cwd)


def run_python(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """Run this Python with arguments and wait for it."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
    )


def rows_without_time(run: Path) -> list[list[str]]:
    """metrics.csv as text cells, less the columns that depend on the clock."""
    lines = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    keep = [i for i, name in enumerate(lines[0]) if not name.startswith("time/")]
    return [[line[i] for i in keep] for line in lines]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that the test saves, in their order."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep_and_save(figure: Figure, *arguments: Any, **options: Any) -> None:
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep_and_save)
    return figures
