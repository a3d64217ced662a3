"""The optimiser with Synaptic Intelligence around its steps, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agent.descent import Descent
from continual.synaptic_intelligence import SynapticIntelligence

LR, STRENGTH, DAMPING = 0.5, 3.0, 0.75
START, FREE = 2.0, 7.0


def make() -> tuple[nn.Parameter, nn.Parameter, Descent]:
    """A parameter that is held and one that is not."""
    held, free = (
        nn.Parameter(torch.tensor([value], dtype=torch.float64)) for value in (START, FREE)
    )
    protection = SynapticIntelligence([held], STRENGTH, DAMPING)
    return held, free, Descent([held, free], LR, weight_decay=0.0, protection=protection)


def step(descent: Descent, held: float, free: float = 1.0) -> float:
    gradients = [torch.tensor([value], dtype=torch.float64) for value in (held, free)]
    return float(descent.step(gradients).skipped)


def test_what_a_step_gains_and_how_it_is_held() -> None:
    """Adam's first step is the learning rate long, against the gradient's sign."""
    held, free, descent = make()
    step(descent, 4.0)
    assert held.item() == pytest.approx(START - LR)
    state = descent.protection.state_dict()
    assert state["gain.0"].item() == pytest.approx(4.0 * LR)  # -g times the move
    descent.end_task(forget_moments=True)
    importance = 4.0 * LR / (LR**2 + DAMPING)
    assert state["importance.0"].item() == pytest.approx(importance)
    assert state["anchor.0"].item() == pytest.approx(START - LR)

    step(descent, -1.0)  # at the anchor nothing pulls; Adam begins anew
    assert held.item() == pytest.approx(START)
    assert descent.state_dict()["mean"][0].item() == pytest.approx(0.1 * -1.0)
    step(descent, -1.0)
    pull = 2 * STRENGTH * importance * LR
    expected = 0.9 * (0.1 * -1.0) + 0.1 * (-1.0 + pull)
    assert descent.state_dict()["mean"][0].item() == pytest.approx(expected)
    # The other one has had the same gradient of 1 all along, and nothing pulls it.
    assert free.item() == pytest.approx(FREE - 3 * LR)


def test_moments_are_kept_unless_they_should_be_forgotten() -> None:
    for forget, steps in ((False, 1), (True, 0)):
        _, _, descent = make()
        step(descent, 4.0)
        descent.end_task(forget)
        state = descent.state_dict()
        assert float(state["steps"]) == steps
        assert bool(state["mean"].any()) == bool(state["square"].any()) == (not forget)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_is_skipped_has_gained_nothing(bad: float) -> None:
    held, _, descent = make()
    step(descent, 4.0)
    before = {name: value.clone() for name, value in descent.protection.state_dict().items()}
    where = held.item()
    assert step(descent, 1.0, bad) == step(descent, bad) == 1
    assert held.item() == where
    for name, value in descent.protection.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_second_end_before_the_next_step_changes_nothing() -> None:
    _, _, descent = make()
    step(descent, 4.0)
    descent.end_task(forget_moments=False)
    before = {name: value.clone() for name, value in descent.protection.state_dict().items()}
    descent.end_task(forget_moments=False)
    for name, value in descent.protection.state_dict().items():
        assert torch.equal(value, before[name]), name
