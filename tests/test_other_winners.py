"""k-winners' variants against naive loops and their limits, in every layout; what they remember."""

from __future__ import annotations

import copy
import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from agent.activations import following, winners_of
from agent.plan import resolve
from agent.sac import SAC
from configs import load_config
from configs.network import Activation
from configs.schema import Config
from dendrites import (
    AnnealedKWinners,
    BoostedKWinners,
    NucleusWinners,
    OtherWinners,
    SoftWinners,
    ThresholdWinners,
    k_winners,
    nonzero_parameters,
    winners_count,
)
from dendrites.winners import keep_largest, lowest_by_sort

UNITS, TASKS, PER_TASK = 12, 3, 5
KINDS: tuple[Activation, ...] = (
    "annealed_k_winners",
    "boosted_k_winners",
    "soft_winners",
    "threshold_winners",
    "nucleus_winners",
)


def randn(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def boosted(stack: int | None = None, strength: float = 3.0) -> BoostedKWinners:
    module = BoostedKWinners(UNITS, 0.25, 0.5, num_tasks=TASKS, strength=strength, stack=stack)
    module.duty.copy_(randn(*module.duty.shape, seed=4).sigmoid())
    return module.double()


# --- each kind is its definition -----------------------------------------------------------------


def naive_soft(row: list[float], k: int, annealed: float) -> list[float]:
    ranked = sorted(row, reverse=True)
    threshold = (ranked[k - 1] + ranked[k]) / 2
    temperature = 0.05**annealed * statistics.pstdev(row)
    return [y / (1 + math.exp(-(y - threshold) / temperature)) for y in row]


def naive_nucleus(row: list[float], mass: float) -> list[float]:
    spread = statistics.pstdev(row)
    shares = [math.exp(y / spread) for y in row]
    order = sorted(range(len(row)), key=lambda unit: -row[unit])
    kept, sum_so_far = set(), 0.0
    for unit in order:
        if kept and sum_so_far >= mass:
            break
        kept.add(unit)
        sum_so_far += shares[unit] / sum(shares)
    return [y if unit in kept else 0.0 for unit, y in enumerate(row)]


def naive_boosted(row: list[float], duty: list[float], boost: float) -> list[float]:
    spread = statistics.pstdev(row)
    score = [y + boost * spread * (0.25 - d) for y, d in zip(row, duty, strict=True)]
    lowest = sorted(score, reverse=True)[2]  # 3 of 12 win
    return [y if s >= lowest else 0.0 for y, s in zip(row, score, strict=True)]


@pytest.mark.parametrize("annealed", [0.0, 0.4, 1.0])
def test_soft_winners_are_their_definition(annealed: float) -> None:
    module, y = SoftWinners(UNITS, 0.25, 0.5).double(), randn(7, UNITS)
    module.set_progress(annealed * 0.5)
    expected = [naive_soft(row, 3, annealed) for row in y.tolist()]
    torch.testing.assert_close(module(y), y.new_tensor(expected))


@given(st.floats(0.05, 1))
def test_nucleus_winners_are_their_definition(mass: float) -> None:
    y = randn(7, UNITS)
    expected = [naive_nucleus(row, mass) for row in y.tolist()]
    torch.testing.assert_close(NucleusWinners(UNITS, 0.25, mass)(y), y.new_tensor(expected))


def test_of_a_normal_row_the_default_nucleus_is_a_quarter() -> None:
    active = NucleusWinners(1_000, 0.25)(randn(200, 1_000)) != 0
    assert active.double().mean() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("fraction", "winners"), [(0.0, 11), (0.25, 7), (0.5, 3), (1.0, 3)]
)  # of 12: 90 %, halfway 57.5 %, 25 %
def test_the_density_of_annealed_winners_falls(fraction: float, winners: int) -> None:
    module, y = AnnealedKWinners(UNITS, 0.25, 0.5).double(), randn(7, UNITS)
    module.set_progress(fraction)
    torch.testing.assert_close(module(y), k_winners(y, winners))


def test_a_nucleus_of_all_mass_lets_all_pass() -> None:
    """Also where the rounded sum of shares reaches 1 before the last unit."""
    y = randn(50, 1024).float() ** 3
    y[:, 7] = 1000
    assert torch.equal(NucleusWinners(1024, 0.25, 1.0)(y), y)


