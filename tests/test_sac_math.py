"""SAC: losses by hand, value representations by numeric integration, one update by reference."""

import copy
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch.distributions import Normal, TanhTransform, TransformedDistribution

from agent.losses import actor_loss, task_weights, td_target, temperature_loss
from agent.replay import Batch
from agent.returns import ReturnScale
from agent.sac import SAC
from agent.values import HLGaussValue, ScalarValue
from configs import MT10_TASKS, load_config

TASKS, PER_TASK, OBS, ACTION = 3, 6, 5, 2


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def float64(*values):
    return torch.tensor(values, dtype=torch.float64)


# --- losses by hand --------------------------------------------------------------------------


def test_td_target_by_hand():
    target = td_target(
        reward=float64(1.0, 1.0, 2.0),
        discount=float64(0.9, 0.0, 0.9),  # the second terminated
        next_q=float64([3.0, 3.0, 4.0], [5.0, 5.0, 1.0]),
        next_log_prob=float64(-1.0, -1.0, 0.5),
        temperature=float64(0.5, 0.5, 4.0),
    )
    # 1 + 0.9 (3 + 0.5); terminated: the reward alone; 2 + 0.9 (1 - 2)
    assert target.tolist() == pytest.approx([4.15, 1.0, 1.1])


def test_actor_loss_by_hand():
    q = float64([3.0, 4.0], [5.0, 1.0])
    temperature, weight = float64(0.5, 2.0), float64(1.5, 0.5)
    loss = actor_loss(q, log_prob=float64(-1.0, 0.5), temperature=temperature, weight=weight)
    assert loss.item() == pytest.approx((1.5 * (-0.5 - 3) + 0.5 * (1.0 - 1)) / 2)


def test_task_weights_by_hand():
    temperature = float64(0.1, 0.2, 0.5)  # inverse: 10, 5, 2
    assert task_weights(temperature, inverse=False).tolist() == [1, 1, 1]
    expected = [30 / 17, 15 / 17, 6 / 17]
    assert task_weights(temperature, inverse=True).tolist() == pytest.approx(expected)


def test_temperature_loss_by_hand():
    log_temperature = float64(math.log(0.5), math.log(2.0)).requires_grad_()
    loss = temperature_loss(log_temperature, float64(-1.0, 0.5), target_entropy=-1.5)
    # -(-0.693147 * -2.5 + 0.693147 * -1.0) / 2
    assert loss.item() == pytest.approx(-0.5198604)
    (gradient,) = torch.autograd.grad(loss, [log_temperature])
    assert gradient.tolist() == pytest.approx([2.5 / 2, 1.0 / 2])


# --- value representations -------------------------------------------------------------------


def test_scalar_value_by_hand():
    value, raw = ScalarValue(), torch.tensor([[[1.0], [2.0]], [[-1.0], [5.0]]])
    assert value.output_size == 1
    assert value.mean(raw).tolist() == [[1.0, 2.0], [-1.0, 5.0]]
    loss = value.loss(raw, torch.tensor([3.0, 2.0]))
    assert loss.tolist() == [[2.0, 0.0], [8.0, 4.5]]


BINS, LOW, HIGH = 11, -2.0, 3.0
WIDTH = (HIGH - LOW) / BINS
TARGETS = [-2.0, -1.9, -0.5, 0.0, 0.123, 1.0, 2.99, 3.0]


def naive_probabilities(target):
    """Mass of N(target, (0.75 width)^2) in each bin, renormalised, by numeric integration."""
    edges = [LOW + i * WIDTH for i in range(BINS + 1)]

    def density(x):
        return stats.norm.pdf(x, target, 0.75 * WIDTH)

    masses = [integrate.quad(density, a, b)[0] for a, b in itertools.pairwise(edges)]
    return [mass / sum(masses) for mass in masses]


@pytest.mark.parametrize("target", TARGETS)
def test_target_probabilities_equal_numeric_integrals(target):
    actual = HLGaussValue(BINS, LOW, HIGH).target_probabilities(torch.tensor(target))
    assert actual.tolist() == pytest.approx(naive_probabilities(target), abs=1e-6)


