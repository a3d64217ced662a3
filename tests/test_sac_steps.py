"""What one update moves, by how much, and what it leaves alone."""

from __future__ import annotations

import pytest
import torch
from sac_samples import (
    TASKS,
    changed,
    make_agent,
    make_batch,
    make_noise,
    shuffled,
    snapshot,
)

from agent.batch import Batch
from agent.task_major import TASKS_PRESENT


@pytest.mark.parametrize("critic_loss", ["mse", "hl_gauss"])
def test_an_update_changes_actor_critic_and_temperatures(critic_loss):
    agent = make_agent(critic_loss)
    before = snapshot(agent)
    agent.update(make_batch(), make_noise())
    assert changed(agent, before) == set(before)  # every tensor, the targets too


@pytest.mark.parametrize(
    ("frozen", "moving"), [("critic", "actor"), ("actor", "critic")], ids=["actor", "critic"]
)
def test_a_step_moves_its_own_network_only(frozen, moving):
    agent = make_agent(**{f"{frozen}_lr": 0.0})
    before = snapshot(agent)
    agent.update(make_batch(), make_noise())
    moved = changed(agent, before)
    assert not any(name.startswith(f"{frozen}.") for name in moved)
    assert any(name.startswith(f"{moving}.") for name in moved)


@pytest.mark.parametrize("critic_loss", ["mse", "hl_gauss"])
def test_the_actors_step_has_no_gradient_of_the_critics_weights(critic_loss):
    agent, has_gradient = make_agent(critic_loss), []
    agent.critic.register_forward_pre_hook(
        lambda critic, _: has_gradient.append({one.requires_grad for one in critic.parameters()})
    )
    agent.update(make_batch(), make_noise())
    assert has_gradient == [{True}, {False}]  # first the critics' loss, then the actor's
    assert all(one.requires_grad for one in agent.critic.parameters())


@pytest.mark.parametrize("tau", [0.005, 0.3, 1.0])
def test_the_targets_move_by_exactly_tau(tau):
    agent = make_agent(target_update_rate=tau, critic_lr=1e-2)
    agent.update(make_batch(), make_noise())  # targets and critics differ from here on
    before = snapshot(agent.target_critic)
    agent.update(make_batch(seed=4), make_noise(seed=5))
    critic = snapshot(agent.critic)
    for name, target in agent.target_critic.named_parameters():
        expected = (1 - tau) * before[name] + tau * critic[name]
        torch.testing.assert_close(target.detach(), expected, rtol=1e-12, atol=1e-14)
        assert not target.requires_grad


@pytest.mark.parametrize(("target_entropy", "direction"), [(100.0, 1), (-100.0, -1)])
def test_temperature_rises_below_the_target_entropy_and_falls_above(target_entropy, direction):
    agent = make_agent(target_entropy=target_entropy, temperature_lr=0.01)
    before = agent.log_temperature.detach().clone()
    agent.update(make_batch(), make_noise())
    # Adam's first step is the learning rate itself
    moved = (agent.log_temperature.detach() - before).tolist()
    assert moved == pytest.approx([direction * 0.01] * TASKS, rel=1e-5)


@pytest.mark.parametrize("layout", ["task_major", "shuffled"])
def test_each_task_steers_its_own_temperature(layout):
    batch, noise = make_batch(), make_noise()
    if layout == "shuffled":
        batch, noise = shuffled(batch, noise)
    entropy = make_agent().update(batch, noise)["policy/entropy"]
    middle = entropy.sort().values[:2].mean().item()  # one task below, two above
    agent = make_agent(target_entropy=middle)
    before = agent.log_temperature.detach().clone()
    agent.update(batch, noise)
    rises = agent.log_temperature.detach() > before
    assert rises.tolist() == (entropy < middle).tolist()
    assert rises.sum() == 1


def test_a_task_without_samples_reports_zero_and_keeps_its_temperature():
    agent = make_agent()
    batch, noise = shuffled(make_batch(), make_noise())
    here = batch.task != 1
    part = Batch(*(value[here] for value in batch))
    before = agent.log_temperature.detach().clone()
    metrics = agent.update(part, noise[:, here])
    entropy = make_agent().update(batch, noise)["policy/entropy"].tolist()
    assert metrics["policy/entropy"].tolist() == pytest.approx([entropy[0], 0, entropy[2]])
    assert metrics[TASKS_PRESENT].tolist() == [1, 0, 1]
    assert (agent.log_temperature.detach() != before).tolist() == [True, False, True]


@pytest.mark.parametrize("critic_loss", ["mse", "hl_gauss"])
def test_critics_learn_a_constant_target(critic_loss):
    # all samples terminate with reward 1: Q must become 1
    agent = make_agent(critic_loss, critic_lr=1e-2)
    batch = make_batch()
    batch = batch._replace(
        reward=torch.ones_like(batch.reward), discount=torch.zeros_like(batch.discount)
    )
    for step in range(150):
        metrics = agent.update(batch, make_noise(seed=step))
    assert metrics["values/q"].tolist() == pytest.approx([1.0] * TASKS, abs=0.1)


def test_learning_rates_fall_linearly_to_their_final_fraction():
    falling = make_agent(actor_lr=4e-3, critic_lr=8e-3, final_lr_fraction=0.25)
    falling.set_progress(2 / 3)  # 1 - 2/3 of 3/4
    half = make_agent(actor_lr=2e-3, critic_lr=4e-3)
    for agent in (falling, half):
        agent.update(make_batch(), make_noise())
    torch.testing.assert_close(falling.state_dict(), half.state_dict(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("task", range(TASKS))
def test_a_gradient_that_is_not_finite_changes_nothing(bad, task):
    """Neither parameters nor moments nor their step counts; the next good batch is learned from."""
    agent = make_agent("mse")
    batch, noise = make_batch(), make_noise()
    agent.update(batch, noise)
    before = {name: value.clone() for name, value in agent.critic.state_dict().items()}
    reward = batch.reward.clone()
    reward[task, 0] = bad
    metrics = agent.update(batch._replace(reward=reward), noise)
    assert metrics["losses/skipped/critic"] == 1
    assert metrics["losses/skipped/actor"] == 0
    assert not metrics["losses/critic"].isfinite()
    for name, value in agent.critic.state_dict().items():
        assert torch.equal(value, before[name]), name
    moments = agent.descents["critic"].state_dict()
    assert all(value.isfinite().all() for value in moments.values())
    assert moments["steps"] == 1
    metrics = agent.update(batch, noise)
    assert metrics["losses/skipped/critic"] == 0
    assert moments["steps"] == 2
    assert all(value.isfinite().all() for value in agent.state_dict().values())


@pytest.mark.parametrize("network", [{}, {"kind": "mlp"}, {"gating": "film"}])
def test_a_neutral_start_is_the_same_policy_for_every_network(network: dict) -> None:
    agent = make_agent(network=network, neutral_start=True)
    mean, log_std = agent.actor(make_batch().obs)
    assert (mean == 0).all()
    assert (log_std == 0).all()
    agent.update(make_batch(), make_noise())  # and it learns: the head gets a gradient
    assert (agent.actor(make_batch().obs)[0] != 0).any()
