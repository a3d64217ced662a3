"""One update of the agent against one written out, and the same in another order and precision."""

from __future__ import annotations

import copy

import pytest
import torch
from sac_samples import OBS, PER_TASK, TASKS, make_agent, make_batch, make_noise, seeded, shuffled
from torch.distributions import Normal, TanhTransform, TransformedDistribution

from agent.batch import Batch
from agent.task_major import TASKS_PRESENT


def float64(*values):
    return torch.tensor(values, dtype=torch.float64)


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
        return torch.cat([optimizer.state[one]["exp_avg"].flatten() for one in parameters])

    actor, critic = copy.deepcopy(agent.actor), copy.deepcopy(agent.critic)
    log_alpha = agent.log_temperature.detach().clone().requires_grad_()
    alpha = log_alpha.detach().exp()

    target = torch.zeros_like(batch.reward)
    next_action, next_log_prob = policy(actor, batch.next_obs, noise[0])
    next_q = agent.target_critic(batch.next_obs, next_action)[..., 0]
    for t in range(TASKS):
        for b in range(PER_TASK):
            target[t, b] = agent.rewards.scale[t] * batch.reward[t, b]
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
        TASKS_PRESENT: torch.ones_like(log_alpha),
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
    agent.rewards.scale.copy_(torch.tensor([1.0, 3.0, 0.25]))
    for parameter in agent.target_critic.parameters():
        parameter.data.mul_(0.9)  # as if the critics had moved away
    batch, noise = make_batch(dtype), make_noise(dtype)
    networks, log_alpha, moments, expected = reference_update(agent, batch, noise, lr)

    metrics = agent.update(batch, noise)

    for name in agent.descents:
        assert metrics.pop(f"losses/skipped/{name}") == 0
    for name in ("critic", "actor"):  # a first moment is a tenth of the gradient
        norm = metrics.pop(f"gradients/{name}")
        torch.testing.assert_close(norm, 10 * moments[name].norm(), **close)
    assert metrics.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(metrics[key], value, msg=key, **close)
    # the gradients: Adam's first moments, for its first step hides their size
    for name, descent in agent.descents.items():
        torch.testing.assert_close(descent.state_dict()["mean"], moments[name], **close)
    torch.testing.assert_close(agent.log_temperature.data, log_alpha)
    if dtype == torch.float64:  # in float32 the sign of a vanishing gradient is luck
        for name, network in networks.items():
            own = getattr(agent, name).state_dict()
            for key, value in network.state_dict().items():
                torch.testing.assert_close(own[key], value, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["dendritic", "mlp"])
@pytest.mark.parametrize("critic_loss", ["mse", "hl_gauss"])
def test_a_shuffled_batch_updates_like_the_task_major_one(kind, critic_loss):
    task_major, by_task = (make_agent(critic_loss, {"kind": kind}) for _ in range(2))
    for agent in (task_major, by_task):
        agent.log_temperature.data = float64(-1.0, 0.0, 0.5)
        agent.rewards.scale.copy_(float64(1.0, 3.0, 0.25))
    for step in range(3):
        batch, noise = make_batch(seed=10 + step), make_noise(seed=20 + step)
        one = task_major.update(batch, noise)
        other = by_task.update(*shuffled(batch, noise))
        torch.testing.assert_close(other, one, rtol=1e-7, atol=1e-9)
    for name, value in task_major.state_dict().items():
        torch.testing.assert_close(by_task.state_dict()[name], value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["dendritic", "mlp"])
