"""The causal test: silence the units that one task uses most, and see which tasks still succeed.

If sub-networks are distinct and matter, then silencing those of task A ends A's success and leaves the other
tasks' alone; silencing as many units at random does neither or both. The publication shows that units are
used by some tasks more than by others (Iyer et al. 2022, arXiv 2201.00042), not that the tasks depend on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from agent.policy import Policy
from analysis.activity import Floats, most_used
from analysis.hidden_units import Units, silenced


@dataclass(frozen=True)
class Silencing:
    """Success rates.

    Attributes:
        fraction: of every hidden layer's units that was silenced.
        intact: `[T]` with all units.
        most_used: `[T, T]`: a row for each task whose most used units were silenced, a column for each
            task that was tried.
        random: `[R, T]`: a row for each random draw of as many units.
    """

    fraction: float
    intact: Floats
    most_used: Floats
    random: Floats

    @property
    def specificity(self) -> Floats:
        """How much more a task loses without its own units than without another's `[T]`.

        Its success with another task's units silenced, mean over the others, less that with its own
        silenced. Each task is compared with itself, because some tasks bear more than others. 0: its own
        units matter no more to it than others' do; NaN for a single task.
        """
        tasks = len(self.most_used)
        own = np.diagonal(self.most_used)
        others = (self.most_used.sum(axis=0) - own) / max(1, tasks - 1)
        return others - own if tasks > 1 else np.full(1, np.nan)


def measure_silencing(
    policy: Policy,
    success_rates: Callable[[], Floats],
    on_rates: Sequence[Floats],
    fraction: float,
    random_draws: int,
    generator: np.random.Generator,
) -> Silencing:
    """Try the policy with all units, without each task's most used ones, and without random ones.

    Args:
        policy: that `success_rates` lets act.
        success_rates: runs episodes; the success rate of each task `[T]`.
        on_rates: of every hidden layer `[T, U]` (`LayerActivity.on_rate`).
        fraction: of each layer's units to silence.
        random_draws: R.
        generator: draws units.
    """
    picked = [most_used(rates, fraction) for rates in on_rates]  # [T, U] of each layer
    by_task = [[layer[task] for layer in picked] for task in range(len(picked[0]))]
    at_random = [[generator.permutation(layer[0]) for layer in picked] for _ in range(random_draws)]
    none = [np.zeros_like(layer[0]) for layer in picked]
    return Silencing(
        fraction=fraction,
        intact=_success(policy, success_rates, none),
        most_used=np.array([_success(policy, success_rates, units) for units in by_task]),
        random=np.array([_success(policy, success_rates, units) for units in at_random]),
    )


def _success(policy: Policy, success_rates: Callable[[], Floats], units: Sequence[Units]) -> Floats:
    with silenced(policy, units):
        return success_rates()