@pytest.mark.parametrize("stack", [None, 2])
@pytest.mark.parametrize("samples", [(), (5,), (3, 5)])
def test_thresholds_learn_from_inputs_of_any_shape(
    stack: int | None, samples: tuple[int, ...]
) -> None:
    lead = () if stack is None else (stack,)
    module = ThresholdWinners(UNITS, 0.25, stack=stack).train()
    above = (y := randn(*lead, *samples, UNITS).float()) > 0
    assert torch.equal(module(y), y * above)
    rates = above.float().reshape(*lead, -1, UNITS).mean(dim=-2)
    torch.testing.assert_close(module.threshold, 0.01 * (rates - 0.25))


def test_thresholds_follow_a_batch_after_they_have_chosen_in_it() -> None:
    """So what passes in training is what would have passed without learning from it."""
    learning, frozen = ThresholdWinners(UNITS, 0.25), ThresholdWinners(UNITS, 0.25)
    learning.train()
    y = (
        0.005 * randn(1, 7, UNITS).float()
    )  # so near to the thresholds that a step of theirs matters
    assert torch.equal(learning(y), frozen(y))
    assert not torch.equal(learning(y), frozen(y))


@given(st.integers(1, 400), st.integers(1, 100))
def test_annealed_winners_end_at_the_count_of_k_winners(units: int, hundredths: int) -> None:
    """Also where it is rounded from a half."""
    density = hundredths / 100
    module = AnnealedKWinners(units, density, 0.5)
    module.set_progress(1.0)
    y = torch.arange(1.0, units + 1)
    assert int((module(y) != 0).sum()) == winners_count(units, density)


@pytest.mark.parametrize(
    "module",
    [
        *(kind(UNITS, 0.25, 0.5) for kind in (AnnealedKWinners, SoftWinners)),
        BoostedKWinners(UNITS, 0.25, 0.5, num_tasks=1),
        *(ThresholdWinners(UNITS, 0.25), NucleusWinners(UNITS, 0.25)),
    ],
    ids=lambda module: type(module).__name__,
)
def test_a_nan_shows(module: OtherWinners) -> None:
    """Not as 0: an actor would go on with finite actions."""
    y = randn(1, 2, UNITS).float()
    y[0, 1, 4] = torch.nan
    out = module(y)
    assert out[0, 0].isfinite().all()
    assert out[0, 1, 4].isnan()


@pytest.mark.parametrize("count", [1, 3, UNITS, UNITS + 1])
def test_the_way_of_a_gpu_finds_the_same_threshold(count: int) -> None:
    y = randn(7, UNITS)
    ranked = y.sort(dim=-1, descending=True).values
    found = lowest_by_sort(y, torch.tensor(float(count)))
    assert torch.equal(found, ranked[:, min(count, UNITS) - 1, None])
    kept = keep_largest(y, y, torch.tensor(float(count)))
    assert torch.equal(kept, torch.where(y >= found, y, 0.0))


@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.5])
def test_boosted_winners_are_their_definition(fraction: float) -> None:
    module, y = boosted(), randn(TASKS, PER_TASK, UNITS)
    module.set_progress(fraction)
    expected = [
        [naive_boosted(row, duty, 3.0 * (1 - 2 * fraction)) for row in rows]
        for rows, duty in zip(y.tolist(), module.duty.tolist(), strict=True)
    ]
    torch.testing.assert_close(module(y), y.new_tensor(expected))


def test_a_boost_moves_units_towards_the_density() -> None:
    """Those that a task has seldom used win more often; negative values are no exception."""
    module = BoostedKWinners(UNITS, 0.25, 1.0, num_tasks=1, strength=20.0).double()
    y = randn(1, 400, UNITS) + torch.linspace(-3, -1, UNITS)  # later units are larger
    plain = (k_winners(y, 3) != 0).double().mean(dim=(0, 1))
    module.train()
    for _ in range(1_000):
        module(y)
    assert plain.max() > 0.5
    assert module.duty.max() < 0.4
    assert module.duty.min() > 0.15
    assert module.duty.mean() == pytest.approx(0.25, abs=1e-9)


