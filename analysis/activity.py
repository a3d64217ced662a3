"""Which hidden units are on in which task, how far tasks share them, how alike their activations are.

A unit is on where its output (after k-winners or ReLU) is not 0. Samples of a task are real steps of the
policy. Published figures are of the second of two hidden layers (Iyer et al. 2022, arXiv 2201.00042); here
every layer has its own.

Four measures say how far two tasks share a sub-network. All are means over pairs of a step of one task and a
step of the other; within a task a step is not paired with itself.

| measure | of a pair | by chance |
|---|---|---|
| shared | units on in both, of all units | the product of both densities |
| Jaccard | units on in both, of those on in either | depends on the densities |
| most used | units among the most used quarter of both tasks, of that quarter | a quarter |
| cosine distance | 1 - cosine of both activations | |

The cosine distance alone does not tell dendrites from an MLP: the published printout has 0.41 within and 0.89
across tasks for dendrites, and 0.43 and 0.89 for the MLP.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_USED = 0.25
"""Of a layer's units: as many as win in each step with the default k-winners."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LayerActivity:
    """One hidden layer of U units in T tasks.

    Attributes:
        on_rate: `[T, U]` fraction of the task's steps in which a unit is on.
        mean: `[T, U]` mean activation.
        shared, jaccard, cosine_distance: `[T, T]`, symmetric; see the module.
        most_used: `[T, T]`, fraction of the most used quarter; 1 on the diagonal.
    """

    on_rate: Floats
    mean: Floats
    shared: Floats
    jaccard: Floats
    cosine_distance: Floats
    most_used: Floats

    @property
    def density(self) -> Floats:
        """Fraction of units that are on, mean over a task's steps `[T]`."""
        return self.on_rate.mean(axis=1)

    @property
    def dead(self) -> NDArray[np.bool_]:
        """Units that are on in no step of any task `[U]`."""
        return (self.on_rate == 0).all(axis=0)

    @property
    def shared_over_chance(self) -> Floats:
        """`shared`, as a multiple of what units that are on independently would share `[T, T]`."""
        chance = np.outer(self.density, self.density)
        return np.divide(self.shared, chance, out=np.zeros_like(chance), where=chance > 0)


def measure_layer(activations: NDArray[np.float32], pairs_per_task: int = 100) -> LayerActivity:
    """Everything about a layer.

    Args:
        activations: `[T, n, U]`, n steps of each task, at least 2.
        pairs_per_task: steps of each task that are paired, evenly spread over the n; memory grows with
            the square of T times this.

    Raises:
        ValueError: fewer than 2 steps.
    """
    steps = activations.shape[1]
    if steps < 2:
        raise ValueError(f"activations have {steps} steps per task; pairs need 2 or more")
    on = activations != 0
    picked = np.linspace(0, steps - 1, min(steps, pairs_per_task)).round().astype(int)
    shared, jaccard, cosine = _pair_means(activations[:, picked].astype(np.float64))
    on_rate = on.mean(axis=1)
    return LayerActivity(
        on_rate=on_rate,
        mean=activations.mean(axis=1, dtype=np.float64),
        shared=shared,
        jaccard=jaccard,
        cosine_distance=cosine,
        most_used=_shared_most_used(most_used(on_rate)),
    )


def most_used(on_rate: Floats, fraction: float = MOST_USED) -> NDArray[np.bool_]:
    """The units `[T, U]` that each task uses most: `round(fraction * U)` of them, at least one, ties by index.

    A unit that is never on is never picked, so a task that uses few has fewer.
    """
    count = max(1, round(fraction * on_rate.shape[1]))
    order = np.argsort(-on_rate, axis=1, kind="stable")[:, :count]
    picked = np.zeros(on_rate.shape, bool)
    np.put_along_axis(picked, order, True, axis=1)
    return picked & (on_rate > 0)


def _shared_most_used(picked: NDArray[np.bool_]) -> Floats:
    """Units picked by both, as a fraction of the smaller of both picks; 0 where a task has none."""
    count = picked.sum(axis=1, dtype=np.float64)
    numbers = picked.astype(np.float64)
    smaller = np.minimum(count[:, None], count[None, :])
    return np.divide(numbers @ numbers.T, smaller, out=np.zeros_like(smaller), where=smaller > 0)


def _pair_means(activations: Floats) -> tuple[Floats, Floats, Floats]:
    """Shared winners, Jaccard index and cosine distance `[T, T]` of `activations [T, m, U]`."""
    tasks, steps, units = activations.shape
    flat = activations.reshape(tasks * steps, units)
    on = (flat != 0).astype(np.float64)
    both = on @ on.T  # [T m, T m] units on in both
    counts = on.sum(axis=1)
    either = counts[:, None] + counts[None, :] - both
    jaccard = np.divide(both, either, out=np.ones_like(both), where=either > 0)
    sizes = np.linalg.norm(flat, axis=1, keepdims=True)
    directions = np.divide(flat, sizes, out=np.zeros_like(flat), where=sizes > 0)
    distance = 1 - directions @ directions.T  # 1 where either is silent: no direction
    means = [_block_means(of, tasks, steps) for of in (both / units, jaccard, distance)]
    return means[0], means[1], means[2]


def _block_means(pairs: Floats, tasks: int, steps: int) -> Floats:
    """Mean over the pairs of each two tasks `[T, T]`, no step being paired with itself."""
    blocks = pairs.reshape(tasks, steps, tasks, steps)
    totals = blocks.sum(axis=(1, 3))
    own = np.einsum("asas->a", blocks)
    numbers = np.full((tasks, tasks), float(steps * steps))
    numbers[np.diag_indices(tasks)] -= steps
    totals[np.diag_indices(tasks)] -= own
    result: Floats = totals / numbers
    return result
