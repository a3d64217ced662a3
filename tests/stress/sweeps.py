"""Kill a sweep, its runs and its nodes, go on with it, and compare it with an undisturbed one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from configs import RunError
from sweeps.definition import read_sweep
from sweeps.runs import Run, runs_of
from tests.stress.clusters import RayNodes, kill_tree, one_node_slurm, two_ray_nodes
from tests.stress.small_run import ROOT, differences, tell

Backend = Literal["local", "ray", "slurm"]

ARMS = """
config: smoke
settings:
  total_env_steps: {steps}
  env: {{tasks: [reach-v3, drawer-close-v3]}}
  network: {{actor_hidden: [32, 32], critic_hidden: [32, 32]}}
  recording: {{log_interval_env_steps: 100, checkpoint_interval_env_steps: 300}}
  machine: {{start_method: fork}}
arms:
  dendrites:
  relu: {{network: {{activation: relu}}}}
seeds: {seeds}
"""
KINDS: dict[Backend, tuple[str, ...]] = {
    "local": ("stop", "run", "driver"),
    "ray": ("node", "stop", "run", "driver"),
    "slurm": ("warning", "stop", "run", "driver"),
}
"""What can be killed: the second node, which comes back; a job's time, by Slurm's warning; the driver by SIGTERM, which
lets the runs save; a run; the driver by SIGKILL. It is started again after both."""
_LONGEST_S = 900.0
_QUEUED_AGAIN_S = 60.0
_OFF_THE_NODE_S = 10.0
_LAST_LINES = 20


@dataclass
class Found:
    """What a harness has done, and what was wrong."""

    kills: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    saved: int = 0
    """How often a run that was asked to stop has said that it saved."""
    said: list[str] = field(default_factory=list)
    """What a sweep that ended wrong said last."""


def run_undisturbed(folder: Path, seeds: Sequence[int], steps: int) -> Path:
    """Run the sweep of both arms with these seeds to its end, locally; returns its folder."""
    folder.mkdir()
    file = folder / "two_arms.yaml"
    file.write_text(ARMS.format(steps=steps, seeds=list(seeds)))
    out = folder / "calm"
    done = subprocess.run(_command(file, out), cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RunError(f"the undisturbed sweep failed: {said[-1]}")
    return out


def random_kinds(backend: Backend, number: int, seed: int) -> list[str]:
    """So many of `KINDS`, each as often as the others, in a random order."""
    rng = random.Random(seed)
    kinds: list[str] = []
    while len(kinds) < number:
        kinds += rng.sample(KINDS[backend], len(KINDS[backend]))
    return kinds[:number]


def disturb_sweep(
    folder: Path,
    calm: Path,
    backend: Backend,
    kinds: Sequence[str],
    *,
    seed: int,
    longest_wait_s: float | None = None,
) -> Found:
    """Kill one thing after the other; then let the sweep end.

    Args:
        folder: for everything.
        calm: of the undisturbed sweep, which is the one to repeat.
        backend: of the disturbed sweep.
        kinds: of `KINDS`, in this order. One that finds nothing to kill is tried again.
        seed: of the moments.
        longest_wait_s: each kill comes after a random time up to this, one in two after some run has a row
            of metrics that is new since the kill before. By default soon after each run has one.
    """
    file, harmed = calm / "sweep.yaml", folder / "harmed"
    runs = runs_of(read_sweep(file), harmed)
    found, rng = Found(), random.Random(seed)
    with ExitStack() as stack:
        flags, environment, ways = _backend(stack, folder, backend)
        log = stack.enter_context((folder / "driver.log").open("a"))

        def start() -> psutil.Popen:
            command = [*_command(file, harmed), *flags]
            return psutil.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

        driver = _Driver(start)
        stack.callback(driver.kill)
        ways = {
            "driver": driver.kill_and_begin_again,
            "stop": driver.stop_and_begin_again,
            "run": lambda: _kill_a_run(harmed, rng),
            **ways,
        }
        for kind in kinds:
            if longest_wait_s is None:
                _wait_for_rows(runs, len(runs), driver)
            elif rng.random() < 0.5:
                _wait_for_rows(runs, 1, driver)
            time.sleep(rng.uniform(0, longest_wait_s or 0.3))
            while driver.process.poll() is None:
                if ways[kind]():
                    tell(f"kill: {kind}")
                    found.kills[kind] = found.kills.get(kind, 0) + 1
                    break
                time.sleep(0.1)
        code = driver.process.wait(_LONGEST_S)
    for wrong in [*driver.wrong, code]:
        if wrong != 0:
            found.failures.append(f"the sweep ended with {wrong}")
            found.said = (folder / "driver.log").read_text().splitlines()[-_LAST_LINES:]
            return found
    for one, other in zip(runs_of(read_sweep(file), calm), runs, strict=True):
        found.differences += [
            f"{one.name}: {what}" for what in differences(one.folder, other.folder)
        ]
    for place in _places(runs):
        found.places[place] = found.places.get(place, 0) + 1
    found.saved = sum(run.log.read_text().count("stopped; saved") for run in runs)
    return found


def _wait_for_rows(runs: Sequence[Run], number: int, driver: _Driver) -> None:
    """Until so many runs have got over the last kill, by a new row or to their end; or the sweep is over."""
    before = [(run, _rows(run)) for run in runs if run.state != "done"]
    while driver.process.poll() is None:
        over_it = sum(_rows(run) > rows or run.state == "done" for run, rows in before)
        if over_it >= min(number, len(before)):
            break
        time.sleep(0.05)


def _rows(run: Run) -> int:
    path = run.folder / "metrics.csv"
    return path.read_text().count("\n") - 1 if path.is_file() else 0  # less the header


def _backend(
    stack: ExitStack, folder: Path, backend: Backend
) -> tuple[list[str], Mapping[str, str], dict[str, Callable[[], bool]]]:
    """Flags and environment of the driver, and what else can be killed: each says whether it hit."""
    (folder / "cluster").mkdir()
    if backend == "local":
        return ["--jobs", "2"], os.environ, {}
    flags = ["--backend", backend, "--cores", "1"]
    if backend == "ray":
        nodes = stack.enter_context(two_ray_nodes(folder / "cluster"))
        return (
            [*flags, "--address", nodes.address],
            nodes.environment,
            {"node": lambda: _kill_a_node(nodes)},
        )
    environment = stack.enter_context(one_node_slurm(folder / "cluster"))
    return flags, environment, {"warning": lambda: _warn_a_job(environment)}


def _command(file: Path, out: Path) -> list[str]:
    return [sys.executable, "sweep.py", str(file), "--out", str(out)]


class _Driver:
    """The process of sweep.py, which is begun again after each harm.

    Attributes:
        process: the present one.
        wrong: exit codes after SIGTERM that are neither of a sweep that is done nor of one that was stopped.
    """

    def __init__(self, start: Callable[[], psutil.Popen]) -> None:
        self._start = start
        self.process = start()
        self.wrong: list[int] = []

    def kill(self) -> None:
        kill_tree(self.process)

    def kill_and_begin_again(self) -> bool:
        """SIGKILL, to the driver alone: its runs go on."""
        self.process.kill()
        self.process.wait()
        self.process = self._start()
        return True

    def stop_and_begin_again(self) -> bool:
        """SIGTERM, after which the runs save."""
        self.process.terminate()
        code = self.process.wait(_LONGEST_S)
        if code not in (
            0,
            128 + signal.SIGTERM,
            -signal.SIGTERM,
        ):  # the last: at once, in its first second
            self.wrong.append(code)
        self.process = self._start()
        return True


def _kill_a_run(out: Path, rng: random.Random) -> bool:
    """SIGKILL the learner of a run, whoever started it; its simulators end by themselves."""
    found = [
        process
        for process in psutil.process_iter(["cmdline"])
        if _is_run(process.info["cmdline"] or [], out) and not _is_worker(process, out)
    ]
    if found:
        rng.choice(found).kill()
    return bool(found)


def _is_run(command: Sequence[str], out: Path) -> bool:
    return any("train_mt10.py" in part for part in command) and any(
        part.startswith(str(out / "runs")) for part in command
    )


def _is_worker(process: psutil.Process, out: Path) -> bool:
    """A forked worker has the command line of its run."""
    try:
        parent = process.parent()
        return parent is None or _is_run(parent.cmdline(), out)
    except psutil.Error:  # one of them has just ended
        return True


def _kill_a_node(nodes: RayNodes) -> bool:
    """SIGKILL everything on the second node, then begin it again."""
    nodes.kill_other()
    return True


def _warn_a_job(environment: Mapping[str, str]) -> bool:
    """What Slurm sends some seconds before a job's time is over; the job is queued again, and begins soon.

    In its first second, a job doesn't listen yet, and is lost.
    """

    def jobs(state: str) -> list[str]:
        command = ["squeue", "-h", "-t", state, "-o", "%i"]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True
        ).stdout.split()

    running = jobs("RUNNING")[:1]
    for job in running:
        subprocess.run(["scancel", "--signal=USR2", job], env=environment, check=False)
        ends = time.monotonic() + _QUEUED_AGAIN_S
        while job in jobs("RUNNING,COMPLETING") and time.monotonic() < ends:
            time.sleep(0.2)
        if job not in jobs("PENDING"):  # lost, or cancelled by a new driver
            continue
        # By itself, Slurm lets it wait for two minutes. At once is too early: the node still refuses the job
        # that it has just ended ("Job credential revoked").
        time.sleep(_OFF_THE_NODE_S)
        now = ["scontrol", "update", f"JobId={job}", "StartTime=now"]
        subprocess.run(now, env=environment, check=False)
    return bool(running)


def _places(runs: Sequence[Run]) -> Iterator[str]:
    from sweeps.results import results_of

    for result in results_of(runs):
        yield from (place.split(" ")[0] for place in result.places)
