"""Kill a real training run with SIGKILL, many times, and compare what comes out in the end."""

from __future__ import annotations

import os
import random
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.stress.small_run import ROOT, SMALL, command, differences, run_to_its_end, tell, train

_LONGEST_S = 12.0  # from the start of the process; some kills hit the start itself
_GONE_S = 10.0


@dataclass
class Kills:
    """What became of the runs."""

    kills: int = 0
    in_a_save: int = 0
    """Kills that left a half-written checkpoint behind."""
    before_a_checkpoint: int = 0
    """Kills of a process that had started without one."""
    runs: int = 0
    """Runs that were brought to their end, and compared with the uninterrupted one."""
    differences: dict[str, int] = field(default_factory=dict)
    """Files in which such a run differs; none should."""
    slowest_exit_s: float = 0.0
    """Longest time until every worker was gone."""
    failures: list[str] = field(default_factory=list)
    """What a run said that ended by itself and not well; none should."""
    left_over: list[str] = field(default_factory=list)
    """Processes and shared memory that stayed; none should."""


def survive_kills(
    folder: Path, kills: int, *, total_env_steps: int, seed: int, compiled: bool = False
) -> Kills:
    """Train once without a kill, then again and again with them, until there were so many.

    Args:
        folder: for the runs.
        kills: at least so many; the run that is under way then is still brought to its end.
        total_env_steps: of each run.
        seed: of the moments.
        compiled: compile the update, the killed runs with a compiler cache that is empty at first.
    """
    arguments: tuple[object, ...] = (*SMALL, "--total-env-steps", total_env_steps)
    arguments += ("--machine.compile", "auto") if compiled else ()
    whole = folder / "uninterrupted"
    train(*arguments, "--out", whole)
    moments, found = random.Random(seed), Kills()
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(folder / "cache")}
    while found.kills < kills:
        run = folder / f"killed-{found.runs}"
        while not _finished(run):
            resumable = (run / "config.yaml").is_file()
            has_checkpoint = any((run / "checkpoints").glob("step_*"))
            start = ("--resume", run) if resumable else (*arguments, "--out", run)
            if found.kills >= kills:
                done = run_to_its_end(*start)
                if done.returncode:
                    found.failures.append(done.stderr.strip()[-500:])
                    break
            elif _kill(command(*start), environment, run, moments, found):
                found.before_a_checkpoint += not has_checkpoint
            elif found.failures:
                break
        found.runs += 1
        if found.failures:
            break
        for file in differences(whole, run):
            found.differences[file] = found.differences.get(file, 0) + 1
        tell(f"run {found.runs} at its end: {found.kills} of {kills} kills so far")
    return found


def _finished(run: Path) -> bool:
    return (run / "report.md").is_file()


def _kill(
    command_line: list[str],
    environment: dict[str, str],
    run: Path,
    moments: random.Random,
    found: Kills,
) -> bool:
    """Start the command and kill it at a random moment; whether it had not ended before."""
    shared = _shared_memory()
    said = run.with_suffix(".txt")
    with said.open("w") as errors:
        process = subprocess.Popen(
            command_line, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=errors
        )
    try:
        if moments.random() < 0.5:
            _wait_for_save(process, run / "checkpoints", moments)
        else:
            with suppress(subprocess.TimeoutExpired):
                process.wait(moments.uniform(0.0, _LONGEST_S))
        if process.poll() is not None:
            if process.returncode:
                found.failures.append(said.read_text().strip()[-500:])
            return False
        workers = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.kill()
        process.wait()
    found.kills += 1
    found.in_a_save += any((run / "checkpoints").glob(".writing-*"))
    started = time.monotonic()
    _, alive = psutil.wait_procs(workers, timeout=_GONE_S)
    found.slowest_exit_s = max(found.slowest_exit_s, time.monotonic() - started)
    found.left_over += [f"process {worker.pid}" for worker in alive]
    while (new := _shared_memory() - shared) and time.monotonic() - started < _GONE_S:
        time.sleep(0.1)  # of others, who may come and go
    found.left_over += sorted(new)
    return True


def _wait_for_save(process: subprocess.Popen, folder: Path, moments: random.Random) -> None:
    """Until a random part of one of the next saves."""
    saves, last = moments.randint(1, 6), ""
    while process.poll() is None:
        draft = next((path.name for path in folder.glob(".writing-*")), last)
        saves, last = saves - (draft != last), draft
        if saves == 0:
            time.sleep(moments.uniform(0.0, 0.02))
            return
        time.sleep(0.001)


def _shared_memory() -> set[str]:
    folder = Path("/dev/shm")
    return {str(path) for path in folder.iterdir()} if folder.is_dir() else set()
