"""Actor and critics: a NumPy reference, batch layouts, twins."""

from __future__ import annotations

import itertools
from typing import get_args

import numpy as np
import pytest
import torch
from network_samples import (
    ACTION,
    OBS,
    OUTPUTS,
    PER_TASK,
    TASKS,
    assert_close,
    each_network,
    make_actor,
    make_config,
    make_critic,
    randn,
    seeded,
)
from scipy import special

from agent.networks import Actor
from configs.network import Gating, NetworkConfig


def shuffled(*tensors):
    """Task-major tensors in a random order: `order`, task of each sample, the tensors."""
    order = torch.randperm(TASKS * PER_TASK, generator=seeded(5))
    return order, order // PER_TASK, *(tensor.flatten(0, 1)[order] for tensor in tensors)


def gradients(outputs, cotangents, network):
    total = sum((out * c).sum() for out, c in zip(outputs, cotangents, strict=True))
    return torch.autograd.grad(total, list(network.parameters()))


# --- a second implementation -----------------------------------------------------------------


def numpy_forward(network, config, x, task, copy_index=None):
    """One sample through one network, from its parameters, in plain NumPy and float64."""

    def own(tensor):
        return (tensor if copy_index is None else tensor[copy_index]).detach().double().numpy()

    context = own(network.trunk.context)[task]
    if config.kind == "mlp":
        x = np.concatenate([x, context])
    for index, layer in enumerate(network.trunk.layers):
        y = own(layer.linear.weight) @ x + own(layer.linear.bias)
        y = (y - y.mean()) / np.sqrt(y.var() + 1e-5)
        y = y * own(layer.norm.weight) + own(layer.norm.bias)
        if config.kind == "dendritic" and index in config.dendritic_layers:
            segments = own(layer.dendrites.weight) @ context  # [J, units]
            best = segments[np.abs(segments).argmax(0), np.arange(len(y))]
            y = y * special.expit(best)
        if config.activation == "relu":
            x = np.maximum(y, 0)
        else:
            kept = round(len(y) * config.winners_density[index])
            x = np.where(y >= np.sort(y)[-kept], y, 0)
    return own(network.head.weight) @ x + own(network.head.bias)


def with_random_norms(network):
    """LayerNorm starts as ones and zeros, which would hide a mix-up."""
    generator = seeded(8)
    for name, parameter in network.named_parameters():
        if ".norm." in name:
            parameter.data.copy_(0.5 + torch.rand(parameter.shape, generator=generator))
    return network


@each_network
def test_actor_equals_numpy(kind, activation, context):
    config = make_config(kind, activation, context, dendritic_layers=(1,))
    actor = with_random_norms(make_actor(config, log_std_bounds=(-100.0, 100.0)))
    obs = randn(TASKS, PER_TASK, OBS)
    mean, log_std = actor(obs)
    for t, b in itertools.product(range(TASKS), range(PER_TASK)):
        expected = torch.from_numpy(
            numpy_forward(actor, config, obs[t, b].double().numpy(), t)
        ).float()
        assert_close(torch.cat([mean[t, b], log_std[t, b]]), expected)


@each_network
def test_twin_critic_equals_numpy(kind, activation, context):
    config = make_config(kind, activation, context)
    critic = with_random_norms(make_critic(config))
    obs, action = randn(TASKS, PER_TASK, OBS), randn(TASKS, PER_TASK, ACTION, seed=2)
    out = critic(obs, action)
    for e, t, b in itertools.product(range(2), range(TASKS), range(PER_TASK)):
        x = torch.cat([obs[t, b], action[t, b]]).double().numpy()
        assert_close(out[e, t, b], torch.from_numpy(numpy_forward(critic, config, x, t, e)).float())


@pytest.mark.parametrize(
    ("activation", "context_density", "bounds"),
    # 1 / sqrt(input density * weight density * inputs); 1 / sqrt(context density * contexts)
    [
        ("k_winners", "auto", (6**-0.5, (0.25 * 80) ** -0.5, (0.125 * 40) ** -0.5, 1.0)),
        ("relu", 1.0, (6**-0.5, 80**-0.5, 40**-0.5, 10**-0.5)),
    ],
)
def test_initial_bounds_follow_the_densities_through_the_layers(
    activation, context_density, bounds
):
    config = NetworkConfig(
        actor_hidden=(200, 100),
        activation=activation,
        winners_density=(0.25, 0.125),
        weight_density=0.4,
        context_density=context_density,
        dendritic_layers=(1,),
    )
    actor = Actor(
        15,
        50,
        config,
        num_tasks=10,
        log_std_bounds=(-10.0, 2.0),
        generator=seeded(),
    )
    first, second = actor.trunk.layers
    modules = (first.linear, second.linear, actor.head, second.dendrites)
    for module, bound in zip(modules, bounds, strict=True):
        assert 0.99 * bound < module.weight.abs().max().item() <= bound * (1 + 1e-6)