def test_target_probabilities_sum_to_one_everywhere():
    target = torch.linspace(-50, 50, 999).view(27, 37)
    probabilities = HLGaussValue(101, -10.0, 10.0).target_probabilities(target)
    assert probabilities.shape == (27, 37, 101)
    assert (probabilities >= 0).all()
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(27, 37), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("outside", "clamped"), [(3.5, 3.0), (1e6, 3.0), (-3.0, -2.0)])
def test_targets_outside_the_support_are_clamped_to_it(outside, clamped):
    value = HLGaussValue(BINS, LOW, HIGH)
    far = value.target_probabilities(torch.tensor(outside))
    assert far.tolist() == pytest.approx(naive_probabilities(clamped), abs=1e-6)


def test_the_mean_of_the_projection_is_the_target_inside_the_support():
    value = HLGaussValue(101, -10.0, 10.0)
    target = torch.linspace(-9.3, 9.3, 501)  # four sigma from the ends
    logits = value.target_probabilities(target).clamp(min=1e-30).log()
    torch.testing.assert_close(value.mean(logits), target, rtol=0, atol=1e-3)


def test_the_mean_of_uniform_logits_is_the_middle_and_of_a_sharp_one_its_center():
    value = HLGaussValue(BINS, LOW, HIGH)
    logits = torch.zeros(2, BINS)
    logits[1, 8] = 100
    assert value.mean(logits).tolist() == pytest.approx([0.5, LOW + 8.5 * WIDTH], abs=1e-6)


def test_categorical_loss_equals_a_float64_cross_entropy():
    raw = 3 * torch.randn(2, len(TARGETS), BINS, generator=seeded())
    loss = HLGaussValue(BINS, LOW, HIGH).loss(raw, torch.tensor(TARGETS))
    probabilities = np.array([naive_probabilities(target) for target in TARGETS])
    log_softmax = special.log_softmax(raw.double().numpy(), axis=-1)
    expected = -(probabilities * log_softmax).sum(-1)
    np.testing.assert_allclose(loss.numpy(), expected, rtol=2e-6)


def test_categorical_loss_is_smallest_at_the_target_distribution():
    value = HLGaussValue(BINS, LOW, HIGH)
    target = torch.tensor([0.3])
    best = value.target_probabilities(target).clamp(min=1e-12).log().requires_grad_()
    (gradient,) = torch.autograd.grad(value.loss(best, target).sum(), [best])
    assert gradient.abs().max() < 1e-6


# --- SAC.update ------------------------------------------------------------------------------


def make_agent(critic_loss="hl_gauss", network=None, dtype=torch.float64, **settings):
    config = load_config("smoke")
    small = {"actor_hidden": (12, 8), "critic_hidden": (10, 8), "num_segments": 3}
    small["activation"] = "relu" if dtype == torch.float64 else "k_winners"  # k-winners: float32
    config = replace(
        config,
        precision="float32",
        env=replace(config.env, tasks=MT10_TASKS[:TASKS]),
        network=replace(config.network, **(small | (network or {}))),
        agent=replace(
            config.agent,
            **(
                {"critic_loss": critic_loss, "value_bins": 11, "initial_temperature": 0.2}
                | {"observation_frame": "world"}
                | settings
            ),
        ),
    )
    return SAC(config, OBS, ACTION, torch.device("cpu"), seeded()).to(dtype)


def make_batch(dtype=torch.float64, seed=1):
    generator = seeded(seed)

    def randn(*shape):
        return torch.randn(TASKS, PER_TASK, *shape, generator=generator, dtype=dtype)

    return Batch(
        obs=randn(OBS),
        action=torch.tanh(randn(ACTION)),
        reward=randn(),
        next_obs=randn(OBS),
        discount=0.9 * (randn() > 0.5).to(dtype),
        rows=None,
    )


def make_noise(dtype=torch.float64, seed=2):
    return torch.randn(2, TASKS, PER_TASK, ACTION, generator=seeded(seed), dtype=dtype)


def snapshot(module):
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def changed(module, before):
    return {name for name, value in module.named_parameters() if not value.equal(before[name])}


