"""A GPU: whether its updates are those of the CPU, and how long they take."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Generator, Tensor

from agent.batch import Batch
from agent.first_update import learner_device
from agent.plan import Plan, resolve
from agent.sac import SAC
from benchmarks.measuring import Result, Spread, describe_machine, interleave, ratio
from benchmarks.random_batch import random_batch
from benchmarks.update import QUICK_LIMIT_S, describe_precision
from benchmarks.variant_process import VariantProcess
from benchmarks.variants import SIZES, Mode, Precision, Size, Variant
from configs import Config, UsageError, load_config
from machine.compilation import Compiled
from machine.cores import usable_cores
from machine.device import configure_cpu, resolve_precision

CPU = torch.device("cpu")
UPDATES = 5
"""That are compared. Rounding differs, so winners and small gradients' signs differ more and more."""
LOSS_TOLERANCE, STEP_TOLERANCE, LEAST_SHARE = 1e-4, 0.1, 0.99
GPU_UPDATES = 50
"""In a round, where the CPU does `Size.updates`."""


class Report(Result):
    """A result whose table is what to send us."""

    def table(self) -> str:
        """The measurements between two lines to copy from and to."""
        head = "----- please send us what follows (an issue will do) -----"
        return f"{head}\n\n{super().table()}\n\n----- until here -----"


@dataclass(frozen=True)
class Agreement:
    """How far two agents are apart that began equal and had the same batches and noise."""

    losses: float
    """Largest difference of a loss, mean Q, entropy or temperature, relative to its size or 1."""
    parameters: float
    """Share of the parameters that differ by less than a tenth of a step of the optimiser."""

    @property
    def holds(self) -> bool:
        """Whether rounding explains it."""
        return self.losses < LOSS_TOLERANCE and self.parameters >= LEAST_SHARE

    def __str__(self) -> str:
        return (
            f"{'as on the CPU' if self.holds else 'NOT as on the CPU'}: after {UPDATES} updates losses "
            f"within {self.losses:.1e}, {self.parameters:.2%} of the parameters the same"
        )


@dataclass(frozen=True)
class Timed:
    """A variant of the update on a device, for `VariantProcess`."""

    variant: Variant
    device: Literal["cpu", "cuda"]

    @property
    def kind(self) -> str:
        """Of its networks."""
        return self.variant.kind

    def config(self) -> Config:
        """The variant's, on the device."""
        config = self.variant.config()
        return replace(config, machine=replace(config.machine, device=self.device))

    def __str__(self) -> str:
        where = "GPU" if self.device == "cuda" else f"{usable_cores()} CPU threads"
        return f"{self.variant}, {where}"


def benchmark_gpu(quick: bool, precision: Literal["auto", "float32"]) -> Report:
    """Compares in float32, then times: all variants of a size take turns.

    Raises:
        UsageError: there is no GPU, or it fails.
    """
    if not torch.cuda.is_available():
        raise UsageError("gpu: torch finds no GPU here (torch.cuda.is_available() is false)")
    config = load_config("mt10")
    device = learner_device(replace(config, machine=replace(config.machine, device="cuda")))
    configure_cpu(usable_cores())
    report = Report(unit="ms per update")
    modes: tuple[Mode, ...] = ("eager", "compiled")
    for mode in modes:
        variant = Variant(SIZES[0], "dendrites k-winners", mode, "float32")
        agreement = compare_updates(variant.config(), device)
        report.notes[f"updates on the GPU, {mode} float32"] = str(agreement)
        report.failed |= not agreement.holds
    report.notes["compiler"] = "fails here, so eager" if Compiled.failed else "works"
    for size in SIZES:
        if size.in_quick or not quick:
            _time(report, size, precision, quick)
    report.notes["precision on the CPU"] = describe_precision(precision, CPU)
    report.notes["precision on the GPU"] = describe_precision(precision, device)
    capability = torch.cuda.get_device_capability(device)
    report.notes |= {**describe_machine(), "cuda": torch.version.cuda, "capability": capability}
    return report


def compare_updates(config: Config, device: torch.device) -> Agreement:
    """The agent of a config on a device, and the same without the compiler on the CPU."""
    plain = replace(config, machine=replace(config.machine, compile="never"))
    plans = resolve(config, device), resolve(plain, CPU)
    there, here = (SAC(plan, Generator().manual_seed(0)) for plan in plans)
    return compare(there, here, zip(*map(_batches, plans), strict=True))


def _batches(plan: Plan) -> list[tuple[Batch, Tensor]]:
    generator = Generator().manual_seed(1)
    return [random_batch(plan, generator) for _ in range(UPDATES)]


def compare(
    there: SAC, here: SAC, batches: Iterable[tuple[tuple[Batch, Tensor], tuple[Batch, Tensor]]]
) -> Agreement:
    """Do the updates with each pair of batch and noise (there, here)."""
    losses = 0.0
    for theirs, ours in batches:
        metrics, expected = there.update(*theirs), here.update(*ours)
        for name, value in expected.items():
            difference = (metrics[name].cpu() - value).abs() / value.abs().clamp(min=1)
            losses = max(losses, torch.nan_to_num(difference, nan=math.inf).max().item())
    step = here.settings.critic_lr  # what AdamW moves a parameter by, at most and at first
    near = [
        (mine.detach().cpu() - other.detach()).abs() < STEP_TOLERANCE * step
        for mine, other in zip(there.parameters(), here.parameters(), strict=True)
        if other.requires_grad
    ]
    return Agreement(losses, torch.cat([one.flatten() for one in near]).float().mean().item())


def _time(report: Report, size: Size, choice: Literal["auto", "float32"], quick: bool) -> None:
    """Milliseconds per update at one size, on either device."""

    def fast(device: Literal["cpu", "cuda"], mode: Mode = "compiled") -> Timed:
        native = resolve_precision(choice, torch.device(device)) == torch.bfloat16
        precision: Precision = "bfloat16" if native else "float32"
        return Timed(Variant(size, "dendrites k-winners", mode, precision), device)

    plain = Timed(Variant(size, "dendrites k-winners", "compiled", "float32"), "cuda")
    variants = dict.fromkeys([fast("cpu"), fast("cuda"), fast("cuda", "eager"), plain])
    rounds, limit_s = (size.rounds, QUICK_LIMIT_S) if quick else (2 * size.rounds, math.inf)
    with ExitStack() as stack:
        jobs = {}
        for variant in variants:
            process = VariantProcess(variant)
            stack.callback(process.close)
            process.wait()  # one after the other: they share the GPU
            updates = size.updates if variant.device == "cpu" else GPU_UPDATES
            jobs[variant] = partial(process.measure, updates)
        times = interleave(jobs, rounds, limit_s)
    report.measured |= {str(variant): Spread.of(values) for variant, values in times.items()}
    cpu, gpu, eager = (times[one] for one in (fast("cpu"), fast("cuda"), fast("cuda", "eager")))
    report.ratios[f"cpu_over_gpu{size.suffix}"] = ratio(cpu, gpu)
    report.ratios[f"gpu_eager_over_gpu{size.suffix}"] = ratio(eager, gpu)
