"""The published dendritic layer written down as its equations stand: the reference to be faster than."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agent.layers import HiddenLayer
from agent.networks import Trunk
from agent.sac import SAC


def make_naive(agent: SAC) -> SAC:
    """Replace every hidden layer of an agent by its naive version, with the same parameters."""
    for module in agent.modules():
        if isinstance(module, Trunk):
            module.layers = nn.ModuleList(
                [NaiveLayer(cast(HiddenLayer, layer)) for layer in module.layers]
            )
    return agent


class NaiveLayer(nn.Module):
    """A hidden layer that evaluates all segments for every sample, and selects winners by topk.

    One network after the other, each sample with its own context: `x [E, n, in]` and
    `rows [n]`, as with `replay.sampling: uniform`.
    """

    def __init__(self, layer: HiddenLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        rows: Tensor,
        dtype: torch.dtype | None = None,
        selected: list[Tensor | None] | None = None,
    ) -> Tensor:
        """`[n, in] -> [n, units]`, or `[E, n, in] -> [E, n, units]`; always float32."""
        if x.dim() == 2:
            return self._one(x, context[rows], None)
        return torch.stack(
            [self._one(one, context[index][rows], index) for index, one in enumerate(x)]
        )

    def _one(self, x: Tensor, context: Tensor, index: int | None) -> Tensor:
        def own(tensor: Tensor) -> Tensor:
            return tensor if index is None else tensor[index]

        linear, norm, dendrites = self.layer.linear, self.layer.norm, self.layer.dendrites
        weight = linear.weight if linear.mask is None else linear.weight * linear.mask
        y = F.linear(x, own(weight), own(linear.bias))  # [n, units]
        if norm is not None:
            y = F.layer_norm(y, y.shape[-1:], own(norm.weight), own(norm.bias))
        if dendrites is not None:
            weight = (
                dendrites.weight if dendrites.mask is None else dendrites.weight * dendrites.mask
            )
            activations = torch.einsum("nc,juc->nuj", context, own(weight))  # [n, units, J]
            winner = activations.abs().argmax(dim=-1, keepdim=True)
            y = y * torch.sigmoid(activations.gather(-1, winner).squeeze(-1))
        if self.layer.winners is None:
            return torch.relu(y)
        best = y.topk(self.layer.winners, dim=-1)
        return torch.zeros_like(y).scatter(-1, best.indices, best.values)
