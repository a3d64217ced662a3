"""Milliseconds of k-winners and the map after them, forward and backward: losers left out, or not."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from benchmarks.measuring import interleave
from dendrites import k_winners, product_of_winners, skips_losers, winners_count
from dendrites.sparse_linear import stacked_linear

ROUNDS, REPEATS = 15, 10


def measure_products(
    units: int, batch: int, density: float
) -> tuple[list[float], list[float]] | None:
    """Of twin critics' hidden layers, float32: milliseconds without the losers, and dense, by round.

    `None` where the losers are never left out.
    """
    k = winners_count(units, density)
    if not skips_losers(units, k, units, torch.float32, torch.device("cpu")):
        return None
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, batch, units, generator=generator).requires_grad_()
    weight = torch.randn(2, units, units, generator=generator).requires_grad_()
    cotangent = torch.randn(2, batch, units, generator=generator)

    def timed(product: Callable[[], Tensor]) -> float:
        milliseconds = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            torch.autograd.grad(product(), [z, weight], [cotangent])
            milliseconds.append(1e3 * (time.perf_counter() - start))
        return median(milliseconds)

    times = interleave(
        {
            "sparse": lambda: timed(lambda: product_of_winners(z, k, weight)),
            "dense": lambda: timed(lambda: stacked_linear(k_winners(z, k), weight)),
        },
        ROUNDS,
    )
    return times["sparse"], times["dense"]
