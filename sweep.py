"""Run a comparison of many seeds, on this machine or on many, and answer it with intervals.

    python sweep.py examples/two_ideas.yaml --out runs/two_ideas    # begin, or go on after a stop
    python sweep.py examples/two_ideas.yaml --out runs/two_ideas --dry-run
    python sweep.py runs/two_ideas --report                         # the answer so far

Each run is the ordinary command in its ordinary folder, runs/two_ideas/runs/ARM-seedN, which can be
looked at, resumed and evaluated alone. A sweep keeps no other state.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from configs import UsageError, exit_on_error
from configs.command_line import parse_command
from machine.interpreter import this_python

if TYPE_CHECKING:
    from sweeps.runs import Run

COPY = "sweep.yaml"
"""In the sweep's folder: the file that it was last begun or continued with."""

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]


@dataclass(frozen=True)
class SweepCommand:
    """Run every arm of a sweep file with every seed, then compare the arms."""

    target: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE|DIR")]
    """The sweep file, or the folder of a sweep that was begun before."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the sweep; given again, it goes on with what is left."""
    backend: Literal["local", "ray", "slurm"] = "local"
    """Where the runs are executed."""
    jobs: int | None = None
    """Runs at a time, at most; default: local: one for each core; ray, slurm: all that there is room for."""
    cores: int | None = None
    """Cores of each run; default: local: its share of this machine's; ray, slurm: 2."""
    gpus: int = 0
    """ray, slurm: GPUs of each run."""
    address: str | None = None
    """ray: of the cluster, HOST:PORT; default: a cluster of this machine alone, for the time of the sweep."""
    slurm: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE")] = ()
    """slurm: options of sbatch, such as partition=short account=lab."""
    hours: float = 24.0
    """slurm: time limit of a job; a run that takes longer goes on in another job."""
    dry_run: Flag = False
    """Print the runs and the forecast of time, memory and disk, and stop."""
    report: Flag = False
    """Only write the answer from the runs that are done."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: returns the exit code. `arguments` are those of the command line by default."""
    command = parse_command(SweepCommand, sys.argv[1:] if arguments is None else arguments)
    check_flags(command)
    file, out = places(command)
    # Imported only now, so that --help and a wrong flag are answered at once.
    from machine.console import configure_logging
    from sweeps.answer import write_answer
    from sweeps.definition import (
        read_sweep,
        refuse_simulators_on_ray,
        settings_without_effect,
    )
    from sweeps.forecast import describe_sweep
    from sweeps.results import results_of
    from sweeps.runs import require_same_settings, runs_of

    configure_logging()
    sweep = read_sweep(file)
    if command.backend == "ray":
        refuse_simulators_on_ray(sweep, str(file))
    runs = runs_of(sweep, out)
    require_same_settings(sweep, runs)
    if command.report:
        print(write_answer(sweep, runs, out))
        return 0
    for note in settings_without_effect(sweep, str(file)):
        print(note)
    if command.dry_run:
        print(describe_sweep(sweep, runs, *jobs_and_cores(command, len(runs))))
        return 0
    results_of(runs)  # a file that the answer can't be made from is better known now
    failed, signal = work(command, file, out, runs)
    for name, why in failed.items():
        print(f"{name}: {why}", file=sys.stderr)
    if signal is not None:
        print(f"stopped; go on with: {to_go_on(command, out)}")
        return 128 + signal
    print(write_answer(sweep, runs, out))
    if failed:
        raise UsageError(
            f"{len(failed)} of {len(runs)} runs failed; fix this, then: {to_go_on(command, out)}"
        )
    return 0


def work(
    command: SweepCommand, file: Path, out: Path, runs: list[Run]
) -> tuple[dict[str, str], int | None]:
    """Work off the runs that are left.

    Returns:
        name -> why, of the runs that failed; the signal that has stopped the sweep, if one has.
    """
    from sweeps.backends import make_backend
    from sweeps.console import SweepConsole
    from sweeps.driver import work_off
    from training.run_lock import lock_run
    from training.stop_signals import StopSignals

    out.mkdir(parents=True, exist_ok=True)
    with lock_run(out):  # a second driver would cancel this one's jobs
        jobs, cores = jobs_and_cores(command, len(runs))
        backend = make_backend(
            command.backend,
            jobs,
            cores,
            out=out,
            gpus=command.gpus,
            address=command.address,
            hours=command.hours,
            slurm=dict(option.split("=", 1) for option in command.slurm),
        )
        keep(file, out)
        # After the backend, for Ray takes SIGTERM for itself.
        with (
            StopSignals("stopping; the runs save first", again="the runs still save") as signals,
            SweepConsole(runs) as console,
        ):
            failed, stopped = work_off(runs, backend, jobs, signals, console.show)
            return failed, signals.received if stopped else None


