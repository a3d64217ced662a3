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
arms:
  dendrites:
  relu: {{network: {{activation: relu}}}}
seeds: {seeds}
"""
_LONGEST_S = 900.0


@dataclass
class Found:
    """What a harness has done, and what was wrong."""

    kills: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)


def run_undisturbed(folder: Path, seeds: Sequence[int], steps: int) -> Path:
    """Run the sweep of both arms with these seeds to its end, locally; returns its folder."""
    folder.mkdir()
    file = folder / "two_arms.yaml"
    file.write_text(ARMS.format(steps=steps, seeds=list(seeds)))
    out = folder / "calm"
    subprocess.run(_command(file, out), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return out


def disturb_sweep(folder: Path, calm: Path, backend: Backend, *, kills: int, seed: int) -> Found:
    """Kill so many things, one after the other at random moments; then let the sweep end.

    Args:
        folder: for everything.
        calm: of the undisturbed sweep, which is the one to repeat.
        backend: of the disturbed sweep.
        kills: in all. Each is of the driver, which is started again, of a run, or SIGTERM to the driver, which
            lets the runs save; with Ray also of a node, which comes back, with Slurm also the warning that a
            job's time is over. Each kind as often as the others; one that finds nothing to kill does not count.
        seed: of the moments.
    """
    file, harmed = calm / "sweep.yaml", folder / "harmed"
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
        while sum(found.kills.values()) < kills:
            time.sleep(rng.uniform(1, 12))
            if driver.process.poll() is not None:
                break  # done already
            # Each kind as often as the others, in any order.
            for name in sorted(ways, key=lambda kind: (found.kills.get(kind, 0), rng.random())):
                if ways[name]():
                    tell(f"kill: {name}")
                    found.kills[name] = found.kills.get(name, 0) + 1
                    break
        code = driver.process.wait(_LONGEST_S)
    for wrong in [*driver.wrong, code]:
        if wrong != 0:
            found.failures.append(f"the sweep ended with {wrong}")
            return found
    sweep = read_sweep(file)
    for one, other in zip(runs_of(sweep, calm), runs_of(sweep, harmed), strict=True):
        found.differences += [
            f"{one.name}: {what}" for what in differences(one.folder, other.folder)
        ]
    for place in _places(runs_of(sweep, harmed)):
        found.places[place] = found.places.get(place, 0) + 1
    return found


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
        if _is_run(process.info["cmdline"] or [], out)
    ]
    if found:
        rng.choice(found).kill()
    return bool(found)


def _is_run(command: Sequence[str], out: Path) -> bool:
    return any("train_mt10.py" in part for part in command) and any(
        part.startswith(str(out / "runs")) for part in command
    )


def _kill_a_node(nodes: RayNodes) -> bool:
    """SIGKILL everything on the second node, then begin it again."""
    nodes.kill_other()
    return True


def _warn_a_job(environment: Mapping[str, str]) -> bool:
    """What Slurm sends some seconds before a job's time is over."""
    done = subprocess.run(
        ["squeue", "-h", "-t", "R", "-o", "%i"], env=environment, capture_output=True, text=True
    )
    jobs = done.stdout.split()[:1]
    for job in jobs:
        subprocess.run(["scancel", "--signal=USR2", job], env=environment, check=False)
    return bool(jobs)


def _places(runs: Sequence[Run]) -> Iterator[str]:
    from sweeps.results import results_of

    for result in results_of(runs):
        yield from (place.split(" ")[0] for place in result.places)