def test_groups_in_any_order_update_like_the_task_major_batch(kind):
    """Two groups of each task, mixed."""
    task_major, by_group = (make_agent(network={"kind": kind}) for _ in range(2))
    for agent in (task_major, by_group):
        agent.log_temperature.data = float64(-1.0, 0.0, 0.5)
        agent.rewards.scale.copy_(float64(1.0, 3.0, 0.25))
    order = torch.tensor([4, 0, 3, 5, 1, 2])
    for step in range(3):
        batch, noise = make_batch(seed=10 + step), make_noise(seed=20 + step)
        halves = {
            name: getattr(batch, name).unflatten(1, (2, -1)).flatten(0, 1)[order]
            for name in Batch._fields[:-1]
        }
        groups = Batch(**halves, task=(order // 2).unsqueeze(1))
        mixed = noise.unflatten(2, (2, -1)).flatten(1, 2)[:, order]
        one, other = task_major.update(batch, noise), by_group.update(groups, mixed)
        torch.testing.assert_close(other, one, rtol=1e-7, atol=1e-9)
    for name, value in task_major.state_dict().items():
        torch.testing.assert_close(by_group.state_dict()[name], value, rtol=1e-5, atol=1e-7)


def test_with_k_winners_too_both_layouts_give_the_same_losses_and_gradients():
    task_major, by_task = (make_agent(dtype=torch.float32) for _ in range(2))
    batch, noise = make_batch(torch.float32), make_noise(torch.float32)
    one, other = task_major.update(batch, noise), by_task.update(*shuffled(batch, noise))
    torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-5)
    for name in ("actor", "critic", "temperature"):
        moments = [agent.descents[name].state_dict()["mean"] for agent in (task_major, by_task)]
        torch.testing.assert_close(*moments, rtol=1e-3, atol=1e-5)


def test_updates_in_float32_stay_close_to_float64():
    double, single = make_agent(), make_agent(network={"activation": "relu"}, dtype=torch.float32)
    single.load_state_dict(double.state_dict())
    one = double.update(make_batch(), make_noise())
    batch = make_batch()
    batch = Batch(*(v.float() if v is not None and v.is_floating_point() else v for v in batch))
    other = single.update(batch, make_noise().float())
    for key, value in one.items():
        torch.testing.assert_close(
            other[key].double(), value.double(), rtol=1e-4, atol=1e-4, msg=key
        )


def test_reward_scale_is_applied_per_task():
    scale = float64(1.0, 4.0, 0.5)
    scaled, plain = make_agent(), make_agent()
    scaled.rewards.scale.copy_(scale)
    batch, noise = make_batch(), make_noise()
    one = scaled.update(batch, noise)
    other = plain.update(batch._replace(reward=batch.reward * scale[:, None]), noise)
    unscaled = make_agent().update(batch, noise)
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    assert not torch.isclose(one["losses/critic"], unscaled["losses/critic"])


def test_the_networks_learn_from_observations_in_the_units_of_their_task():
    """As if the batch had come scaled; beyond ten spreads it is cut."""
    generator = seeded(7)
    mean = 3 * torch.randn(TASKS, OBS, generator=generator, dtype=torch.float64)
    spread = 0.02 + torch.rand(TASKS, OBS, generator=generator, dtype=torch.float64)
    task_major, by_task = make_agent(), make_agent()
    for agent in (task_major, by_task):
        agent.observations.mean.copy_(mean)
        agent.observations.spread.copy_(spread)
    batch, noise = make_batch(), make_noise()
    by_hand = {"obs": batch.obs.clone(), "next_obs": batch.next_obs.clone()}
    for obs in by_hand.values():
        for t in range(TASKS):
            obs[t] = ((obs[t] - mean[t]) / spread[t]).clamp(-10, 10)
    expected = make_agent().update(batch._replace(**by_hand), noise)
    unscaled = make_agent().update(batch, noise)
    metrics = task_major.update(batch, noise)
    torch.testing.assert_close(metrics, expected, rtol=1e-9, atol=1e-12)
    assert not torch.isclose(metrics["losses/critic"], unscaled["losses/critic"])
    metrics = by_task.update(*shuffled(batch, noise))
    torch.testing.assert_close(metrics, expected, rtol=1e-7, atol=1e-9)