def to_go_on(command: SweepCommand, out: Path) -> str:
    """The command that goes on with the sweep, where and as it was run."""
    given = {"backend", "jobs", "cores", "gpus", "address", "hours"}
    flags = [
        f"--{field.name} {getattr(command, field.name)}"
        for field in fields(command)
        if field.name in given and getattr(command, field.name) != field.default
    ]
    slurm = ["--slurm", *command.slurm] if command.slurm else []
    words = [this_python(), "sweep.py", shlex.quote(str(out)), *flags, *map(shlex.quote, slurm)]
    return " ".join(words)


def places(command: SweepCommand) -> tuple[Path, Path]:
    """The sweep file, and the folder of the sweep."""
    target, out = command.target, command.out
    if target.is_dir():
        if out is not None:
            raise UsageError("--out: not with the folder of a sweep, which goes on in itself")
        if not (target / COPY).is_file():
            raise UsageError(f"{target}: no sweep there (no {target / COPY})")
        return target / COPY, target.resolve()
    if not target.is_file():
        raise UsageError(f"{target}: no such sweep file or folder")
    if out is None:
        raise UsageError(f"--out: give a folder for the sweep, such as runs/{target.stem}")
    if out.exists() and not (out.is_dir() and _may_be_a_sweep(out)):
        raise UsageError(f"--out {out}: holds something else than a sweep; give another folder")
    return target, out.resolve()


def _may_be_a_sweep(folder: Path) -> bool:
    """Whether a sweep has begun in it, was killed before that, or was given runs of another one, or it is empty."""
    from training.run_lock import LOCK

    holds = {path.name for path in folder.iterdir()}
    return holds <= {LOCK} or (folder / COPY).is_file() or (folder / "runs").is_dir()


def keep(file: Path, out: Path) -> None:
    """Copy the sweep file into the sweep's folder, for --report and for going on."""
    if file.resolve() != out / COPY:
        (out / COPY).write_bytes(file.read_bytes())


def jobs_and_cores(command: SweepCommand, runs: int) -> tuple[int, int]:
    """Runs at a time, and cores of each; of all runs, so that a continued sweep has the same."""
    from machine.cores import usable_cores

    if command.backend != "local":
        return command.jobs or runs, command.cores or 2
    cores = usable_cores()
    if command.cores is not None and command.cores > cores:
        raise UsageError(f"--cores {command.cores}: more than this machine has, {cores}")
    jobs = command.jobs or cores // (command.cores or 1)
    jobs = max(1, min(jobs, runs))
    return jobs, command.cores or max(1, cores // jobs)


def check_flags(command: SweepCommand) -> None:
    """What the types do not say."""
    if command.dry_run and command.report:
        raise UsageError("--dry-run, --report: give one of them")
    for name in ("jobs", "cores"):
        value = getattr(command, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name} {value}: give 1 or more")
    for option in command.slurm:
        if not option.partition("=")[2] or command.backend != "slurm":
            raise UsageError(f"--slurm {option}: give KEY=VALUE, with --backend slurm")
    if not 0 < command.hours < inf:
        raise UsageError(f"--hours {command.hours:g}: give more than 0, and an end")
    if command.hours != SweepCommand.hours and command.backend != "slurm":
        raise UsageError(f"--hours {command.hours:g}: is Slurm's time limit; add --backend slurm")
    if command.gpus < 0 or (command.gpus and command.backend == "local"):
        raise UsageError(f"--gpus {command.gpus}: 0 or more, with --backend ray or slurm")
    if command.address is not None and command.backend != "ray":
        raise UsageError("--address: is that of a Ray cluster; add --backend ray")


if __name__ == "__main__":
    exit_on_error(main)
