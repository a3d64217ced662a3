"""Interleaved timing, medians with spread, ratios within rounds, and a description of the machine."""

from __future__ import annotations

import json
import math
import os
import shlex
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from tabulate import tabulate

from configs import UsageError
from machine.cores import processor_name, usable_cores
from machine.versions import code_version, package_versions

Name = TypeVar("Name", bound=Hashable)
FEWEST_ROUNDS = 3


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of n measurements."""

    median: float
    low: float
    high: float
    n: int

    @staticmethod
    def of(values: list[float]) -> Spread:
        """Median, 25th and 75th percentile."""
        low, median, high = np.percentile(values, [25, 50, 75]).tolist()
        return Spread(median, low, high, len(values))

    def __str__(self) -> str:
        return f"{self.median:.4g} ({self.low:.4g} to {self.high:.4g})"


@dataclass
class Result:
    """What one benchmark found: `measured` in units per line, and `ratios` between lines."""

    unit: str
    measured: dict[str, Spread] = field(default_factory=dict)
    ratios: dict[str, Spread] = field(default_factory=dict)
    notes: dict[str, object] = field(default_factory=dict)
    failed: bool = False
    """Whether something is wrong with what was measured."""

    def table(self) -> str:
        """Ratios first: the machine's mood cancels in them."""
        parts = [
            _table("ratio, median (quartiles)", self.ratios),
            _table(f"{self.unit}, median (quartiles)", self.measured),
            "\n".join(f"{name}: {value}" for name, value in self.notes.items()),
        ]
        return "\n\n".join(part for part in parts if part)

    def write(self, path: Path, command: str) -> None:
        """JSON; `ratios` maps each name to its median, `spread` holds quartiles and n."""
        content = {
            "command": command,
            "machine": describe_machine(),
            "unit": self.unit,
            "ratios": {name: spread.median for name, spread in self.ratios.items()},
            "spread": {name: asdict(spread) for name, spread in self.ratios.items()},
            "measured": {name: asdict(spread) for name, spread in self.measured.items()},
            "notes": self.notes,
        }
        path.write_text(json.dumps(content, indent=2) + "\n")


def _table(title: str, spreads: dict[str, Spread]) -> str:
    rows = [(name, spread, spread.n) for name, spread in spreads.items()]
    return tabulate(rows, ("", title, "n"), tablefmt="github", disable_numparse=True)


def interleave(
    jobs: Mapping[Name, Callable[[], float]], rounds: int, limit_s: float = math.inf
) -> dict[Name, list[float]]:
    """Run every job once per round, in turn, after an unmeasured round; what each returned.

    After `limit_s` no further round is begun, but three there are: a slow machine gets fewer.
    """
    start = time.monotonic()
    for job in jobs.values():
        job()
    measured: dict[Name, list[float]] = {name: [] for name in jobs}
    for done in range(rounds):
        if done >= FEWEST_ROUNDS and time.monotonic() - start > limit_s:
            break
        for name, job in jobs.items():
            measured[name].append(job())
    return measured


def ratio(numerator: list[float], denominator: list[float], factor: float = 1.0) -> Spread:
    """Of the ratios within each round."""
    return Spread.of(
        [factor * one / other for one, other in zip(numerator, denominator, strict=True)]
    )


HELD = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "CC", "CXX")
"""Environment variables that hold a processor to less than it has, or choose a compiler."""


def command_line(*words: str) -> str:
    """What repeats a measurement: the command, and before it those of `HELD` that are set."""
    held = [f"{name}={shlex.quote(os.environ[name])}" for name in HELD if os.environ.get(name)]
    return " ".join([*held, "python", "-m", *words])


def require_writable(path: Path | None) -> None:
    """Raise a `UsageError` for a `--json` file that can't be written: now, not after the measuring."""
    if path is None:
        return
    if not path.resolve().parent.is_dir():
        raise UsageError(f"--json {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise UsageError(f"--json {path}: is a folder; name a file in it")
    existed = path.exists()
    try:
        path.open("ab").close()
    except OSError as error:
        raise UsageError(f"--json {path}: can't be written ({error.strerror})") from error
    if not existed:
        path.unlink()


def describe_machine() -> dict[str, str | int]:
    """Processor, what torch uses of it, cores, accelerator, versions, and the commit of the code."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    return {
        "cpu": processor_name(),
        "avx512_bf16": int("avx512_bf16" in text),
        "amx_bf16": int("amx_bf16" in text),
        "used": torch.backends.cpu.get_cpu_capability(),
        "cores": usable_cores(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        **{name: version.split("+")[0] for name, version in package_versions().items()},
        "code": code_version(),
    }
