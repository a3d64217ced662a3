"""Measure this machine.

python -m benchmarks update         # gradient steps: naive, MLP, dendrites, k-winners
python -m benchmarks envs           # simulators: in process, AsyncVectorEnv, ours
python -m benchmarks loop           # the whole training loop
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from benchmarks.envs import benchmark_envs
from benchmarks.loop import benchmark_loop
from benchmarks.update import benchmark_update
from configs import UsageError, exit_on_usage_error
from configs.command_line import parse_command

BENCHMARKS = {"update": benchmark_update, "envs": benchmark_envs, "loop": benchmark_loop}


@dataclass(frozen=True)
class BenchmarkCommand:
    """Run a benchmark: all that is compared takes turns in one run. Leave the machine alone."""

    what: Annotated[Literal["update", "envs", "loop"], tyro.conf.Positional]
    """Gradient steps, simulators, or the whole training loop."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Fewer repeats and variants: under five minutes on two cores."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Also write the results, with ratios and a description of the machine, to this file."""


def main() -> int:
    """The command: returns the exit code."""
    command = parse_command(BenchmarkCommand, sys.argv[1:])
    if command.json is not None and not command.json.resolve().parent.is_dir():
        raise UsageError(f"--json {command.json}: there is no folder {command.json.parent}")
    if command.json is not None and command.json.is_dir():
        raise UsageError(f"--json {command.json}: is a folder; name a file in it")
    result = BENCHMARKS[command.what](command.quick)
    print(result.table())
    if command.json is not None:
        options = " --quick" if command.quick else ""
        result.write(command.json, f"python -m benchmarks {command.what}{options}")
    return 0


if __name__ == "__main__":
    exit_on_usage_error(main)