# --- layouts ---------------------------------------------------------------------------------


@each_network
def test_actor_gives_the_same_for_a_shuffled_batch_as_task_major(kind, activation, context):
    actor = make_actor(make_config(kind, activation, context))
    obs, noise = randn(TASKS, PER_TASK, OBS), randn(TASKS, PER_TASK, ACTION, seed=2)
    cotangents = randn(TASKS, PER_TASK, ACTION, seed=3), randn(TASKS, PER_TASK, seed=4)
    order, task, flat_obs, flat_noise, *flat_cotangents = shuffled(obs, noise, *cotangents)

    task_major = actor.sample(obs, noise)
    by_task = actor.sample(flat_obs, flat_noise, task)

    for one, other in zip(task_major, by_task, strict=True):
        assert_close(other, one.flatten(0, 1)[order])
    assert_close(
        gradients(by_task, flat_cotangents, actor), gradients(task_major, cotangents, actor)
    )


@each_network
def test_critic_gives_the_same_for_a_shuffled_batch_as_task_major(kind, activation, context):
    critic = make_critic(make_config(kind, activation, context))
    obs, action = randn(TASKS, PER_TASK, OBS), randn(TASKS, PER_TASK, ACTION, seed=2)
    cotangent = randn(2, TASKS, PER_TASK, OUTPUTS, seed=3)
    order, task, flat_obs, flat_action = shuffled(obs, action)

    task_major = critic(obs, action)
    by_task = critic(flat_obs, flat_action, task)

    assert_close(by_task, task_major.flatten(1, 2)[:, order])
    assert_close(
        gradients([by_task], [cotangent.flatten(1, 2)[:, order]], critic),
        gradients([task_major], [cotangent], critic),
    )


# --- twins -----------------------------------------------------------------------------------


@each_network
def test_the_two_critics_start_different(kind, activation, context):
    critic = make_critic(make_config(kind, activation, context))
    for name, parameter in critic.named_parameters():
        if ".norm." not in name:
            assert not torch.isclose(parameter[0], parameter[1]).all(), name
    out = critic(randn(TASKS, PER_TASK, OBS), randn(TASKS, PER_TASK, ACTION, seed=2))
    assert not torch.isclose(out[0], out[1]).any()


@pytest.mark.parametrize("chosen", [0, 1])
@each_network
def test_the_loss_of_one_critic_does_not_touch_the_other(kind, activation, context, chosen):
    critic = make_critic(make_config(kind, activation, context))
    out = critic(randn(TASKS, PER_TASK, OBS), randn(TASKS, PER_TASK, ACTION, seed=2))
    out[chosen].square().sum().backward()
    for name, parameter in critic.named_parameters():
        assert parameter.grad[1 - chosen].count_nonzero() == 0, name
        assert parameter.grad[chosen].count_nonzero() > 0, name


# --- what tasks share -------------------------------------------------------------------------


@pytest.mark.parametrize("gating", get_args(Gating))
def test_another_tasks_gradient_reaches_what_a_task_needs_in_shared_parameters_alone(
    gating: Gating,
) -> None:
    """With one-hot contexts: a step on all others leaves its outputs as they are."""
    actor = make_actor(make_config(gating=gating))
    obs, noise = randn(2 * PER_TASK, OBS), randn(2 * PER_TASK, ACTION)
    task = torch.arange(2).repeat_interleave(PER_TASK)
    of_first, of_second = task == 0, task == 1
    before, _ = actor.sample(obs[of_first], noise[of_first], task[of_first])
    actions, log_prob = actor.sample(obs[of_second], noise[of_second], task[of_second])
    (actions.square().sum() + log_prob.sum()).backward()
    shared = {id(parameter) for parameter in actor.shared_parameters()}
    with torch.no_grad():
        for parameter in actor.parameters():
            if id(parameter) not in shared and parameter.grad is not None:
                parameter -= parameter.grad
    after, _ = actor.sample(obs[of_first], noise[of_first], task[of_first])
    torch.testing.assert_close(after, before, rtol=0, atol=0)
