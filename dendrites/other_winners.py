"""What else can choose which units of a layer are active: k-winners' variants, in place of `KWinners`.

| class | what passes | source |
|---|---|---|
| AnnealedKWinners | the k largest; k falls while the layer learns | schedule of k of Makhzani & Frey 2013 (arXiv 1312.5663), proposed by readers of the publication |
| BoostedKWinners | the k largest of a score that favours units which the task has seldom used | duty cycles of Ahmad & Scheinkman 2019 (arXiv 1903.11257), here added, and of each task |
| SoftWinners | each unit as far as it is above the k-th largest; ever more sharply | ours; its limit is k-winners |
| ThresholdWinners | what is above a unit's own threshold, which follows its quantile | quantiles by Robbins & Monro 1951 |
| NucleusWinners | the largest, until their softmax adds up to a mass | top-p of Holtzman et al. 2020 (arXiv 1904.09751) |

None has parameters, so networks with them are as large as with `KWinners`. What they remember is in buffers,
which are part of a state_dict. They change in training mode alone; a module begins in evaluation mode.

Data is `[..., units]`; with a stack of E layers `[E, ..., units]`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dendrites.checks import require_fraction, require_positive
from dendrites.winners import gradient_of_active, keep_largest, winners_count

_EMA_RATE = 0.01
"""Of duty cycles and thresholds, for each forward pass in training. A gradient step of the agent has two passes of
actor and critics (next and present observations; actions of the batch and of the policy), and one of the targets,
which follow their own averages."""
_LAST_TEMPERATURE = 0.05
"""Of soft winners, in units of a row's standard deviation; the first is 1."""


