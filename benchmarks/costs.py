"""What an update costs at least: FLOP of its matrix products, and the machine's rates."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from agent.plan import resolve
from agent.sac import SAC
from benchmarks.random_batch import random_batch
from configs import Config

Flop = Mapping[torch.dtype, float]


def _of_winners(_: Tensor, weight: Tensor, *rest: Any, out_val: Tensor | tuple[Tensor, ...]) -> int:
    """A multiply-add for each winner in the lists and each output (dendrites/winners_product.py)."""
    spans = out_val[-1] if isinstance(out_val, tuple) else rest[-1]  # [rows, start and count]
    return 2 * int(spans[:, 1].sum()) * weight.shape[-2]


_OURS = dict.fromkeys(
    (
        torch.ops.dendrites.winners_product,
        torch.ops.dendrites.winners_input_gradient,
        torch.ops.dendrites.winners_weight_gradient,
    ),
    _of_winners,
)
"""Operator -> its FLOP, as in torch's `flop_registry`, which has none of these."""


class _ProductCounter(TorchDispatchMode):
    """Counts the FLOP of matrix products: torch's by the formulas of `FlopCounterMode`, and our own; by dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.flop: Counter[torch.dtype] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        operator = func.overloadpacket
        count = flop_registry.get(operator) or _OURS.get(operator)
        if count is not None:
            dtype = (out[0] if isinstance(out, tuple) else out).dtype
            self.flop[dtype] += count(*args, **(kwargs or {}), out_val=out)
        return out


def count_flop(config: Config, device: torch.device) -> Flop:
    """FLOP of the products in one `SAC.update`, by dtype: it does one, without the compiler."""
    config = replace(config, machine=replace(config.machine, compile="never"))
    plan, generator = resolve(config, device), Generator().manual_seed(0)
    agent, batch = SAC(plan, generator), random_batch(plan, generator)
    with _ProductCounter() as counter:
        agent.update(*batch)
    return counter.flop


def ceiling_ms(flop: Flop, rates: Flop) -> float:
    """Time of the products alone at the machine's rates [ms].

    A dtype without a rate counts as float32: it is the frame of the observations, float64, less than
    1 % of the products.
    """
    return 1e3 * sum(n / rates.get(dtype, rates[torch.float32]) for dtype, n in flop.items())


def measure_rates(device: torch.device, dtypes: Collection[torch.dtype]) -> Flop:
    """FLOP/s of large matrix products on a device, with the current number of threads."""
    rates, size = {}, 1536 if device.type == "cpu" else 8192
    for dtype in dtypes:
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        seconds = []
        for _ in range(10):
            start = time.perf_counter()
            torch.mm(left, right)
            wait_for(device)
            seconds.append(time.perf_counter() - start)
        rates[dtype] = 2 * size**3 / min(seconds)
    return rates


def wait_for(device: torch.device) -> None:
    """Return when the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
