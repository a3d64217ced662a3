"""Active dendrites: task context gates each unit through its best-matching dendritic segment.

Iyer et al. 2022 (arXiv 2201.00042). Unit i has J segments with weights V_ij over a context c; the
segment activations are s_ij = V_ij . c and the unit's pre-activation y_i is modulated by one of
them, d_i:

| gating            | d_i                              | output          |
|-------------------|----------------------------------|-----------------|
| abs_max_signed    | s_ij*, j* = argmax_j abs(s_ij)   | y_i * sigma(d_i) |
| max               | max_j s_ij                       | y_i * sigma(d_i) |
| abs_max_unsigned  | max_j abs(s_ij)                  | y_i * sigma(d_i) |
| additive_bias     | max_j s_ij                       | y_i + d_i        |
| single_segment    | s_i1 (J = 1)                     | y_i * sigma(d_i) |
| gate_table        | table[i] . c (one per unit, task)| y_i * sigma(d_i) |

Everything here broadcasts over leading dimensions, and this is what makes dendrites cheap: with a
task-major batch `x [T, b, in]` and contexts `[T, 1, C]` the segments are evaluated once per task,
O(T), not once per sample, O(T b). A context per row, `[T, b, C]` or `[n, C]`, works as well and costs
accordingly.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from agent.sparse_linear import exact_density_mask, stacked_linear
from configs.schema import Gating


def select_segment(activations: Tensor, gating: Gating) -> Tensor:
    """d_i of the table above: `[..., J, units] -> [..., units]`.

    The gradient reaches the selected segment only. In a tie, `abs_max_signed` selects the lowest
    index and the others share the gradient evenly.
    """
    if gating == "abs_max_signed":
        # argmax, too, gives the first index, but over this dimension takes ten times as long
        winner = activations.abs().max(dim=-2, keepdim=True).indices  # [..., 1, units]
        return activations.gather(-2, winner).squeeze(-2)
    if gating == "abs_max_unsigned":
        return activations.abs().amax(dim=-2)
    if gating in ("max", "additive_bias"):
        return activations.amax(dim=-2)
    return activations.squeeze(-2)  # single_segment, gate_table


def modulate(x: Tensor, dendrite: Tensor, gating: Gating) -> Tensor:
    """Apply d to the pre-activation: `[..., units]`, broadcast over leading dimensions."""
    if gating == "additive_bias":
        return x + dendrite
    return x * torch.sigmoid(dendrite)


class DendriticSegments(nn.Module):
    """The dendritic segments of one layer, and how they modulate its units.

    Initialisation: `V ~ U(-h, h)`, `h = 1 / sqrt(context_density * segment_density * C)`. A one-hot
    context has density 1/C (h = 1); the published code assumed 1 (h = 0.316 for ten tasks), which
    leaves all gates near 0.5. `gate_table` starts with the gates that `num_segments` such segments
    would give under `abs_max_signed`, so that only learning tells them apart.

    Args:
        units: units of the layer.
        context_size: C.
        num_segments: J per unit.
        gating: a row of the table above; `single_segment` and `gate_table` store one per unit.
        segment_density: fraction of non-zero weights in each segment, exact.
        context_density: expected density of the context, for the initialisation only.
        stack: `None`, or E independent copies with a leading dimension.
        generator: source of all randomness.
    """

    def __init__(
        self,
        units: int,
        context_size: int,
        *,
        num_segments: int = 10,
        gating: Gating = "abs_max_signed",
        segment_density: float = 1.0,
        context_density: float = 1.0,
        stack: int | None = None,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.gating = gating
        lead = () if stack is None else (stack,)
        drawn = 1 if gating == "single_segment" else num_segments
        shape = (*lead, drawn, units, context_size)
        bound = 1 / math.sqrt(context_density * segment_density * context_size)
        weight = torch.empty(shape).uniform_(-bound, bound, generator=generator)
        mask = exact_density_mask(shape, segment_density, generator)
        if mask is not None:
            weight *= mask
        if gating == "gate_table":
            winner = weight.abs().argmax(dim=-3, keepdim=True)
            weight, mask = weight.gather(-3, winner), None  # [*E, 1, units, C]
        # Units come last in the activations, so that the selection runs over whole vectors of them.
        self.weight = nn.Parameter(weight)  # [*E, J, units, C]
        self.register_buffer("mask", mask)
        self.mask: Tensor | None

    def activations(self, context: Tensor) -> Tensor:
        """s_ij: `[..., C] -> [..., J, units]`; with a stack `[E, ..., C] -> [E, ..., J, units]`."""
        weight = self.weight if self.mask is None else self.weight * self.mask
        flat = stacked_linear(context, weight.flatten(-3, -2))  # [..., J * units]
        return flat.unflatten(-1, weight.shape[-3:-1])

    def selected(self, context: Tensor) -> Tensor:
        """d_i, what the selected segment says: `[..., C] -> [..., units]`, with a stack as above."""
        return select_segment(self.activations(context), self.gating)

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        rows: Tensor | None = None,
        selected: Tensor | None = None,
    ) -> Tensor:
        """Modulate pre-activations by the context.

        Args:
            x: `[..., units]`.
            context: `[..., C]`, leading dimensions broadcast against those of `x`.
            rows: `[n]` int64 or `None`. If given, `context` is a table `[..., T, C]` and row i of
                `x [..., n, units]` uses entry `rows[i]`: still O(T) segments for n samples in any
                order.
            selected: `self.selected(context)`, if it is known already.

        Returns:
            `[..., units]`.
        """
        dendrite = self.selected(context) if selected is None else selected  # [..., units]
        if rows is not None:
            dendrite = dendrite.index_select(-2, rows)
        return modulate(x, dendrite, self.gating)

    def nonzero_parameters(self) -> int:
        """Trainable segment weights that the mask leaves."""
        return self.weight.numel() if self.mask is None else int(self.mask.sum())