@pytest.mark.parametrize("density", [0.1, 0.25])
def test_thresholds_find_the_quantile_of_each_unit(density: float) -> None:
    module = ThresholdWinners(4, density).double().train()
    shift = torch.tensor([-2.0, 0.0, 1.0, 0.5], dtype=torch.float64)
    for seed in range(3_000):
        module(randn(TASKS, 50, 4, seed=seed) + shift)
    expected = statistics.NormalDist().inv_cdf(1 - density) + shift
    torch.testing.assert_close(module.threshold, expected, atol=0.1, rtol=0)
    y = randn(2_000, 4, seed=9) + shift
    assert torch.equal(module(y) != 0, y > module.threshold)


# --- limits --------------------------------------------------------------------------------------


def test_each_kind_has_k_winners_as_its_limit() -> None:
    y = randn(7, UNITS)
    expected = k_winners(y, 3)
    annealed = AnnealedKWinners(UNITS, 0.25, 1.0).double()
    annealed.set_progress(1.0)
    torch.testing.assert_close(annealed(y), expected)
    unboosted = BoostedKWinners(UNITS, 0.25, 1.0, num_tasks=7, strength=0.0).double()
    torch.testing.assert_close(unboosted(y.unsqueeze(1)).squeeze(1), expected)
    ranked = y.sort(descending=True).values
    thresholds = ThresholdWinners(UNITS, 0.25).double()
    for row, lowest, winners in zip(y, ranked[:, 3], expected, strict=True):
        thresholds.threshold.fill_(lowest)
        torch.testing.assert_close(thresholds(row.unsqueeze(0)).squeeze(0), winners)


@pytest.mark.parametrize("kind", ["annealed", "boosted", "threshold", "nucleus"])
def test_the_gradient_is_that_of_the_winners(kind: str) -> None:
    makers = {
        "annealed": lambda: AnnealedKWinners(UNITS, 0.25, 1.0, first_density=0.5).double(),
        "boosted": boosted,
        "threshold": lambda: ThresholdWinners(UNITS, 0.25).double(),
        "nucleus": lambda: NucleusWinners(UNITS, 0.25),
    }
    y = randn(TASKS, PER_TASK, UNITS).requires_grad_()
    out = makers[kind]()(y)
    (gradient,) = torch.autograd.grad(out.square().sum() / 2, y)
    assert torch.equal(gradient, out.detach())  # y where active, else 0
    assert 0 < (out != 0).double().mean() < 1


def test_near_losers_of_soft_winners_get_a_gradient() -> None:
    y = randn(1, UNITS).requires_grad_()
    (gradient,) = torch.autograd.grad(SoftWinners(UNITS, 0.25, 1.0)(y).sum(), y)
    assert (gradient != 0).all()
    # Threshold and spread are constants to the gradient. By the product rule, with s' = s (1 - s):
    held = y.detach()
    ranked, spread = held.sort(descending=True).values[0], held.std(correction=0)
    gate = torch.sigmoid((held - (ranked[2] + ranked[3]) / 2) / spread)
    torch.testing.assert_close(gradient, gate + held * gate * (1 - gate) / spread)


# --- layouts and state ---------------------------------------------------------------------------


@pytest.mark.parametrize("stack", [None, 2])
def test_duty_cycles_follow_each_task_in_every_layout(stack: int | None) -> None:
    """Groups and single samples of a task give what its row of a task-major batch gives."""
    lead = () if stack is None else (stack,)
    y = randn(*lead, TASKS, PER_TASK, UNITS)
    major, groups, samples = (boosted(stack).train() for _ in range(3))
    expected = major(y)
    order = torch.tensor([2, 0, 1])
    grouped = groups(y[..., order, :, :], order.unsqueeze(1))
    torch.testing.assert_close(grouped, expected[..., order, :, :])
    task = torch.arange(TASKS).repeat_interleave(PER_TASK)
    single = samples(y.flatten(len(lead), -2), task)
    torch.testing.assert_close(single, expected.flatten(len(lead), -2))
    for module in (groups, samples):
        torch.testing.assert_close(module.duty, major.duty)
    before = boosted(stack).duty
    active = (expected != 0).double().mean(dim=-2)
    torch.testing.assert_close(major.duty, before + 0.01 * (active - before))


def test_a_task_that_is_absent_keeps_its_duty_cycle() -> None:
    module, before = boosted().train(), boosted().duty
    module(randn(1, PER_TASK, UNITS), torch.tensor([[1]]))
    changed = (module.duty != before).any(dim=-1)
    assert changed.tolist() == [False, True, False]