def as_rows(batch, noise):
    """The same data in shuffled order, with the task of each row."""
    order = torch.randperm(TASKS * PER_TASK, generator=seeded(3))
    flat = {name: getattr(batch, name).flatten(0, 1)[order] for name in Batch._fields[:-1]}
    return Batch(**flat, rows=order // PER_TASK), noise.flatten(1, 2)[:, order]


def reference_update(agent, batch, noise, lr):
    """One update written out with plain Adam and torch.distributions; mse critics only."""

    def policy(actor, obs, eps):
        mean, log_std = actor(obs)
        action = torch.tanh(mean + log_std.exp() * eps)
        law = TransformedDistribution(Normal(mean, log_std.exp()), TanhTransform())
        return action, law.log_prob(action).sum(-1)

    def descend(parameters, loss, decay=0.01):
        optimizer = torch.optim.Adam(parameters, lr=lr)
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(loss, parameters), strict=True
        ):
            parameter.grad = gradient
            parameter.data *= 1 - lr * decay
        optimizer.step()
        return [optimizer.state[parameter]["exp_avg"] for parameter in parameters]

    actor, critic = copy.deepcopy(agent.actor), copy.deepcopy(agent.critic)
    log_alpha = agent.log_temperature.detach().clone().requires_grad_()
    alpha = log_alpha.detach().exp()

    target = torch.zeros_like(batch.reward)
    next_action, next_log_prob = policy(actor, batch.next_obs, noise[0])
    next_q = agent.target_critic(batch.next_obs, next_action)[..., 0]
    for t in range(TASKS):
        for b in range(PER_TASK):
            target[t, b] = agent.reward_scale[t] * batch.reward[t, b]
            soft = min(next_q[0, t, b], next_q[1, t, b]) - alpha[t] * next_log_prob[t, b]
            target[t, b] += batch.discount[t, b] * soft
    target = target.detach()
    q = critic(batch.obs, batch.action)[..., 0]
    critic_loss = ((q[0] - target) ** 2).mean() / 2 + ((q[1] - target) ** 2).mean() / 2
    moments = {"critic": descend(list(critic.parameters()), critic_loss)}

    action, log_prob = policy(actor, batch.obs, noise[1])
    new_q = critic(batch.obs, action)[..., 0]
    task_loss = (alpha[:, None] * log_prob - torch.minimum(new_q[0], new_q[1])).mean(dim=1)
    policy_loss = (task_loss / alpha).mean() / (1 / alpha).mean()
    moments["actor"] = descend(list(actor.parameters()), policy_loss)

    log_prob = log_prob.detach()
    gap = log_prob + agent.target_entropy
    alpha_loss = -sum(log_alpha[t] * gap[t].sum() for t in range(TASKS)) / gap.numel()
    moments["temperature"] = descend([log_alpha], alpha_loss, decay=0)

    metrics = {
        "losses/critic": critic_loss,
        "losses/actor": policy_loss,
        "losses/temperature": alpha_loss,
        "values/q": q.mean(dim=(0, 2)),
        "policy/entropy": -log_prob.mean(dim=1),
        "policy/temperature": log_alpha.exp(),
    }
    metrics = {key: value.detach() for key, value in metrics.items()}
    return {"actor": actor, "critic": critic}, log_alpha.detach(), moments, metrics


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["relu", "k_winners"])
@pytest.mark.parametrize("context", ["one_hot", "embedding"])
def test_one_update_equals_the_written_out_reference(context, dtype):
    # softplus(x) is x above 20, for torch: 2e-9 off
    lr, close = 1e-2, {"rtol": 1e-6, "atol": 1e-8}
    if dtype == torch.float32:
        close = {"rtol": 1e-3, "atol": 1e-5}
    rates = {"actor_lr": lr, "critic_lr": lr, "temperature_lr": lr}
    agent = make_agent("mse", {"context": context}, dtype, **rates)
    agent.log_temperature.data = torch.tensor([-1.0, 0.0, 0.5], dtype=dtype)
    agent.reward_scale.copy_(torch.tensor([1.0, 3.0, 0.25]))
    for parameter in agent.target_critic.parameters():
        parameter.data.mul_(0.9)  # as if the critics had moved away
    batch, noise = make_batch(dtype), make_noise(dtype)
    networks, log_alpha, moments, expected = reference_update(agent, batch, noise, lr)

    metrics = agent.update(batch, noise)

    for name in agent.optimizers:
        assert metrics.pop(f"losses/skipped/{name}") == 0
    assert metrics.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(metrics[key], value, msg=key, **close)
    # the gradients: Adam's first moments, for its first step hides their size
    for name, optimizer in agent.optimizers.items():
        own = [state["exp_avg"] for state in optimizer.state.values()]
        torch.testing.assert_close(own, moments[name], **close)
    torch.testing.assert_close(agent.log_temperature.data, log_alpha)
    if dtype == torch.float64:  # in float32 the sign of a vanishing gradient is luck
        for name, network in networks.items():
            own = getattr(agent, name).state_dict()
            for key, value in network.state_dict().items():
                torch.testing.assert_close(own[key], value, rtol=1e-6, atol=1e-7)


