"""Try to break training runs and files.

python -m tests.stress kills           # SIGKILL a training run at random moments
python -m tests.stress workers         # SIGKILL and SIGSTOP its simulator workers
python -m tests.stress fuzz            # damaged and malicious files to every loader
python -m tests.stress soak            # a long run, watched from outside
python -m tests.stress sweeps          # SIGKILL a sweep, its runs, a node; --backend ray or slurm
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from benchmarks.measuring import command_line, describe_machine, require_writable
from configs import UsageError, exit_on_error
from configs.command_line import parse_command
from tests.stress.clusters import has_slurm
from tests.stress.fuzz import (
    fuzz_checkpoints,
    fuzz_configs,
    fuzz_folders,
    fuzz_histories,
    fuzz_policies,
)
from tests.stress.kills import survive_kills
from tests.stress.small_run import SMALL, tell, train
from tests.stress.soak import soak
from tests.stress.sweeps import disturb_sweep, random_kinds, run_undisturbed
from tests.stress.workers import harm_workers


@dataclass(frozen=True)
class StressCommand:
    """Run a harness; it says what it found and ends with exit code 1 if anything broke."""

    what: Annotated[Literal["kills", "workers", "fuzz", "soak", "sweeps"], tyro.conf.Positional]
    """Kill training runs, harm their workers, fuzz the loaders, watch a long run, or kill a sweep."""
    count: int = 50
    """Kills, harmed workers, or files of each kind to try."""
    seed: int = 0
    """Seed of the moments and mutations."""
    config: str = "mt10"
    """What the soak trains."""
    hours: float = 1.25
    """How long the soak lasts."""
    backend: Literal["local", "ray", "slurm"] = "local"
    """Of the sweep that is killed."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Also write what was found, with a description of the machine, to this file."""


def main() -> int:
    """The command: returns the exit code."""
    command = parse_command(StressCommand, sys.argv[1:])
    _check(command)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = HARNESSES[command.what](Path(folder), command)
    found = {"minutes": round((time.monotonic() - started) / 60, 1), **found}
    print(json.dumps(found, indent=1))
    if command.json is not None:
        told = command_line("tests.stress", *sys.argv[1:])
        content = {"command": told, "machine": describe_machine(), **found}
        command.json.write_text(
            json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8"
        )
    return 1 if _broken(found) else 0


def _check(command: StressCommand) -> None:
    """Raise a `UsageError` now rather than after minutes."""
    require_writable(command.json)
    if command.count < 1:
        raise UsageError(f"--count {command.count}: nothing would be tried; give at least 1")
    if command.what == "sweeps" and command.backend == "slurm" and not has_slurm():
        raise UsageError(
            "--backend slurm: slurmctld and slurmd are not installed, or we may not start them"
        )


def _kills(folder: Path, command: StressCommand) -> dict[str, Any]:
    """A quarter of the kills with the compiled update, to hit the compiler too."""
    found: dict[str, Any] = {}
    for name, compiled, kills in (
        ("plain", False, command.count - command.count // 4),
        ("compiled", True, command.count // 4),
    ):
        (folder / name).mkdir()
        kills_found = survive_kills(
            folder / name, kills, total_env_steps=12_000, seed=command.seed, compiled=compiled
        )
        found[name] = asdict(kills_found)
    return found


def _workers(folder: Path, command: StressCommand) -> dict[str, Any]:
    return asdict(harm_workers(folder, command.count, total_env_steps=12_000, seed=command.seed))


def _fuzz(folder: Path, command: StressCommand) -> dict[str, Any]:
    harnesses = {
        "checkpoints": fuzz_checkpoints,
        "policies": fuzz_policies,
        "configs": fuzz_configs,
        "run folders": fuzz_folders,
        "reports and metrics": fuzz_histories,
    }
    run = folder / "run"
    train(*SMALL, "--total-env-steps", 1300, "--out", run)
    found: dict[str, Any] = {}
    for name, fuzz in harnesses.items():
        outcomes = fuzz(run, folder, command.count, command.seed)
        tell(f"{name}: {outcomes.refused} of {outcomes.tried} refused")
        found[name] = {**asdict(outcomes), "messages": len(outcomes.messages)}
    return found


def _soak(folder: Path, command: StressCommand) -> dict[str, Any]:
    arguments = ("--config", command.config, "--seed", command.seed, "--total-env-steps", 10**8)
    out = Path("soak.csv") if command.json is None else command.json.with_suffix(".csv")
    trends = soak(
        folder / "run", out, hours=command.hours, every_s=_SAMPLE_EVERY_S, arguments=arguments
    )
    return {name: asdict(trend) for name, trend in trends.items()}


def _sweeps(folder: Path, command: StressCommand) -> dict[str, Any]:
    """Two arms of two thousand steps, with so many seeds that the sweep outlives the kills."""
    seeds = range(1, command.count // 2 + 3)
    calm = run_undisturbed(folder / "undisturbed", seeds, steps=2_000)
    kinds = random_kinds(command.backend, command.count, command.seed)
    found = disturb_sweep(
        folder, calm, command.backend, kinds, seed=command.seed, longest_wait_s=12.0
    )
    made = sum(found.kills.values())
    if made < command.count:
        found.failures.append(f"the sweep was over after {made} of {command.count} kills")
    return asdict(found)


def _broken(found: dict[str, Any]) -> bool:
    """Whether something that should be empty is not, at any depth."""
    return any(
        bool(value) if name in SHOULD_BE_EMPTY else isinstance(value, dict) and _broken(value)
        for name, value in found.items()
    )


_SAMPLE_EVERY_S = 30.0
SHOULD_BE_EMPTY = ("differences", "failures", "left_over")
HARNESSES: dict[str, Callable[[Path, StressCommand], dict[str, Any]]] = {
    "kills": _kills,
    "workers": _workers,
    "fuzz": _fuzz,
    "soak": _soak,
    "sweeps": _sweeps,
}

if __name__ == "__main__":
    exit_on_error(main)
