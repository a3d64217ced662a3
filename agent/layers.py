"""One hidden layer: linear -> LayerNorm -> dendritic gate -> activation."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from agent.activations import k_winners, relu, winners_count
from agent.dendrites import DendriticSegments
from agent.sparse_linear import SparseLinear
from configs.schema import NetworkConfig


class StackedLayerNorm(nn.Module):
    """LayerNorm over the last dimension; with a stack, own scale and shift for each copy."""

    def __init__(self, units: int, stack: int | None = None) -> None:
        super().__init__()
        shape = (units,) if stack is None else (stack, units)
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        """`[..., units] -> [..., units]`; with a stack `[E, ..., units]`."""
        if self.weight.dim() == 1:
            return F.layer_norm(x, self.weight.shape, self.weight, self.bias)
        shape = (
            self.weight.shape[0],
            *(1,) * (x.dim() - 2),
            self.weight.shape[1],
        )  # [E, 1.., units]
        normed = F.layer_norm(x, self.weight.shape[1:])
        return torch.addcmul(self.bias.view(shape), normed, self.weight.view(shape))

    def nonzero_parameters(self) -> int:
        """Scales and shifts."""
        return self.weight.numel() + self.bias.numel()


class HiddenLayer(nn.Module):
    """linear -> LayerNorm (optional) -> dendritic gate (optional) -> ReLU or k-winners.

    The norm comes before the gate, so that a unit's gate is not divided out again.

    Args:
        in_features, units: sizes.
        config: densities, gating, activation.
        index: which hidden layer this is, counted from 0.
        input_density: expected fraction of non-zero inputs, for the initialisation.
        context_size, context_density: of the dendrites' context.
        stack: `None`, or E independent copies.
        generator: source of all randomness.
    """

    def __init__(
        self,
        in_features: int,
        units: int,
        config: NetworkConfig,
        *,
        index: int,
        input_density: float,
        context_size: int,
        context_density: float,
        stack: int | None,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.linear = SparseLinear(
            in_features,
            units,
            weight_density=config.weight_density if config.kind == "dendritic" else 1.0,
            input_density=input_density,
            stack=stack,
            generator=generator,
        )
        self.norm = StackedLayerNorm(units, stack) if config.layer_norm else None
        self.dendrites = None
        if config.kind == "dendritic" and index in config.dendritic_layers:
            self.dendrites = DendriticSegments(
                units,
                context_size,
                num_segments=config.num_segments,
                gating=config.gating,
                segment_density=config.segment_density,
                context_density=context_density,
                stack=stack,
                generator=generator,
            )
        self.density = layer_density(config, index)
        self.winners = None if config.activation == "relu" else winners_count(units, self.density)

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        rows: Tensor | None = None,
        dtype: torch.dtype | None = None,
        selected: Tensor | None = None,
    ) -> Tensor:
        """`x [..., in]`, `context [..., C]`, `rows`, `selected` as in `DendriticSegments.forward`.

        `dtype` is that of the feed-forward product, if not float32; all else is float32.
        """
        y = self.linear(x, dtype)
        if self.norm is not None:
            y = self.norm(y)
        if self.dendrites is not None:
            y = self.dendrites(y, context, rows, selected)
        return relu(y) if self.winners is None else k_winners(y, self.winners)


def layer_density(config: NetworkConfig, index: int) -> float:
    """Expected fraction of active units in hidden layer `index`; 1 for ReLU (spec, 1.4)."""
    if config.activation == "relu":
        return 1.0
    densities = config.winners_density
    return densities[0] if len(densities) == 1 else densities[index]