def test_acting_follows_the_weights():
    """What the dendrites say is computed once, and again after an update or a load."""
    agent, obs = make_agent(dtype=torch.float32), np.ones((TASKS, 2, OBS), np.float32)
    other = make_agent(dtype=torch.float32, network={"context_density": 0.5})
    first = agent.act(obs, None)
    np.testing.assert_array_equal(agent.act(obs, None), first)
    mean, _ = agent.actor(torch.from_numpy(obs))
    np.testing.assert_array_equal(torch.tanh(mean).detach().numpy(), first)
    agent.update(make_batch(torch.float32), make_noise(torch.float32))
    moved = agent.act(obs, None)
    mean, _ = agent.actor(torch.from_numpy(obs))
    np.testing.assert_array_equal(torch.tanh(mean).detach().numpy(), moved)
    agent.load_state_dict(other.state_dict())
    np.testing.assert_array_equal(agent.act(obs, None), other.act(obs, None))
    assert not np.array_equal(first, moved)


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
def test_no_gradient_is_left_behind_in_any_network(critic_loss):
    # critics' gradients are cleared before the actor's step: one left here is the actor loss's
    agent = make_agent(critic_loss)
    agent.update(make_batch(), make_noise())
    assert all(parameter.grad is None for parameter in agent.parameters())


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


@pytest.mark.parametrize("layout", ["task_major", "rows"])
def test_each_task_steers_its_own_temperature(layout):
    batch, noise = make_batch(), make_noise()
    if layout == "rows":
        batch, noise = as_rows(batch, noise)
    entropy = make_agent().update(batch, noise)["policy/entropy"]
    middle = entropy.sort().values[:2].mean().item()  # one task below, two above
    agent = make_agent(target_entropy=middle)
    before = agent.log_temperature.detach().clone()
    agent.update(batch, noise)
    rises = agent.log_temperature.detach() > before
    assert rises.tolist() == (entropy < middle).tolist()
    assert rises.sum() == 1


def test_target_entropy_auto_is_minus_the_action_size():
    assert make_agent().target_entropy == -ACTION


def test_reward_scale_is_applied_per_task():
    scale = float64(1.0, 4.0, 0.5)
    scaled, plain = make_agent(), make_agent()
    scaled.reward_scale.copy_(scale)
    batch, noise = make_batch(), make_noise()
    one = scaled.update(batch, noise)
    other = plain.update(batch._replace(reward=batch.reward * scale[:, None]), noise)
    unscaled = make_agent().update(batch, noise)
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    assert not torch.isclose(one["losses/critic"], unscaled["losses/critic"])


@pytest.mark.parametrize(
    ("reward_scaling", "expected"), [("per_task_return", [10.0, 1.0, 1.0]), ("none", [1.0] * 3)]
)
def test_reward_scale_is_taken_over_only_if_configured(reward_scaling, expected):
    returns = ReturnScale(TASKS, copies=1, horizon=1, discount=0.5)
    done = np.array([[True], [False], [False]])
    returns.observe(np.array([[0.5], [9.0], [9.0]], np.float32), done)  # G = 0.5 / (1 - 0.5)
    agent = make_agent(reward_scaling=reward_scaling, value_range=(-1.0, 10.0))
    agent.set_reward_scale(returns)
    assert agent.reward_scale.tolist() == expected


