"""Active dendrites: the context gates each unit through its best-matching dendritic segment.

Iyer et al. 2022 (arXiv 2201.00042). Unit i has J segments with weights V_ij over a context c; the
segment activations are s_ij = V_ij . c and the unit's pre-activation y_i is modulated by one of
them, d_i:

| gating            | d_i                              | output          |
|-------------------|----------------------------------|-----------------|
| abs_max_signed    | s_ij*, j* = argmax_j abs(s_ij)   | y_i * sigma(d_i) |
| max               | max_j s_ij                       | y_i * sigma(d_i) |
| abs_max_unsigned  | max_j abs(s_ij)                  | y_i * sigma(d_i) |
| additive_bias     | max_j s_ij                       | y_i + d_i        |
| attention         | sum_j softmax_j(abs(s_ij) / t) s_ij | y_i * sigma(d_i) |
| single_segment    | s_i1 (J = 1)                     | y_i * sigma(d_i) |
| gate_table        | table[i] . c (one per unit, task)| y_i * sigma(d_i) |

The *gate* is what is applied to y_i: sigma(d_i), or d_i itself for additive_bias. It depends on the
context only and broadcasts over leading dimensions, and this makes dendrites cheap: for a
task-major batch `y [T, b, units]` and contexts `[T, 1, C]` the segments are evaluated once per
task, O(T), not once per sample, O(T b). A context per row, `[T, b, C]` or `[n, C]`, works as well
and costs accordingly.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Generator, Tensor, nn

from dendrites.checks import require_features, require_fraction, require_positive
from dendrites.sparse_linear import exact_density_mask, stacked_linear

Gating = Literal[
    "abs_max_signed",
    "max",
    "abs_max_unsigned",
    "additive_bias",
    "attention",
    "single_segment",
    "gate_table",
]
GATINGS: tuple[Gating, ...] = get_args(Gating)
LOWEST_TEMPERATURE = 1e-6
"""Of attention: below, what is divided by it leaves float32."""


def select_segment(activations: Tensor, gating: Gating, temperature: float = 0.1) -> Tensor:
    """d_i of the table above: `[..., J, units] -> [..., units]`.

    The gradient reaches the selected segment only, with `attention` all. In a tie, `abs_max_signed`
    selects the lowest index and the others share the gradient evenly. `temperature` is attention's.
    """
    if gating == "abs_max_signed":
        winner = strongest_segment(activations, gating).unsqueeze(-2)  # [..., 1, units]
        return activations.gather(-2, winner).squeeze(-2)
    if gating == "abs_max_unsigned":
        return activations.abs().amax(dim=-2)
    if gating in ("max", "additive_bias"):
        return activations.amax(dim=-2)
    if gating == "attention":
        shares = (activations.abs() / temperature).softmax(dim=-2)
        return (shares * activations).sum(dim=-2)
    if gating in ("single_segment", "gate_table"):
        return activations.squeeze(-2)
    raise ValueError(f"no segment is selected by gating {gating!r}")


def strongest_segment(activations: Tensor, gating: Gating) -> Tensor:
    """Index of the segment that decides the gate, or has the most of it: `[..., J, units] -> [..., units]`."""
    signed = gating in ("max", "additive_bias")
    # argmax, too, gives the first index, but over this dimension takes ten times as long
    return (activations if signed else activations.abs()).max(dim=-2).indices


def aligned(gate: Tensor, y: Tensor, stack: int | None) -> Tensor:
    """The gate `[..., n]`, or `[E, ..., n]` of a stack, with the dimensions that `y` has before its last."""
    missing = y.dim() - gate.dim()
    if stack is None or missing <= 0:
        return gate
    return gate.reshape(gate.shape[0], *(1,) * missing, *gate.shape[1:])


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
        attention_temperature: t of `attention`; of no effect elsewhere.
        stack: `None`, or E independent copies with a leading dimension.
        generator: source of all randomness, `None` for torch's own.

    Raises:
        ValueError: a size is below 1, a density outside (0, 1], the temperature below 1e-6, or the gating is
            unknown.
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
        attention_temperature: float = 0.1,
        stack: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        require_positive(
            units=units, context_size=context_size, num_segments=num_segments, stack=stack
        )
        require_fraction("segment_density", segment_density)
        require_fraction("context_density", context_density)
        if not attention_temperature >= LOWEST_TEMPERATURE:
            raise ValueError(
                f"attention_temperature must be at least {LOWEST_TEMPERATURE}, got {attention_temperature}"
            )
        if gating not in GATINGS:
            raise ValueError(f"gating must be one of {', '.join(GATINGS)}, got {gating!r}")
        self.units, self.context_size, self.stack = units, context_size, stack
        self.gating, self.segment_density = gating, segment_density
        self.attention_temperature = attention_temperature
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
        """s_ij: `[..., C] -> [..., J, units]`; with a stack `[E, ..., C] -> [E, ..., J, units]`.

        Raises:
            ValueError: the context has another size.
        """
        require_features("context", context, self.context_size, self.stack)
        weight = self.weight if self.mask is None else self.weight * self.mask
        flat = stacked_linear(context, weight.flatten(-3, -2))  # [..., J * units]
        return flat.unflatten(-1, weight.shape[-3:-1])

    def gate(self, context: Tensor) -> Tensor:
        """What `modulate` applies: sigma(d_i), or d_i for `additive_bias`.

        `[..., C] -> [..., units]`; with a stack `[E, ..., C] -> [E, ..., units]`.

        Raises:
            ValueError: the context has another size.
        """
        activations = self.activations(context)
        selected = select_segment(activations, self.gating, self.attention_temperature)
        return selected if self.gating == "additive_bias" else torch.sigmoid(selected)

    def modulate(self, y: Tensor, gate: Tensor) -> Tensor:
        """Pre-activations `[..., units]` times the gate, or plus it for `additive_bias`.

        The gate broadcasts over leading dimensions; with a stack over those after the first, so
        that a gate `[E, units]` suits `y [E, b, units]`.
        """
        gate = aligned(gate, y, self.stack)
        return y + gate if self.gating == "additive_bias" else y * gate

    def factor(self, gate: Tensor) -> Tensor:
        """The part of a gate that multiplies each unit (additive_bias: is added), `[..., units]`."""
        return gate

    def forward(self, y: Tensor, context: Tensor) -> Tensor:
        """`modulate(y, gate(context))`: `[..., units]`, `[..., C] -> [..., units]`."""
        return self.modulate(y, self.gate(context))

    def extra_repr(self) -> str:
        """Sizes, density and gating, for `print`."""
        stack = "" if self.stack is None else f", stack={self.stack}"
        return (
            f"units={self.units}, context_size={self.context_size}, "
            f"num_segments={self.weight.shape[-3]}, gating={self.gating}, "
            f"segment_density={self.segment_density}{stack}"
        )
