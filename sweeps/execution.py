"""One run, to its end: the ordinary command in a process of its own, whoever asked for it.

Every backend runs `execute`: in a thread here, in a task of Ray's, in a job of Slurm's. It knows the run's
folder and nothing of the sweep, so it doesn't matter who started a run first, or how that ended.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from reporting.rows import read_rows
from sweeps.runs import Run
from training.run_lock import stop_holder

ROOT = Path(__file__).resolve().parent.parent
BEGUN = "=== "
"""Begins the line of a log that says when, where and how the run was begun or resumed."""
_POLL_S = 0.2
_FRUITLESS_TRIES = 4


class Lost(str):
    """Why a run ended whose job, or the node that it was on, is gone: it may be begun again."""


class Patience:
    """With a run that is killed again and again: it may be, as long as it gets on in between."""

    def __init__(self, run: Run) -> None:
        self._run, self._rows, self._fruitless = run, _rows(run), 0

    def after_a_kill(self) -> str | None:
        """Take note that the run was killed; returns why it is given up, `None` if it is tried again."""
        rows = _rows(self._run)
        self._fruitless = 0 if rows > self._rows else self._fruitless + 1
        self._rows = max(self._rows, rows)
        if self._fruitless < _FRUITLESS_TRIES:
            return None
        return (
            f"{self._fruitless} times without getting on (out of memory?); "
            f"it said last: {_last_line(self._run)} (log: {self._run.log})"
        )


def _rows(run: Run) -> int:
    return len(read_rows(run.folder / "metrics.csv"))


def execute(run: Run, cores: int, place: str, stopping: Callable[[], bool]) -> str | None:
    """Begin a run or go on with it until it is done; returns why it is not, `None` if it is.

    A run that a signal has ended is resumed, as long as it gets on. One that another process is at is
    waited for: a driver that was killed leaves its runs behind, and they go on.

    Args:
        run: in a folder that this machine can write to.
        cores: that it may use.
        place: name of this machine or node, for the log.
        stopping: asked several times a second; once it says yes, the run saves and ends.
    """
    patience = Patience(run)
    while not stopping():
        _wait_for_others(run, stopping)
        if run.state == "done":
            return None
        if stopping():
            break
        code = _run_command(run, cores, place, stopping)
        if code == 0:
            return None
        if stopping():
            break
        if run.state in ("running", "done"):  # another process was quicker
            continue
        if not _was_killed(code):
            return f"{_last_line(run)} (exit code {code}; log: {run.log})"
        enough = patience.after_a_kill()
        if enough is not None:
            return f"killed by signal {code - 128 if code > 128 else -code}, {enough}"
    return "stopped"


def stop_leftover(run: Run) -> None:
    """Let a run save and end that a killed driver has left on this machine."""
    if stop_holder(run.folder):
        while run.state == "running":
            time.sleep(_POLL_S)


def _wait_for_others(run: Run, stopping: Callable[[], bool]) -> None:
    """Wait while another process is at the run; where we have to stop, it has to, too."""
    interrupted = True
    try:
        while run.state == "running" and not stopping():
            time.sleep(_POLL_S)
        interrupted = stopping()
    finally:  # also where Ray interrupts us
        if interrupted:
            stop_leftover(run)


def _last_line(run: Run) -> str:
    """What a failed run said last since it was begun or resumed: its error."""
    if not run.log.is_file():
        return "nothing"
    said = run.log.read_text(encoding="utf-8", errors="replace").rpartition(BEGUN)[2]
    lines = [line for line in said.splitlines()[1:] if line.strip()]
    return lines[-1] if lines else "nothing"


def _run_command(run: Run, cores: int, place: str, stopping: Callable[[], bool]) -> int:
    """The exit code; negative, or above 128, if a signal ended it."""
    run.log.parent.mkdir(parents=True, exist_ok=True)
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    script, *arguments = run.arguments(cores)
    command = [str(ROOT / script), *arguments]
    with run.log.open("a", encoding="utf-8") as log:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        log.write(f"{BEGUN}{now} on {place}: python {shlex.join(command)}\n")
        log.flush()
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=run.cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C is the driver's, who passes it on
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            while process.poll() is None and not stopping():
                time.sleep(_POLL_S)
        finally:  # also where Ray or Slurm interrupts us
            if process.poll() is None:
                process.terminate()
            code = process.wait()
        return code


def _was_killed(code: int) -> bool:
    return code < 0 or code > 128
