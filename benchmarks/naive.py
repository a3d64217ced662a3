"""The published dendritic layer written down as its equations stand: the reference to be faster than."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agent.sac import SAC
from agent.trunk import Trunk
from dendrites import DendriticLayer, KWinners, SparseLinear


def make_naive(agent: SAC) -> SAC:
    """Replace every trunk of an agent by its naive version, with the same parameters."""
    for module in list(agent.modules()):
        for name, child in module.named_children():
            if isinstance(child, Trunk):
                setattr(module, name, NaiveTrunk(child))
    return agent


class NaiveTrunk(nn.Module):
    """Evaluates all segments for every sample, and the networks of a stack one after the other.

    For batches `x [n, in]` whose samples each have a `task [n]`, as with `replay.sampling: uniform`.
    """

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, x: Tensor, task: Tensor, context: None = None) -> Tensor:
        """`[n, in] -> [n, units]`, or for a stack `[E, n, units]`; always float32."""
        if self.trunk.stack is None:
            return self._one(x, task, ())
        return torch.stack([self._one(x, task, (e,)) for e in range(self.trunk.stack)])

    def into(self, head: SparseLinear, x: Tensor, task: Tensor, context: None = None) -> Tensor:
        """The head's outputs `[n, out]`, or for a stack `[E, n, out]`."""
        return cast(Tensor, head(self(x, task)))

    def _one(self, x: Tensor, task: Tensor, index: tuple[int, ...]) -> Tensor:
        context = self.trunk.context[index][task]  # [n, C]: every sample has its own
        for layer in self.trunk.layers:
            x = naive_layer(cast(DendriticLayer, layer), x, context, index)
        return x


def naive_layer(
    layer: DendriticLayer, x: Tensor, context: Tensor, index: tuple[int, ...] = ()
) -> Tensor:
    """One hidden layer, of network `index` if it is a stack: `[n, in]`, `[n, C] -> [n, units]`."""
    linear, norm, dendrites = layer.linear, layer.norm, layer.dendrites
    y = F.linear(x, _masked(linear)[index], linear.bias[index])  # [n, units]
    if norm is not None:
        y = F.layer_norm(y, y.shape[-1:], norm.weight[index], norm.bias[index])
    if dendrites is not None:
        weight = _masked(dendrites)[index]  # [J, units, C]
        activations = torch.einsum("nc,juc->nuj", context, weight)  # [n, units, J]
        winner = activations.abs().argmax(dim=-1, keepdim=True)
        y = y * torch.sigmoid(activations.gather(-1, winner).squeeze(-1))
    if not isinstance(layer.activation, KWinners):
        return torch.relu(y)
    best = y.topk(layer.activation.count, dim=-1)
    return torch.zeros_like(y).scatter(-1, best.indices, best.values)


def _masked(module: nn.Module) -> Tensor:
    """The weights with their zeros."""
    weight, mask = cast(Tensor, module.weight), cast(Tensor | None, module.mask)
    return weight if mask is None else weight * mask
