"""How a critic's raw outputs stand for a Q value: one number, or a distribution over bins."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from configs.agent import AgentConfig
from dendrites.operators import operator


class ScalarValue(nn.Module):
    """Q is the single output; the loss is half the squared error (arXiv 1812.05905, eq. 5)."""

    output_size = 1

    def mean(self, raw: Tensor) -> Tensor:
        """Q values: `[..., 1] -> [...]`."""
        return raw.squeeze(-1)

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """`raw [2, ..., 1]`, `target [...]` without gradient -> `[2, ...]`."""
        return 0.5 * (raw.squeeze(-1) - target).square()


class HLGaussValue(nn.Module):
    """Q is the mean of a categorical distribution trained on Gaussian-smoothed targets.

    HL-Gauss (Imani & White 2018; Farebrother et al. 2024, arXiv 2403.03950, sec. 3.1): the target
    probability of a bin is the mass that N(y, sigma^2) puts between its edges, renormalised to the
    support; the loss is the cross-entropy. sigma = 0.75 bin widths, as recommended there. Targets
    outside the support are clamped to it.

    Args:
        bins: number of bins.
        low, high: the ends of the support.
    """

    edges: Tensor
    centers: Tensor

    def __init__(self, bins: int, low: float, high: float) -> None:
        super().__init__()
        self.output_size = bins
        self.low, self.high = low, high
        self.sigma = 0.75 * (high - low) / bins
        edges = torch.linspace(low, high, bins + 1)
        self.register_buffer("edges", edges, persistent=False)
        self.register_buffer("centers", (edges[:-1] + edges[1:]) / 2, persistent=False)

    def extra_repr(self) -> str:
        """The bins, for `print`."""
        return f"bins={self.output_size}, low={self.low}, high={self.high}"

    def mean(self, raw: Tensor) -> Tensor:
        """Q values: logits `[..., bins] -> [...]`."""
        return (raw.softmax(dim=-1) * self.centers).sum(dim=-1)

    def target_probabilities(self, target: Tensor) -> Tensor:
        """`[...] -> [..., bins]`, rows sum to 1; no gradient."""
        return _bin_masses(target.clamp(self.low, self.high), self.edges, self.sigma)

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy: logits `[2, ..., bins]`, `target [...]` without gradient -> `[2, ...]`."""
        return -(self.target_probabilities(target) * F.log_softmax(raw, dim=-1)).sum(dim=-1)


# An operator of its own, opaque to torch.compile, which would fuse it into the loss: there, every
# error function is computed anew for each bin and critic that uses it, and again in the backward
# pass: a tenth of a bfloat16 update.
@operator(
    "agent::bin_masses",
    lambda mean, edges, sigma: mean.new_empty((*mean.shape, len(edges) - 1)),
)
def _bin_masses(mean: Tensor, edges: Tensor, sigma: float) -> Tensor:
    """Mass of N(mean, sigma^2) between neighbouring edges, of that between the first and the last."""
    cdf = torch.erf((edges - mean.unsqueeze(-1)) / (math.sqrt(2) * sigma))  # [..., bins + 1]
    return cdf.diff(dim=-1) / (cdf[..., -1:] - cdf[..., :1])


def make_value_head(config: AgentConfig) -> ScalarValue | HLGaussValue:
    """The value representation that `agent.critic_loss` names."""
    if config.critic_loss == "mse":
        return ScalarValue()
    return HLGaussValue(config.value_bins, *config.value_range)