def test_nothing_is_remembered_outside_training() -> None:
    for module in (boosted(), ThresholdWinners(UNITS, 0.25).double()):
        before = copy.deepcopy(module.state_dict())
        module(randn(TASKS, PER_TASK, UNITS))
        assert not module.training
        assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


@pytest.mark.parametrize("fraction", [0.0, -1.0, 1.5])
def test_fractions_are_checked(fraction: float) -> None:
    for make in (
        lambda: SoftWinners(UNITS, fraction, 1.0),
        lambda: SoftWinners(UNITS, 0.25, fraction),
        lambda: AnnealedKWinners(UNITS, 0.25, 1.0, fraction),
        lambda: NucleusWinners(UNITS, 0.25, fraction),
    ):
        with pytest.raises(ValueError, match=r"must be in \(0, 1\]"):
            make()


# --- in the agent --------------------------------------------------------------------------------


def small(activation: Activation) -> Config:
    config = load_config("smoke")
    network = replace(
        config.network, actor_hidden=(16, 12), critic_hidden=(8, 8), activation=activation
    )
    machine = replace(config.machine, compile="never")
    return replace(config, network=network, machine=machine)


def agent_of(config: Config) -> SAC:
    return SAC(resolve(config, torch.device("cpu")), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("activation", KINDS)
def test_an_agent_learns_with_each_kind_and_has_as_many_parameters(activation: Activation) -> None:
    from agent.first_update import blank_batch

    config = small(activation)
    agent = agent_of(config)
    assert nonzero_parameters(agent) == nonzero_parameters(agent_of(small("k_winners")))
    (batch, noise), before = blank_batch(resolve(config)), copy.deepcopy(agent.state_dict())
    agent.warm_up(batch, noise)  # learns nothing
    after = agent.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    obs = torch.randn(batch.obs.shape, generator=torch.Generator().manual_seed(3))
    agent.set_progress(0.1)
    for _ in range(3):
        metrics = agent.update(batch._replace(obs=obs, next_obs=obs), noise)
    assert all(value.isfinite().all() for value in metrics.values())
    changed = {
        key for key, value in agent.state_dict().items() if not torch.equal(value, before[key])
    }
    assert any("actor" in key for key in changed)
    remembered = {"boosted_k_winners": "duty", "threshold_winners": "threshold"}.get(activation)
    if remembered is not None:
        for network in ("actor", "critic", "target_critic"):
            assert any(key.startswith(network) and remembered in key for key in changed)


@pytest.mark.parametrize("activation", KINDS)
def test_the_policy_in_a_worker_acts_as_the_learners(activation: Activation) -> None:
    """What the activations follow goes along with the weights."""
    import pickle

    from agent.player import evaluated_player

    agent = agent_of(small(activation))
    tasks = len(agent.log_temperature)
    mine = evaluated_player(agent.policy, tasks, sampled=False)
    theirs = pickle.loads(mine.for_workers())
    agent.set_progress(0.2)
    for module in agent.modules():
        if isinstance(module, BoostedKWinners):
            module.duty.uniform_()
        if isinstance(module, ThresholdWinners):
            module.threshold.uniform_(-0.5, 0.5)
    obs = np.random.default_rng(0).normal(size=(2 * tasks, 39)).astype(np.float32)
    nothing = np.zeros((2 * tasks, 0), np.float32)
    before = theirs.act(obs, nothing, nothing)
    theirs.load(mine.weights())
    np.testing.assert_array_equal(
        theirs.act(obs, nothing, nothing), mine.act(obs, nothing, nothing)
    )
    if activation != "nucleus_winners":
        assert not np.array_equal(before, theirs.act(obs, nothing, nothing))


def test_only_updates_are_followed() -> None:
    agent = agent_of(small("threshold_winners"))
    others = winners_of(agent)
    assert len(others) == 6  # two layers of actor, critics, targets
    assert not any(module.training for module in others)
    with following(others):
        assert all(module.training for module in others)
    assert not any(module.training for module in others)


def test_the_first_density_is_that_of_the_initial_weights() -> None:
    wide, narrow = (agent_of(small(kind)) for kind in ("annealed_k_winners", "k_winners"))
    sizes = [one.actor.trunk.layers[1].linear.weight.abs().max().item() for one in (wide, narrow)]
    assert sizes[0] / sizes[1] == pytest.approx(math.sqrt(0.25 / 0.9), rel=0.02)
    assert winners_count(256, 0.9) == 230
