"""Kill and freeze the simulator workers of a real training run, and compare what comes out in the end."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.stress.small_run import ROOT, SMALL, command, differences, tell, train

TIMEOUT_S = 3.0


@dataclass
class HarmedWorkers:
    """What became of the runs."""

    killed: int = 0
    frozen: int = 0
    runs: int = 0
    differences: dict[str, int] = field(default_factory=dict)
    """Files in which a run with harmed workers differs from one without; none should."""
    failures: list[str] = field(default_factory=list)
    """Runs that did not end well; none should."""
    left_over: list[str] = field(default_factory=list)
    """Processes that stayed; none should."""


def harm_workers(folder: Path, harms: int, *, total_env_steps: int, seed: int) -> HarmedWorkers:
    """Train once undisturbed, then again and again with harmed workers, until there were so many.

    Args:
        folder: for the runs.
        harms: so many.
        total_env_steps: of each run.
        seed: of the moments.
    """
    arguments = (
        *SMALL,
        *("--total-env-steps", total_env_steps, "--machine.workers", 2),
        *("--machine.step-timeout-s", TIMEOUT_S, "--machine.worker-restarts", 1000),
    )
    whole = folder / "undisturbed"
    train(*arguments, "--out", whole)
    moments, found = random.Random(seed), HarmedWorkers()
    while found.killed + found.frozen < harms:
        run = folder / f"harmed-{found.runs}"
        said = folder / f"{run.name}.txt"
        with said.open("w") as errors:
            process = subprocess.Popen(
                command(*arguments, "--out", run),
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        try:
            workers = _harm(process, moments, found, harms, run / "metrics.csv", said)
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            found.failures.append(said.read_text().strip()[-500:])
        else:
            for file in differences(whole, run, ignore=("train/worker_restarts",)):
                found.differences[file] = found.differences.get(file, 0) + 1
        _, alive = psutil.wait_procs(workers, timeout=10)
        found.left_over += [f"process {worker.pid}" for worker in alive]
        found.runs += 1
        tell(f"run {found.runs} at its end: {found.killed + found.frozen} of {harms} harmed so far")
    return found


def _harm(
    process: subprocess.Popen,
    moments: random.Random,
    found: HarmedWorkers,
    most: int,
    metrics: Path,
    said: Path,
) -> list[psutil.Process]:
    """Harm a random worker now and then, until there were `most`, while the run goes on; every worker there was.

    The next one comes when the last is mended and the run has got on: a worker that fails again at the
    same step costs its episodes, as docs/reliability.md says.
    """
    seen: set[psutil.Process] = set()
    harmed = mended = size_then = 0
    while process.poll() is None:
        time.sleep(moments.uniform(0.02, 1.0))
        workers = _workers(process.pid)
        seen |= set(workers)
        size = metrics.stat().st_size if metrics.is_file() else 0
        count = said.read_text().count("; restarted,")
        if count > mended:
            mended, size_then = count, size
        if found.killed + found.frozen == most:
            continue
        if mended == harmed and size > size_then and workers:
            number = moments.choice([signal.SIGKILL, signal.SIGSTOP])
            try:
                moments.choice(workers).send_signal(number)
            except psutil.NoSuchProcess:
                continue
            harmed += 1
            found.killed += number == signal.SIGKILL
            found.frozen += number == signal.SIGSTOP
    return list(seen)


def _workers(trainer: int) -> list[psutil.Process]:
    """The trainer's simulator processes, by age."""
    try:
        children = psutil.Process(trainer).children()
        return [
            child for child in children if any("spawn_main" in part for part in child.cmdline())
        ]
    except psutil.NoSuchProcess:
        return []
