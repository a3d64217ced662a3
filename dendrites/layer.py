"""One hidden layer: linear -> LayerNorm -> dendritic gate -> activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from dendrites.checks import require_fraction
from dendrites.norm import StackedLayerNorm
from dendrites.other_gates import FiLM, GatingMLP
from dendrites.other_winners import OtherWinners
from dendrites.segments import GATINGS, DendriticSegments, Gating
from dendrites.sparse_linear import SparseLinear
from dendrites.winners import KWinners, ReLU

LayerGating = Gating | Literal["film", "gating_mlp"]
LAYER_GATINGS: tuple[LayerGating, ...] = (*GATINGS, "film", "gating_mlp")
Activation = KWinners | ReLU | OtherWinners


class DendriticLayer(nn.Module):
    """linear -> LayerNorm (optional) -> dendritic gate (optional) -> k-winners or ReLU.

    Iyer et al. 2022 (arXiv 2201.00042). The norm comes before the gate, so that a
    unit's gate is not divided out again.

    A layer computes in two halves: `gate(context)`, and `gated(x, gate)`. A context that does not
    change needs its gate once: for `x [T, b, in]`, b samples of each of T tasks, a gate
    `[T, 1, units]` serves them all.

    Args:
        in_features, units: sizes.
        context_size: C; `None` leaves the dendrites out.
        num_segments, segment_density, context_density, attention_temperature: see `DendriticSegments`.
        gating: of `DendriticSegments`; or what stands in its place, `film` or `gating_mlp`
            (dendrites/other_gates.py).
        winners: fraction of the units that win (`KWinners`); `None` for ReLU.
        activation: in place of both, another choice of winners, of this density
            (dendrites/other_winners.py).
        layer_norm: whether the pre-activations are normalised.
        weight_density, input_density: see `SparseLinear`.
        stack: `None`, or E independent layers that compute as one, with a leading dimension.
        product_dtype: dtype of the feed-forward product, `None` for the weights'. All else is of the
            weights' dtype. The attribute may be changed.
        generator: source of all randomness, `None` for torch's own.

    Attributes:
        linear, norm (or `None`), dendrites (or `None`), activation: the four steps.
        density: expected fraction of active units, the `input_density` of the layer that follows.

    Raises:
        ValueError: a size is below 1, a fraction outside (0, 1], the gating is unknown, or the activation is of
            another number of units.
    """

    def __init__(
        self,
        in_features: int,
        units: int,
        *,
        context_size: int | None,
        num_segments: int = 10,
        gating: LayerGating = "abs_max_signed",
        winners: float | None = 0.05,
        activation: OtherWinners | None = None,
        layer_norm: bool = False,
        weight_density: float = 1.0,
        segment_density: float = 1.0,
        input_density: float = 1.0,
        context_density: float = 1.0,
        attention_temperature: float = 0.1,
        stack: int | None = None,
        product_dtype: torch.dtype | None = None,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        if winners is not None:
            require_fraction("winners", winners)
        if activation is not None and activation.units != units:
            raise ValueError(f"activation must be of {units} units, is of {activation.units}")
        self.linear = SparseLinear(
            in_features,
            units,
            weight_density=weight_density,
            input_density=input_density,
            stack=stack,
            product_dtype=product_dtype,
            generator=generator,
        )
        self.norm = StackedLayerNorm(units, stack) if layer_norm else None
        self.gating = gating
        self.dendrites: DendriticSegments | FiLM | GatingMLP | None = None
        if gating not in LAYER_GATINGS:
            raise ValueError(f"gating must be one of {', '.join(LAYER_GATINGS)}, got {gating!r}")
        if context_size is None:
            pass
        elif gating == "film":
            self.dendrites = FiLM(units, context_size, stack=stack)
        elif gating == "gating_mlp":
            self.dendrites = GatingMLP(
                units,
                context_size,
                num_segments=num_segments,
                segment_density=segment_density,
                stack=stack,
                generator=generator,
            )
        else:
            self.dendrites = DendriticSegments(
                units,
                context_size,
                num_segments=num_segments,
                gating=gating,
                segment_density=segment_density,
                context_density=context_density,
                attention_temperature=attention_temperature,
                stack=stack,
                generator=generator,
            )
        if activation is not None:
            winners = activation.density
        self.activation: Activation = activation or (
            ReLU() if winners is None else KWinners(units, winners)
        )
        self.density = 1.0 if winners is None else winners

    @property
    def product_dtype(self) -> torch.dtype | None:
        """Dtype of the feed-forward product, `None` for the weights'."""
        return self.linear.product_dtype

    @product_dtype.setter
    def product_dtype(self, dtype: torch.dtype | None) -> None:
        self.linear.product_dtype = dtype

    def gate(self, context: Tensor | None) -> Tensor | None:
        """What the dendrites say, without x: the factor of each unit (additive_bias: the addend).

        `[..., C] -> [..., units]` (film: `[..., 2 * units]`, factors and addends); with a stack `[E, ..., C] -> [E, ..., units]`. `None` for a layer
        without dendrites, whatever the context.

        Raises:
            ValueError: the context is missing, or of another size.
        """
        if self.dendrites is None:
            return None
        if context is None:
            size = self.dendrites.context_size
            raise ValueError(f"context is missing: this layer expects one of size {size}")
        return self.dendrites.gate(context)

    def gated(self, x: Tensor, gate: Tensor | None) -> Tensor:
        """The rest of the layer: linear, norm, a gate that is known, activation.

        `x [..., in]` and a gate as `preactivation` takes them -> `[..., units]`.
        """
        active: Tensor = self.activation(self.preactivation(x, gate))
        return active

    def preactivation(
        self, x: Tensor, gate: Tensor | None, after: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """What the activation is given: linear, norm, a gate that is known.

        Args:
            x: `[..., in]`; with a stack `[E, ..., in]`.
            gate: of `self.gate`, `[..., units]`; leading dimensions broadcast. With `[units]`, one
                context for all, units that are silent in all samples cost nothing. `None` for a layer
                without dendrites.
            after: the activation of the layer before, if x has still to go through it: k-winners and
                the product after them are faster as one (`SparseLinear`).

        Returns:
            `[..., units]`; with a stack `[E, ..., units]`.

        Raises:
            ValueError: there is a gate without dendrites, or the reverse.
        """
        if (gate is None) != (self.dendrites is None):
            raise ValueError(
                "gate is missing: this layer has dendrites"
                if gate is None
                else "gate must be None: this layer has no dendrites"
            )
        one_context = gate is not None and gate.dim() == 1
        y = self.linear(x, after, one_context and isinstance(self.activation, KWinners))
        if self.norm is not None:
            y = self.norm(y)
        if self.dendrites is not None and gate is not None:
            y = self.dendrites.modulate(y, gate)
        return y

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """`gated(x, gate(context))`: `x [..., in]`, `context [..., C]` -> `[..., units]`."""
        return self.gated(x, self.gate(context))

    def extra_repr(self) -> str:
        """The line above the parts, for `print`."""
        context = "no dendrites" if self.dendrites is None else f"gated by {self.gating}"
        active = "relu" if isinstance(self.activation, ReLU) else f"{self.density:.3g} of units win"
        return f"{self.linear.in_features} -> {self.linear.out_features}, {context}, {active}"
