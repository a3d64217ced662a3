"""Training under one context: only the winning segment of each unit can change.

While one task is learned, its context c does not change. So the activations s_ij = V_ij . c of all
segments but the winner of each unit stay what they are, and the gradient reaches the winner alone. What
has to be kept in an optimiser's hands is then one segment for each unit, `[U, C]`, instead of J of them:
for the publication's hundred tasks (J = 100, 2 x 2048 units, C = 784) 3.2 of 321 million weights.

A winner that shrinks below the strongest loser hands over to it, as in the layer itself. One thing differs
from an Adam that holds all segments: there, a segment that has just lost is carried on for some steps by
its momentum. Here its moments stand still until it wins again.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dendrites import DendriticSegments


class WinningSegments:
    """The segments of one layer that win under one context, as a parameter of their own.

    Args:
        dendrites: the layer's, gated by `abs_max_signed`, without stack and mask. Their weights are out
            of date from here on until `write_back`.
        context: `[C]`.

    Attributes:
        weight: of the winners `[U, C]`, to be given to an optimiser.

    Raises:
        ValueError: the dendrites are of another kind.
    """

    def __init__(self, dendrites: DendriticSegments, context: Tensor) -> None:
        if dendrites.gating != "abs_max_signed" or dendrites.stack or dendrites.mask is not None:
            raise ValueError("needs dense segments gated by abs_max_signed, without a stack")
        self._dendrites, self._context = dendrites, context
        with torch.no_grad():
            self._activations = dendrites.activations(context)  # [J, U]
            self.winner = self._activations.abs().max(dim=0).indices  # [U]
            self._units = torch.arange(len(self.winner), device=context.device)
            self.weight = nn.Parameter(self._rows(self.winner, self._units))
        self._former: dict[
            tuple[int, int], tuple[Tensor, Tensor]
        ] = {}  # moments by (unit, segment)

    def gate(self) -> Tensor:
        """What the layer's dendrites say to this context `[U]`; its gradient reaches `weight`."""
        return torch.sigmoid(self.weight @ self._context)

    @torch.no_grad()
    def after_step(self, optimizer: torch.optim.Adam) -> int:
        """Let a stronger loser take over; call it after each step. Returns how many did."""
        self._activations[self.winner, self._units] = self.weight @ self._context
        strongest = self._activations.abs().max(dim=0).indices
        changed = (strongest != self.winner).nonzero().squeeze(1)
        if len(changed):
            self._hand_over(changed, strongest, optimizer)
        return len(changed)

    @torch.no_grad()
    def write_back(self) -> None:
        """Put the winners into the layer's weights; `weight` may be trained on afterwards."""
        self._dendrites.weight[self.winner, self._units] = self.weight

    @torch.no_grad()
    def move(self, context: Tensor, optimizer: torch.optim.Adam) -> int:
        """The context itself becomes another, `[C]`; returns how many winners changed."""
        self.write_back()
        self._context = context
        self._activations = self._dendrites.activations(context)
        return self.after_step(optimizer)

    def state_dict(self) -> dict[str, Tensor]:
        """For a checkpoint, next to the layer's own weights (`write_back` first) and the context."""
        moments = list(self._former.values())
        nothing = self.weight.detach()[:0]
        return {
            "winner": self.winner,
            "activations": self._activations,
            "former": torch.tensor(list(self._former), dtype=torch.int64).view(-1, 2),
            "former_mean": torch.stack([mean for mean, _ in moments]) if moments else nothing,
            "former_square": torch.stack([square for _, square in moments]) if moments else nothing,
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore `state_dict()`; the layer's own weights have to be those of the same moment.

        Raises:
            KeyError: a tensor is missing.
            RuntimeError, IndexError: one has another shape, or a segment is not there.
        """
        self._activations.copy_(state["activations"])
        self.winner.copy_(state["winner"])
        self.weight.copy_(self._rows(self.winner, self._units))
        pairs = state["former"].tolist()
        moments = zip(state["former_mean"], state["former_square"], strict=True)
        self._former = {
            (unit, segment): (mean.to(self.weight.device), square.to(self.weight.device))
            for (unit, segment), (mean, square) in zip(pairs, moments, strict=True)
        }

    def _rows(self, winner: Tensor, units: Tensor) -> Tensor:
        """Weights of one segment for each of some units `[n, C]`, a copy."""
        return self._dendrites.weight.detach()[winner, units]

    def _hand_over(self, units: Tensor, strongest: Tensor, optimizer: torch.optim.Adam) -> None:
        before, after = self.winner[units], strongest[units]
        self._dendrites.weight[before, units] = self.weight[units]
        self.weight[units] = self._rows(after, units)
        state = optimizer.state[self.weight]
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        for unit, old, new in zip(units.tolist(), before.tolist(), after.tolist(), strict=True):
            self._former[unit, old] = mean[unit].clone(), square[unit].clone()
            zeros = torch.zeros_like(mean[unit])
            mean[unit], square[unit] = self._former.pop((unit, new), (zeros, zeros))
        self.winner[units] = after
