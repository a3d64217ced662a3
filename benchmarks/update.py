"""Milliseconds per gradient step: naive, MLP, dendrites, with and without k-winners."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Literal

import torch

from benchmarks.costs import ceiling_ms, count_flop, measure_rates
from benchmarks.measuring import Result, Spread, interleave, ratio
from benchmarks.products import measure_products
from benchmarks.variant_process import VariantProcess
from benchmarks.variants import (
    SIZES,
    Kind,
    Precision,
    Size,
    Variant,
    eager,
    fast,
    naive,
    variants,
)
from configs import Config
from machine.cores import usable_cores
from machine.device import resolve_device, resolve_precision

RATIOS: dict[str, tuple[Kind, Kind]] = {
    "dendrites_kwinners_over_mlp": ("dendrites k-winners", "mlp"),
    "dendrites_kwinners_over_matched_mlp": ("dendrites k-winners", "matched mlp"),
    "dendrites_relu_over_mlp": ("dendrites relu", "mlp"),
}
"""Between fast variants, wherever both are measured."""
QUICK_LIMIT_S = 60.0
"""For the rounds of one size, with --quick; compiling comes before."""


def benchmark_update(quick: bool, choice: Literal["auto", "float32"]) -> Result:
    """All sizes, one after the other; the variants of a size take turns."""
    torch.set_num_threads(usable_cores())
    device = resolve_device("auto")
    dtype = resolve_precision(choice, device)
    precision: Precision = "bfloat16" if dtype == torch.bfloat16 else "float32"
    rates = measure_rates(device, dict.fromkeys((torch.float32, dtype)))
    result = Result(unit="ms per update")
    result.notes["precision of the compiled variants"] = describe_precision(choice, device)
    result.notes["threads"] = torch.get_num_threads()
    for dtype, flops in rates.items():
        result.notes[f"{_name(dtype)} GFLOP/s of a large product"] = round(flops / 1e9)
    for size in SIZES:
        if quick and not size.in_quick:
            continue
        times = _measure(size, variants(size, quick, precision), quick)
        result.measured |= {str(variant): Spread.of(ms) for variant, ms in times.items()}
        result.ratios |= ratios(size, precision, times)
        ours = fast(size, "dendrites k-winners", precision)
        result.ratios |= products_ratio(size, ours.config())
        products = ceiling_ms(count_flop(ours.config(), device), rates)
        share = products / result.measured[str(ours)].median
        result.notes[f"products alone, {ours}"] = f"{products:.1f} ms, {share:.0%} of the update"
    return result


def products_ratio(size: Size, config: Config) -> dict[str, Spread]:
    """k-winners and the map after them alone, losers left out over dense; nothing where they are not."""
    network = config.network
    times = measure_products(
        network.critic_hidden[0], config.replay.batch_size, network.winners_density[0]
    )
    name = f"kwinners_sparse_over_dense{size.suffix}"
    return {} if times is None else {name: ratio(*times)}


def describe_precision(choice: Literal["auto", "float32"], device: torch.device) -> str:
    """Which precision a choice means on this machine, and why."""
    native = resolve_precision("auto", device) == torch.bfloat16
    if choice == "float32":
        auto = "bfloat16" if native else "float32 too"
        return f"float32, as asked for; auto is {auto} on this machine"
    if native:
        return "bfloat16, which this machine multiplies natively"
    return "float32; bfloat16 is not native on this machine"


def ratios(
    size: Size, precision: Precision, times: Mapping[Variant, list[float]]
) -> dict[str, Spread]:
    """The ratios whose both sides were measured."""
    ours = fast(size, "dendrites k-winners", precision)
    pairs = {
        name: (fast(size, top, precision), fast(size, bottom, precision))
        for name, (top, bottom) in RATIOS.items()
    }
    pairs["naive_over_ours"] = naive(size), ours
    pairs["naive_over_eager"] = naive(size), eager(size)
    return {
        name + size.suffix: ratio(times[top], times[bottom])
        for name, (top, bottom) in pairs.items()
        if top in times and bottom in times
    }


def _measure(size: Size, group: list[Variant], quick: bool) -> dict[Variant, list[float]]:
    """Milliseconds per update in each round, every variant in a process of its own."""
    rounds, limit_s = (size.rounds, QUICK_LIMIT_S) if quick else (2 * size.rounds, math.inf)
    with ExitStack() as stack:
        processes = []
        for variant in group:
            processes.append(VariantProcess(variant))
            stack.callback(processes[-1].close)
        for process in processes:
            process.wait()
        jobs = {process.variant: partial(process.measure, size.updates) for process in processes}
        return interleave(jobs, rounds, limit_s)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
