"""Measure this machine.

python -m benchmarks update         # gradient steps: naive, MLP, dendrites, k-winners
python -m benchmarks envs           # simulators: in process, AsyncVectorEnv, ours
python -m benchmarks workers        # simulators: processes here, against actors of Ray's by latency
python -m benchmarks loop           # the whole training loop
python -m benchmarks peers          # gradient steps: ours against Stable-Baselines3's SAC
python -m benchmarks permuted       # gradient steps of train_permuted_mnist.py: silent units left out, or not
python -m benchmarks gpu            # a GPU: is its update that of the CPU, and how fast is it

`--quick` takes under five minutes on two cores. The compiled update is measured in the precision
that `machine.precision: auto` chooses, bfloat16 where the machine multiplies it natively;
`--precision float32` gives the figures of a machine that does not.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from benchmarks.measuring import Result, command_line, require_writable
from configs import UsageError, exit_on_error
from configs.command_line import parse_command


@dataclass(frozen=True)
class BenchmarkCommand:
    """Run a benchmark: all that is compared takes turns in one run. Leave the machine alone."""

    what: Annotated[
        Literal["update", "envs", "workers", "loop", "peers", "permuted", "gpu"],
        tyro.conf.Positional,
    ]
    """Gradient steps, simulators, simulators elsewhere, the whole training loop, Stable-Baselines3, permuted images, or a GPU."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Fewer repeats and variants: under five minutes on two cores."""
    precision: Literal["auto", "float32"] = "auto"
    """Of the fast update, everywhere but in envs and workers: auto is what the machine would train with."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Also write the results, with ratios and a description of the machine, to this file."""


def main() -> int:
    """The command: returns the exit code."""
    command = parse_command(BenchmarkCommand, sys.argv[1:])
    _check(command)
    result = _run(command)
    print(result.table())
    if command.json is not None:
        result.write(command.json, _as_typed(command))
    return int(result.failed)


def _check(command: BenchmarkCommand) -> None:
    """Raise a `UsageError` now rather than after minutes of measuring."""
    if command.what in ("envs", "workers") and command.precision != "auto":
        raise UsageError(f"--precision {command.precision}: simulators have none; leave it out")
    require_writable(command.json)


def _run(command: BenchmarkCommand) -> Result:
    # Imported only now, so that --help and a wrong flag are answered at once.
    if command.what == "update":
        from benchmarks.update import benchmark_update

        return benchmark_update(command.quick, command.precision)
    if command.what == "envs":
        from benchmarks.envs import benchmark_envs

        return benchmark_envs(command.quick)
    if command.what == "workers":
        from benchmarks.workers import benchmark_workers

        return benchmark_workers(command.quick)
    if command.what == "peers":
        from benchmarks.peers import benchmark_peers

        return benchmark_peers(command.quick, command.precision)
    if command.what == "permuted":
        from benchmarks.permuted import benchmark_permuted

        return benchmark_permuted(command.quick, command.precision)
    if command.what == "gpu":
        from benchmarks.gpu import benchmark_gpu

        return benchmark_gpu(command.quick, command.precision)
    from benchmarks.loop import benchmark_loop

    return benchmark_loop(command.quick, command.precision)


def _as_typed(command: BenchmarkCommand) -> str:
    """The command line that gives this result again."""
    quick = ("--quick",) if command.quick else ()
    precision = () if command.precision == "auto" else ("--precision", command.precision)
    return command_line("benchmarks", command.what, *quick, *precision)


if __name__ == "__main__":
    exit_on_error(main)
