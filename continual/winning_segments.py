"""Training under one context: one number for each unit is all that its dendrites can change.

While one task is learned, its context c does not change. So the activations s_ij = V_ij . c of all
segments but the winner of each unit stay what they are, and the gradient reaches the winner alone: delta_i
for its activation, delta_i c_k for its weight k. Adam divides a gradient by its size. So it moves all weights of
a segment equally far, each in the direction of sign(c_k), and the activation by |c|_1 times as much, |c|_1 being
the sum of all |c_k|. Adam on the activations themselves, with |c|_1 times the learning rate, is the same
training. Its moments are one number for each unit too: for the publication's hundred tasks (J = 100,
2 x 2048 units, C = 784) 4,096 numbers are trained at a time in place of 321 million. The weights follow
when they are needed.

A winner that shrinks below the strongest loser hands over to it, as in the layer itself. Three things differ
from an Adam that holds all weights. There, a segment that has just lost is carried on for some steps by its
momentum; here its moments stand still until it wins again. Adam's epsilon is added to the size of delta_i, not
to that of delta_i c_k. And where the context itself moves (clusters become more exact while a task is learned),
the moments go on as they are; there, they are those of gradients along the old context.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dendrites import DendriticSegments


class WinningSegments:
    """The activations of one layer's winning segments under one context, as a parameter of their own.

    Args:
        dendrites: the layer's, gated by `abs_max_signed`, without stack and mask. Their weights are out
            of date from here on until `write_back`.
        context: `[C]`.

    Attributes:
        activation: of the winners `[U]`, to be given to Adam.
        reach: how many times the learning rate of weights it is to be trained with.
        winner: the segment that wins in each unit `[U]`.

    Raises:
        ValueError: the dendrites are of another kind.
    """

    def __init__(self, dendrites: DendriticSegments, context: Tensor) -> None:
        if dendrites.gating != "abs_max_signed" or dendrites.stack or dendrites.mask is not None:
            raise ValueError("needs dense segments gated by abs_max_signed, without a stack")
        self._dendrites = dendrites
        self._meet(context)
        self.winner = self._strongest()
        self._units = torch.arange(len(self.winner), device=context.device)
        self.activation = nn.Parameter(self._activations[self.winner, self._units])
        # Adam's moments of the losers [2, J, U], means and squares, as they were when they last won.
        self._moments = torch.zeros_like(self._activations).repeat(2, 1, 1)

    def gate(self) -> Tensor:
        """What the layer's dendrites say to this context `[U]`; its gradient reaches `activation`."""
        return torch.sigmoid(self.activation)

    @torch.no_grad()
    def after_step(self, optimizer: torch.optim.Adam) -> int:
        """Let a stronger loser take over; call it after each step. Returns how many did."""
        self._activations[self.winner, self._units] = self.activation
        return self._hand_over(optimizer)

    @torch.no_grad()
    def write_back(self) -> None:
        """Bring the layer's weights up to date; `activation` may be trained on afterwards."""
        moved = self._activations - self._stored
        segment, unit = moved.nonzero(as_tuple=True)
        steps = (moved[segment, unit] / self.reach).unsqueeze(1)  # [n, 1]
        self._dendrites.weight[segment, unit] += steps * self._context.sign()
        self._stored.copy_(self._activations)

    @torch.no_grad()
    def move(self, context: Tensor, optimizer: torch.optim.Adam) -> int:
        """The context itself becomes another, `[C]`; returns how many winners changed."""
        self.write_back()
        self._meet(context)
        self.activation.copy_(self._activations[self.winner, self._units])
        return self._hand_over(optimizer)

    def state_dict(self) -> dict[str, Tensor]:
        """For a checkpoint, next to the layer's own weights as they are and the context."""
        return {
            "winner": self.winner,
            "activations": self._activations,
            "stored": self._stored,
            "moments": self._moments,
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore `state_dict()`; the layer's own weights have to be those of the same moment.

        Raises:
            KeyError: a tensor is missing.
            RuntimeError, IndexError: one has another shape, or a segment is not there.
        """
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])
        self.activation.copy_(self._activations[self.winner, self._units])

    @torch.no_grad()
    def _meet(self, context: Tensor) -> None:
        self._context, self.reach = context, float(context.abs().sum())
        self._activations = self._dendrites.activations(context)  # [J, U], up to date
        self._stored = self._activations.clone()  # [J, U], those of the layer's weights

    def _strongest(self) -> Tensor:
        return self._activations.abs().max(dim=0).indices

    def _hand_over(self, optimizer: torch.optim.Adam) -> int:
        strongest = self._strongest()
        units = (strongest != self.winner).nonzero().squeeze(1)
        if len(units):
            before, after = self.winner[units], strongest[units]
            own = optimizer.state[self.activation]
            for moments, kept in zip(
                (own["exp_avg"], own["exp_avg_sq"]), self._moments, strict=True
            ):
                kept[before, units] = moments[units]
                moments[units] = kept[after, units]
            self.activation[units] = self._activations[after, units]
            self.winner[units] = after
        return len(units)
