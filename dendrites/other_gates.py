"""What else can turn a context into a factor for each unit: FiLM, and a small MLP.

They stand where the segments stand in a layer, with the same two halves: `gate(context)`, and
`modulate(y, gate)`. With them a study can ask whether a gain is due to dendrites.

| gating | output | parameters per unit |
|---|---|---|
| film (Perez et al. 2018, arXiv 1709.07871) | y_i * (1 + gamma_i . c) + beta_i . c | 2 C |
| gating_mlp | y_i * sigma(w_i . relu(U c + b) + a_i) | about J C: as many as J segments |
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from dendrites.checks import require_features, require_fraction, require_positive
from dendrites.segments import aligned
from dendrites.sparse_linear import nonzeros_per_row, stacked_linear


class FiLM(nn.Module):
    """A scale and a shift for each unit, linear in the context. It starts with neither.

    Args:
        units: of the layer.
        context_size: C.
        stack: `None`, or E independent copies with a leading dimension.

    Raises:
        ValueError: a size is below 1.
    """

    def __init__(self, units: int, context_size: int, *, stack: int | None = None) -> None:
        super().__init__()
        require_positive(units=units, context_size=context_size, stack=stack)
        self.units, self.context_size, self.stack = units, context_size, stack
        lead = () if stack is None else (stack,)
        self.weight = nn.Parameter(torch.zeros(*lead, 2 * units, context_size))  # gamma, then beta

    def gate(self, context: Tensor) -> Tensor:
        """1 + gamma . c of all units, then beta . c: `[..., C] -> [..., 2 * units]`.

        Raises:
            ValueError: the context has another size.
        """
        require_features("context", context, self.context_size, self.stack)
        scale, shift = stacked_linear(context, self.weight).chunk(2, dim=-1)
        return torch.cat([1 + scale, shift], dim=-1)

    def modulate(self, y: Tensor, gate: Tensor) -> Tensor:
        """`y [..., units]` scaled and shifted; the gate broadcasts as that of `DendriticSegments`."""
        scale, shift = aligned(gate, y, self.stack).chunk(2, dim=-1)
        return y * scale + shift

    def factor(self, gate: Tensor) -> Tensor:
        """The part of a gate that multiplies each unit, `[..., units]`."""
        return gate.chunk(2, dim=-1)[0]

    def forward(self, y: Tensor, context: Tensor) -> Tensor:
        """`modulate(y, gate(context))`."""
        return self.modulate(y, self.gate(context))

    def extra_repr(self) -> str:
        """Sizes, for `print`."""
        return f"units={self.units}, context_size={self.context_size}"


class GatingMLP(nn.Module):
    """A context through one hidden layer of ReLU to a factor between 0 and 1 for each unit.

    Its hidden layer is as wide as it takes to have as many parameters as J segments.

    Args:
        units: of the layer.
        context_size: C.
        num_segments: J.
        segment_density: fraction of non-zero weights that those would have, in (0, 1].
        stack: `None`, or E independent copies with a leading dimension.
        generator: source of all randomness, `None` for torch's own.

    Raises:
        ValueError: a size is below 1, or the density outside (0, 1].
    """

    def __init__(
        self,
        units: int,
        context_size: int,
        *,
        num_segments: int = 10,
        segment_density: float = 1.0,
        stack: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        require_positive(
            units=units, context_size=context_size, num_segments=num_segments, stack=stack
        )
        require_fraction("segment_density", segment_density)
        self.units, self.context_size, self.stack = units, context_size, stack
        width = gating_mlp_width(units, context_size, num_segments, segment_density)
        lead = () if stack is None else (stack,)

        def drawn(*shape: int, fan_in: int) -> nn.Parameter:
            bound = 1 / math.sqrt(fan_in)  # torch's own for a linear layer
            return nn.Parameter(
                torch.empty(*lead, *shape).uniform_(-bound, bound, generator=generator)
            )

        self.hidden_weight = drawn(width, context_size, fan_in=context_size)
        self.hidden_bias = drawn(width, fan_in=context_size)
        self.weight = drawn(units, width, fan_in=width)
        self.bias = drawn(units, fan_in=width)

    def gate(self, context: Tensor) -> Tensor:
        """`[..., C] -> [..., units]`, between 0 and 1; with a stack `[E, ..., C] -> [E, ..., units]`.

        Raises:
            ValueError: the context has another size.
        """
        require_features("context", context, self.context_size, self.stack)
        hidden = stacked_linear(context, self.hidden_weight, self.hidden_bias).relu()
        return torch.sigmoid(stacked_linear(hidden, self.weight, self.bias))

    def modulate(self, y: Tensor, gate: Tensor) -> Tensor:
        """`y [..., units]` times the gate, which broadcasts as that of `DendriticSegments`."""
        return y * aligned(gate, y, self.stack)

    def factor(self, gate: Tensor) -> Tensor:
        """The part of a gate that multiplies each unit, `[..., units]`: all of it."""
        return gate

    def forward(self, y: Tensor, context: Tensor) -> Tensor:
        """`modulate(y, gate(context))`."""
        return self.modulate(y, self.gate(context))

    def extra_repr(self) -> str:
        """Sizes, for `print`."""
        width = self.hidden_bias.shape[-1]
        return f"units={self.units}, context_size={self.context_size}, hidden={width}"


def gating_mlp_width(
    units: int, context_size: int, num_segments: int, segment_density: float = 1.0
) -> int:
    """Hidden units with which the parameters, H (C + 1) + U (H + 1), are nearest to those of J segments; at least 1."""
    segments = num_segments * units * nonzeros_per_row(context_size, segment_density)
    return max(1, round((segments - units) / (context_size + 1 + units)))
