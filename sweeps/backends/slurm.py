"""Runs as jobs of Slurm, through submitit (https://github.com/facebookincubator/submitit).

A job executes the ordinary command. Where its time is over, or it has to make room, submitit asks it to stop 90
seconds before: the run saves, and the job is queued again. All nodes need the project, its virtual environment
and the sweep's folder under the same paths.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import signal
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from configs.errors import UsageError, one_line
from sweeps.execution import Lost, execute
from sweeps.runs import Run

if TYPE_CHECKING:
    from submitit import AutoExecutor, Job
    from submitit.helpers import DelayedSubmission

_STOP_S = 120.0
"""For the runs to save and end."""
_ANSWER_S = 30.0
_LOOK_S = 10.0
"""Between two looks at the queue."""
_LATE_S = 60.0
"""A job's result may come so much later than the job has left the queue: the disk is shared."""
_MOST_JOBS = 10_000
"""Of a run that is queued again and again."""


class SlurmBackend:
    """As many runs at a time as Slurm gives room for.

    Args:
        cores: of each run.
        gpus: of each run.
        out: folder of the sweep; submitit's own files go into slurm/ in it, in a folder for each time that the
            sweep was begun or continued: another cluster may use its jobs' numbers again.
        hours: time limit of a job; a run that takes longer is queued again and goes on.
        options: of sbatch, such as partition and account.

    Raises:
        UsageError: submitit isn't installed, this machine has no Slurm, its Slurm doesn't answer, or the jobs are
            meant for another cluster.
    """

    def __init__(
        self, cores: int, gpus: int, *, out: Path, hours: float, options: dict[str, str]
    ) -> None:
        try:
            import submitit
        except ImportError as error:
            raise UsageError(
                "--backend slurm: submitit isn't installed; pip install '.[slurm]', or use --backend local"
            ) from error
        if "clusters" in options:
            raise UsageError(
                "--slurm clusters: only the cluster here can be watched; start the sweep on a machine of the other one"
            )
        if shutil.which("sbatch") is None:
            raise UsageError(
                "--backend slurm: no sbatch here; start the sweep on a machine that submits jobs to Slurm"
            )
        try:
            _squeue()
        except _NoAnswer as error:
            raise UsageError(f"--backend slurm: Slurm doesn't answer ({error})") from error
        self._cores, self._prefix = cores, f"sweep-{_short_hash(out)}-"
        _cancel(self._prefix)  # jobs that a killed sweep left; their runs go on in new ones
        self._executor: AutoExecutor = submitit.AutoExecutor(
            out / "slurm" / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}",
            cluster="slurm",
            slurm_max_num_timeout=_MOST_JOBS,
        )
        self._executor.update_parameters(
            cpus_per_task=cores,
            **({"gpus_per_node": gpus} if gpus else {}),
            timeout_min=max(1, round(60 * hours)),
            slurm_additional_parameters=options,
        )
        self._jobs: dict[str, Job[str | None]] = {}
        # Run -> since when its job has been in the queue no more [s].
        self._missing: dict[str, float] = {}
        self._next_look = 0.0

    def submit(self, run: Run) -> None:
        """Begin a run, or go on with it, as soon as there is room.

        Raises:
            UsageError: sbatch refuses the job.
        """
        from submitit.core.utils import FailedJobError

        self._executor.update_parameters(name=f"{self._prefix}{run.name}")
        try:
            self._jobs[run.name] = self._executor.submit(_Job(run, self._cores))
        except FailedJobError as error:
            raise UsageError(f"sbatch refuses {run.name}: {_last_line(str(error))}") from error

    def finished(self) -> dict[str, str | None]:
        """How the runs have ended that have done so since the last call."""
        # Submitit would ask Slurm's accounts for them, which not every cluster keeps.
        self._look_at_queue()
        late = time.monotonic() - _LATE_S
        ended = {
            name: _outcome(job)
            for name, job in self._jobs.items()
            if job.paths.result_pickle.exists() or self._missing.get(name, late) < late
        }
        for name, outcome in ended.items():
            job = self._jobs.pop(name)
            self._missing.pop(name, None)
            if isinstance(outcome, Lost):  # the run may get another one
                _scancel([job.job_id])  # should it be there yet, it saves
        return ended

    def _look_at_queue(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_S
        try:
            queued = {job for job, _ in _squeue()}
        except _NoAnswer:  # nobody knows
            self._missing = {}
            return
        self._missing = {
            name: self._missing.get(name, now)
            for name, job in self._jobs.items()
            if job.job_id not in queued
        }

    def stop(self) -> None:
        """Let the runs save and end, and wait for them."""
        if self._jobs:
            _cancel(self._prefix)


class _Job:
    """What submitit pickles, and calls on the node."""

    _under_way: tuple[Event, Future[str | None]] | None = None

    def __init__(self, run: Run, cores: int) -> None:
        self.run, self.cores = run, cores

    def __call__(self) -> str | None:
        stop = Event()
        # Slurm's own, when the job is cancelled; submitit would ignore it
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        with ThreadPoolExecutor(1) as pool:  # in a thread, so that `checkpoint` can wait for it
            outcome = pool.submit(execute, self.run, self.cores, platform.node(), stop.is_set)
            self._under_way = stop, outcome
            why = outcome.result()
        if why is not None and stop.is_set():
            # Cancelled, or it has to make room: without a result, for the same job may be queued again.
            raise SystemExit(why)
        return why

    def checkpoint(self) -> DelayedSubmission:
        """Let the run save; returns what to go on with when the job is queued again.

        Submitit asks for it in a signal handler, then queues the job again, and then leaves the process:
        once the job is queued, Slurm gives it half a minute.
        """
        from submitit.helpers import DelayedSubmission

        if self._under_way is not None:
            stop, outcome = self._under_way
            stop.set()
            wait([outcome])
        return DelayedSubmission(_Job(self.run, self.cores))


def _outcome(job: Any) -> str | None:
    """Of a job that has left its result, or the queue without one."""
    logs = f"Slurm's job {job.job_id}; logs: {job.paths.folder}"
    if not job.paths.result_pickle.exists():
        return Lost(f"its job was killed, or its node is gone ({logs})")
    try:
        outcome: str | None = job.result()
        return outcome
    except Exception as error:  # of submitit; of a result that is not whole
        return f"{_last_line(str(error))} ({logs})"


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return one_line(lines[-1]) if lines else "no reason given"


def _cancel(prefix: str) -> None:
    """Cancel the jobs whose names begin like this, and wait until they are gone: they save first."""
    ends = time.monotonic() + _STOP_S
    while time.monotonic() < ends:
        with suppress(_NoAnswer):  # it may again, in a second
            own = [job for job, name in _squeue() if name.startswith(prefix)]
            if not own:
                return
            _scancel(own)
        time.sleep(1)


def _scancel(jobs: list[str]) -> None:
    subprocess.run(["scancel", *jobs], check=False, capture_output=True)


class _NoAnswer(Exception):
    """Of Slurm's controller; says why."""


def _squeue() -> list[tuple[str, str]]:
    """Job and name, of our jobs that are queued or running.

    Raises:
        _NoAnswer: squeue fails, or takes too long.
    """
    # A user's own filters would hide jobs.
    everything = {key: value for key, value in os.environ.items() if not key.startswith("SQUEUE_")}
    try:
        done = subprocess.run(
            ["squeue", "--me", "--all", "--noheader", "--format=%i %j"],
            env=everything,
            check=True,
            capture_output=True,
            text=True,
            timeout=_ANSWER_S,
        )
    except subprocess.TimeoutExpired as error:
        raise _NoAnswer(f"squeue takes more than {_ANSWER_S:.0f} s") from error
    except subprocess.CalledProcessError as error:
        raise _NoAnswer(_last_line(error.stderr)) from error
    parts = [line.strip().partition(" ") for line in done.stdout.splitlines()]
    return [
        (job, name) for job, _, name in parts
    ]  # a job of somebody else's project may have no name


def _short_hash(out: Path) -> str:
    return hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:8]