@pytest.mark.parametrize("kind", ["dendritic", "mlp"])
@pytest.mark.parametrize("critic_loss", ["mse", "hl_gauss"])
def test_a_shuffled_batch_with_rows_updates_like_the_task_major_one(kind, critic_loss):
    task_major, by_rows = (make_agent(critic_loss, {"kind": kind}) for _ in range(2))
    for agent in (task_major, by_rows):
        agent.log_temperature.data = float64(-1.0, 0.0, 0.5)
        agent.reward_scale.copy_(float64(1.0, 3.0, 0.25))
    for step in range(3):
        batch, noise = make_batch(seed=10 + step), make_noise(seed=20 + step)
        one = task_major.update(batch, noise)
        other = by_rows.update(*as_rows(batch, noise))
        torch.testing.assert_close(other, one, rtol=1e-7, atol=1e-9)
    for name, value in task_major.state_dict().items():
        torch.testing.assert_close(by_rows.state_dict()[name], value, rtol=1e-5, atol=1e-7)


def test_with_k_winners_too_both_layouts_give_the_same_losses_and_gradients():
    task_major, by_rows = (make_agent(dtype=torch.float32) for _ in range(2))
    batch, noise = make_batch(torch.float32), make_noise(torch.float32)
    one, other = task_major.update(batch, noise), by_rows.update(*as_rows(batch, noise))
    torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-5)
    for name in ("actor", "critic", "temperature"):
        moments = [
            [state["exp_avg"] for state in agent.optimizers[name].state.values()]
            for agent in (task_major, by_rows)
        ]
        torch.testing.assert_close(*moments, rtol=1e-3, atol=1e-5)


def test_a_task_without_samples_reports_zero_and_keeps_its_temperature():
    agent = make_agent()
    batch, noise = as_rows(make_batch(), make_noise())
    here = batch.rows != 1
    part = Batch(*(value[here] for value in batch))
    before = agent.log_temperature.detach().clone()
    metrics = agent.update(part, noise[:, here])
    entropy = make_agent().update(batch, noise)["policy/entropy"].tolist()
    assert metrics["policy/entropy"].tolist() == pytest.approx([entropy[0], 0, entropy[2]])
    assert (agent.log_temperature.detach() != before).tolist() == [True, False, True]


def test_updates_in_float32_stay_close_to_float64():
    double, single = make_agent(), make_agent(network={"activation": "relu"}, dtype=torch.float32)
    one = double.update(make_batch(), make_noise())
    batch = make_batch()
    batch = Batch(*(v.float() if v is not None and v.is_floating_point() else v for v in batch))
    other = single.update(batch, make_noise().float())
    for key, value in one.items():
        torch.testing.assert_close(
            other[key].double(), value.double(), rtol=1e-4, atol=1e-4, msg=key
        )


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
    falling.set_learning_rates(2 / 3)  # 1 - 2/3 of 3/4
    half = make_agent(actor_lr=2e-3, critic_lr=4e-3)
    for agent in (falling, half):
        agent.update(make_batch(), make_noise())
    torch.testing.assert_close(falling.state_dict(), half.state_dict(), rtol=1e-9, atol=1e-12)


def test_mean_actions_are_the_squashed_mean_and_sampled_ones_follow_the_noise():
    agent = make_agent(dtype=torch.float32)
    obs = make_batch(torch.float32).obs.numpy()
    mean, log_std = agent.actor(torch.from_numpy(obs))
    np.testing.assert_allclose(agent.act(obs, None), mean.tanh().detach().numpy(), rtol=1e-6)
    noise = torch.randn(mean.shape, generator=seeded(6))
    sampled = agent.act(obs, noise)
    expected = torch.tanh(mean + log_std.exp() * noise).detach().numpy()
    np.testing.assert_allclose(sampled, expected, rtol=1e-5, atol=1e-6)
    assert (np.abs(sampled) <= 1).all()
    assert np.array_equal(sampled, agent.act(obs, noise))


# --- numbers that are not finite -----------------------------------------------------------------


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
    moments = agent.optimizers["critic"].state.values()
    assert all(value.isfinite().all() for own in moments for value in own.values())
    assert {own["step"].item() for own in moments} == {1}
    metrics = agent.update(batch, noise)
    assert metrics["losses/skipped/critic"] == 0
    assert {own["step"].item() for own in moments} == {2}
    assert all(value.isfinite().all() for value in agent.state_dict().values())
