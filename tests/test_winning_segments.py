"""Training the winning segments alone against training all of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from continual.winning_segments import WinningSegments
from dendrites import DendriticSegments

UNITS, CONTEXT, SEGMENTS = 12, 7, 5


def segments(seed: int = 0) -> DendriticSegments:
    generator = torch.Generator().manual_seed(seed)
    return DendriticSegments(UNITS, CONTEXT, num_segments=SEGMENTS, generator=generator).double()


def train(
    dense: DendriticSegments, context: Tensor, target: Tensor, steps: int, **adam: float
) -> int:
    """All weights, with the layer's own selection; returns how often a winner changed."""
    optimizer = torch.optim.Adam(dense.parameters(), **adam)
    winner, changes = None, 0
    for _ in range(steps):
        optimizer.zero_grad()
        (dense.gate(context) - target).square().sum().backward()
        optimizer.step()
        now = dense.activations(context).abs().max(dim=0).indices
        changes += 0 if winner is None else int((now != winner).sum())
        winner = now
    return changes


def train_winners(
    dendrites: DendriticSegments, context: Tensor, target: Tensor, steps: int, **adam: float
) -> int:
    winning = WinningSegments(dendrites, context)
    rate = adam.pop("lr") * winning.reach
    optimizer = torch.optim.Adam([winning.activation], lr=rate, **adam)
    changes = 0
    for _ in range(steps):
        optimizer.zero_grad()
        (winning.gate() - target).square().sum().backward()
        optimizer.step()
        changes += winning.after_step(optimizer)
    winning.write_back()
    return changes


@pytest.fixture
def context() -> Tensor:
    return torch.randn(CONTEXT, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_the_gate_and_its_gradient_are_the_layers(context: Tensor) -> None:
    dendrites = segments()
    winning = WinningSegments(dendrites, context)
    assert torch.equal(winning.gate(), dendrites.gate(context))
    cotangent = torch.randn(UNITS, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (own,) = torch.autograd.grad(winning.gate(), winning.activation, cotangent)
    (all_of_them,) = torch.autograd.grad(dendrites.gate(context), dendrites.weight, cotangent)
    units = torch.arange(UNITS)
    torch.testing.assert_close(own.outer(context), all_of_them[winning.winner, units])
    all_of_them[winning.winner, units] = 0
    assert not all_of_them.any()


def test_while_no_winner_changes_training_is_the_same(context: Tensor) -> None:
    """Gates that move away from one half: winners grow."""
    dense, ours = segments(), segments()
    target = (dense.gate(context) > 0.5).double()
    assert train(dense, context, target, 200, lr=0.01, eps=1e-15) == 0
    assert train_winners(ours, context, target, 200, lr=0.01, eps=1e-15) == 0
    torch.testing.assert_close(ours.weight, dense.weight, rtol=1e-9, atol=1e-9)


def test_epsilon_is_felt_where_gradients_are_as_small(context: Tensor) -> None:
    """The one difference of the step itself: with one pixel of size 1 there is none."""
    one_hot = torch.eye(CONTEXT, dtype=torch.float64)[2]
    for seen, same in ((context, False), (one_hot, True)):
        dense, ours = segments(), segments()
        target = (dense.gate(seen) > 0.5).double()
        train(dense, seen, target, 20, lr=0.01, eps=0.1)
        train_winners(ours, seen, target, 20, lr=0.01, eps=0.1)
        assert torch.allclose(ours.weight, dense.weight, rtol=1e-9, atol=1e-9) is same


def test_a_winner_that_shrinks_hands_over_as_in_the_layer(context: Tensor) -> None:
    """Without memory of earlier gradients nothing differs, wherever and whenever winners change."""
    dense, ours = segments(), segments()
    target = torch.full((UNITS,), 0.5, dtype=torch.float64)
    adam = {"lr": 0.01, "betas": (0.0, 0.0), "eps": 1e-15}
    assert train(dense, context, target, 120, **adam) > UNITS
    assert train_winners(ours, context, target, 120, **adam) > UNITS
    torch.testing.assert_close(ours.weight, dense.weight, rtol=1e-9, atol=1e-9)


def test_a_segment_that_wins_again_goes_on_with_its_own_moments() -> None:
    """One unit with two segments of one weight, by hand: 0.5 wins over -0.4 until it is pulled below."""
    dendrites = DendriticSegments(1, 1, num_segments=2).double()
    with torch.no_grad():
        dendrites.weight[:] = torch.tensor([0.5, -0.4]).view(2, 1, 1)
    winning = WinningSegments(dendrites, torch.ones(1, dtype=torch.float64))
    assert winning.reach == 1
    optimizer = torch.optim.Adam([winning.activation], lr=0.2)

    def step(gradient: float) -> None:
        winning.activation.grad = torch.full_like(winning.activation, gradient)
        optimizer.step()

    step(1.0)  # 0.5 -> 0.3
    assert winning.activation.item() == pytest.approx(0.3)
    mean = optimizer.state[winning.activation]["exp_avg"].item()
    assert winning.after_step(optimizer) == 1  # -0.4 takes over, without a past
    assert winning.activation.item() == pytest.approx(-0.4)
    assert optimizer.state[winning.activation]["exp_avg"].item() == 0
    step(-1.0)
    other = winning.activation.item()
    assert abs(other) < 0.3
    assert winning.after_step(optimizer) == 1  # 0.3 is back, with the moments that it had
    assert winning.activation.item() == pytest.approx(0.3)
    assert optimizer.state[winning.activation]["exp_avg"].item() == pytest.approx(mean)
    winning.write_back()
    assert dendrites.weight.flatten().tolist() == pytest.approx([0.3, other])


def test_a_context_that_moves_is_met_by_the_segments_that_match_it_best(context: Tensor) -> None:
    dendrites = segments()
    winning = WinningSegments(dendrites, context)
    optimizer = torch.optim.Adam([winning.activation], lr=0.01)
    winning.gate().sum().backward()
    optimizer.step()
    winning.after_step(optimizer)
    moved = context + torch.randn(
        CONTEXT, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )
    assert winning.move(moved, optimizer) > 0
    strongest = dendrites.activations(moved).abs().max(dim=0).indices
    assert torch.equal(winning.winner, strongest)
    assert torch.equal(winning.gate(), dendrites.gate(moved))


def test_weights_are_written_back_along_the_contexts_signs(context: Tensor) -> None:
    dendrites = segments()
    before = dendrites.weight.detach().clone()
    winning = WinningSegments(dendrites, context)
    optimizer = torch.optim.Adam([winning.activation], lr=0.001)
    winning.gate().sum().backward()
    optimizer.step()
    assert winning.after_step(optimizer) == 0
    winning.write_back()
    torch.testing.assert_close(dendrites.gate(context), winning.gate())
    units = torch.arange(UNITS)
    moved = dendrites.weight.detach() - before
    steps = moved[winning.winner, units] * context.sign()  # [U, C]
    torch.testing.assert_close(steps, steps[:, :1].expand_as(steps))
    moved[winning.winner, units] = 0
    assert not moved.any()
    before = dendrites.weight.detach().clone()
    winning.write_back()  # nothing is left to be written
    assert torch.equal(dendrites.weight, before)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DendriticSegments(3, 4, gating="max"),
        lambda: DendriticSegments(3, 4, stack=2),
        lambda: DendriticSegments(3, 4, segment_density=0.5),
    ],
)
def test_other_dendrites_are_refused(make: Callable[[], DendriticSegments]) -> None:
    with pytest.raises(ValueError, match="abs_max_signed"):
        WinningSegments(make(), torch.ones(4))