class OtherWinners(nn.Module):
    """Base: how many units, and how many of them are active.

    Args:
        units: of the layer.
        density: fraction of them that are active, in the end.

    Raises:
        ValueError: there are no units, or the density is outside (0, 1].
    """

    def __init__(self, units: int, density: float) -> None:
        super().__init__()
        require_positive(units=units)
        require_fraction("density", density)
        self.units, self.density = units, density
        self.eval()

    def set_progress(self, fraction: float) -> None:
        """Training has come so far, 0 to 1. Only those that anneal take note."""

    def forward(self, y: Tensor, task: Tensor | None = None) -> Tensor:
        """`[..., units] -> [..., units]`.

        Args:
            y: with a row for each task `[*E, T, b, units]`; with `task [G, 1]`, `[*E, G, b, units]`; with
                `task [n]`, `[*E, n, units]`.
            task: task index of each group or sample; only some ask for it.
        """
        return self._choose(y, task)

    def _choose(self, y: Tensor, task: Tensor | None) -> Tensor:
        """What `forward` says, for each kind."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """The density, for `print`."""
        return f"{self.density:.3g} of {self.units} win"


class AnnealedWinners(OtherWinners):
    """Base of those that change with training.

    Args:
        units, density: see `OtherWinners`.
        annealing: fraction of training after which nothing changes any more.

    Attributes:
        annealed: 0 at first, 1 from then on.

    Raises:
        ValueError: there are no units, or a fraction is outside (0, 1].
    """

    annealed: Tensor

    def __init__(self, units: int, density: float, annealing: float) -> None:
        super().__init__(units, density)
        require_fraction("annealing", annealing)
        self.annealing = annealing
        self.register_buffer("annealed", torch.zeros(()))

    def set_progress(self, fraction: float) -> None:
        """Training has come so far, 0 to 1."""
        self.annealed.fill_(min(1.0, fraction / self.annealing))


class AnnealedKWinners(AnnealedWinners):
    """k-winners whose density falls, linearly, from `first_density` to `density`."""

    def __init__(
        self, units: int, density: float, annealing: float, first_density: float = 0.9
    ) -> None:
        super().__init__(units, density, annealing)
        require_fraction("first_density", first_density)
        self.first_density = first_density

    def _choose(self, y: Tensor, task: Tensor | None) -> Tensor:
        # From its end, and in float64, so that it ends at k-winners' count to the last unit.
        left = 1 - self.annealed.double()
        density = self.density + left * (self.first_density - self.density)
        count = (self.units * density).round().clamp(min=1)
        return _keep(y, y.detach(), count)


class BoostedKWinners(AnnealedWinners):
    """k-winners of y + boost * (density - duty cycle), where the boost fades.

    A duty cycle is the moving average of how often a unit is active in a task. The boost is in units of the
    row's standard deviation: added, for a factor would do the opposite to negative values. Of each task,
    because a unit that one task alone uses would seem idle and be given to others.

    Args:
        units, density, annealing: see `AnnealedWinners`; the boost is 0 once annealed.
        num_tasks: T.
        strength: of the boost at first: a unit that is never active gains so many standard deviations times
            the density.
        stack: `None`, or E layers.

    Attributes:
        duty: `[*E, T, units]`.
    """

    duty: Tensor

    def __init__(
        self,
        units: int,
        density: float,
        annealing: float,
        *,
        num_tasks: int,
        strength: float = 1.0,
        stack: int | None = None,
    ) -> None:
        super().__init__(units, density, annealing)
        require_positive(num_tasks=num_tasks, stack=stack)
        self.strength = strength
        lead = () if stack is None else (stack,)
        self.register_buffer("duty", torch.full((*lead, num_tasks, units), density))
        self.register_buffer("count", torch.tensor(float(winners_count(units, density))), False)
        self.count: Tensor

    def _choose(self, y: Tensor, task: Tensor | None) -> Tensor:
        duty = self.duty if task is None else self.duty.index_select(-2, task.flatten())
        grouped = y.dim() > duty.dim()  # else a row is a sample
        if grouped:
            duty = duty.unsqueeze(-2)  # [*E, T, 1, units]
        boost = self.strength * (1 - self.annealed) * _spread(y)
        out = _keep(y, y.detach() + boost * (self.density - duty), self.count)
        if self.training:
            active = (out.detach() != 0).to(self.duty.dtype)
            self._observe(active.mean(dim=-2) if grouped else active, task)
        return out

    def _observe(self, active: Tensor, task: Tensor | None) -> None:
        """Follow `active [*E, T, units]`, or `[*E, G, units]` of the tasks `task [G, 1]` or `[G]`."""
        if task is None:
            self.duty.lerp_(active, _EMA_RATE)
            return
        # Not `index_add`: with two threads or more, torch 2.13 does not compile it for the CPU.
        tasks = torch.arange(self.duty.shape[-2], device=task.device)
        own = (task.flatten() == tasks.unsqueeze(1)).to(active.dtype)  # [T, G]
        counts = own.sum(dim=-1, keepdim=True)
        mean = torch.where(counts > 0, own @ active / counts.clamp(min=1), self.duty)
        self.duty.lerp_(mean, _EMA_RATE)


class SoftWinners(AnnealedWinners):
    """y * sigma((y - theta) / temperature), theta halfway between the k-th and the next largest.

    Losers near the threshold get a gradient. The temperature falls from 1 to 0.05 standard deviations of the
    row, by equal factors; at 0 this is k-winners.
    """

    def _choose(self, y: Tensor, task: Tensor | None) -> Tensor:
        count = winners_count(self.units, self.density)
        if count >= self.units:
            return y
        largest = y.detach().topk(count + 1, dim=-1).values
        threshold = largest[..., -2:].mean(dim=-1, keepdim=True)
        temperature = _LAST_TEMPERATURE**self.annealed * _spread(y)
        return y * torch.sigmoid((y - threshold) / temperature)


class ThresholdWinners(OtherWinners):
    """What is above a threshold of each unit, which lets through the density on average over batches.

    No row is sorted. A threshold rises where more of a batch is above it than should be, and falls where less
    is (Robbins & Monro 1951): it follows the quantile.

    Attributes:
        threshold: `[*E, units]`.
    """

    threshold: Tensor

    def __init__(self, units: int, density: float, *, stack: int | None = None) -> None:
        super().__init__(units, density)
        require_positive(stack=stack)
        self.stack = stack
        lead = () if stack is None else (stack,)
        self.register_buffer("threshold", torch.zeros(*lead, units))

    def _choose(self, y: Tensor, task: Tensor | None) -> Tensor:
        lead = () if self.stack is None else (self.stack,)
        threshold = self.threshold.view(*lead, *(1,) * (y.dim() - len(lead) - 1), self.units)
        out = torch.where(y.detach() <= threshold, 0.0, y)  # a NaN is not, and shows
        if self.training:  # after `out`, which is of the thresholds before
            above = y.detach() > threshold
            rows = above.to(self.threshold.dtype).reshape(*lead, -1, self.units)  # [*E, n, units]
            self.threshold.add_(_EMA_RATE * (rows.mean(dim=-2) - self.density))
        return out


class NucleusWinners(OtherWinners):
    """The largest units, as few as it takes for their share in the row's softmax to reach `mass`.

    The softmax is of y in units of the row's standard deviation, so the number of winners depends on the
    row's shape alone: of a normal one, a mass of 0.628 lets a quarter pass.

    Args:
        units: of the layer.
        mass: in (0, 1]; 1 lets all pass.
        density: that is expected, for the initial weights of the next layer.
    """

    def __init__(self, units: int, density: float, mass: float = 0.628) -> None:
        super().__init__(units, density)
        require_fraction("mass", mass)
        self.mass = mass

    def _choose(self, y: Tensor, task: Tensor | None) -> Tensor:
        if self.mass == 1:  # rounded sums reach 1 before the last unit
            return y
        ranked = y.detach().sort(dim=-1, descending=True).values
        share = (ranked / _spread(y)).softmax(dim=-1)
        before = share.cumsum(dim=-1) - share
        count = (before < self.mass).sum(dim=-1, keepdim=True).clamp(min=1)
        lowest = ranked.gather(-1, count - 1)  # NaN in a row with one: all pass
        return torch.where(y.detach() < lowest, 0.0, y)


def _spread(y: Tensor) -> Tensor:
    """The standard deviation of each row `[..., 1]`, no gradient; not 0."""
    return y.detach().std(dim=-1, keepdim=True, correction=0).clamp(min=1e-6)


def _keep(y: Tensor, score: Tensor, count: Tensor) -> Tensor:
    """Values of `y [..., units]` whose `score [..., units]` is among the `count` largest of its row.

    `count` is a tensor of one number: one that changes as an int would be compiled anew each time.
    """
    kept: Tensor = _Keep.apply(y, score, count)
    return kept


class _Keep(torch.autograd.Function):
    @staticmethod
    def forward(y: Tensor, score: Tensor, count: Tensor) -> Tensor:
        kept: Tensor = keep_largest(y, score, count)
        return kept

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return gradient_of_active(grad, ctx.saved_tensors[0]), None, None
