"""The task context of actor and critics: what it changes, and one given from outside."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from network_samples import (
    ACTION,
    OBS,
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


@each_network
def test_every_task_acts_differently_on_the_same_observation(kind, activation, context):
    actor = make_actor(make_config(kind, activation, context))
    mean, _ = actor(randn(1, PER_TASK, OBS).expand(TASKS, -1, -1))
    for one, other in itertools.combinations(range(TASKS), 2):
        assert not torch.isclose(mean[one], mean[other]).any()


def test_without_gated_layers_a_dendritic_network_does_not_know_the_task():
    actor = make_actor(make_config(dendritic_layers=()))
    mean, _ = actor(randn(1, PER_TASK, OBS).expand(TASKS, -1, -1))
    assert torch.equal(mean[0], mean[1])
    assert torch.equal(mean[0], mean[2])


@each_network
def test_a_shuffled_context_table_swaps_the_tasks(kind, activation, context):
    critic = make_critic(make_config(kind, activation, context))
    other = copy.deepcopy(critic)
    permutation = torch.tensor([1, 2, 0])
    other.trunk.context.data = critic.trunk.context.data[:, permutation]
    obs, action = randn(TASKS, PER_TASK, OBS), randn(TASKS, PER_TASK, ACTION, seed=2)
    out = other(obs, action)
    assert not torch.isclose(out, critic(obs, action)).all()
    # with its own context in place t, task permutation[t] sees the samples of place t
    back = permutation.argsort()
    assert_close(out, critic(obs[back], action[back])[:, permutation])


def test_embeddings_start_with_unit_length_and_learn():
    critic = make_critic(make_config(context="embedding"))
    lengths = critic.trunk.context.norm(dim=-1).flatten()
    assert lengths.tolist() == pytest.approx([1.0] * 2 * TASKS)
    critic(randn(TASKS, PER_TASK, OBS), randn(TASKS, PER_TASK, ACTION)).sum().backward()
    assert (critic.trunk.context.grad.abs().sum(-1) > 0).all()


@pytest.mark.parametrize("gating", ["max", "abs_max_unsigned", "additive_bias", "gate_table"])
def test_other_gatings_change_the_network(gating):
    obs = randn(TASKS, PER_TASK, OBS)
    plain = make_actor(make_config())(obs)[0]
    other = make_actor(make_config(gating=gating))(obs)[0]
    if gating == "gate_table":  # starts with the same gates; only learning tells them apart
        assert_close(other, plain)
    else:
        assert not torch.isclose(plain, other).all()


# --- given from outside ------------------------------------------------------------------------


def batches():
    return randn(TASKS, PER_TASK, OBS), randn(TASKS, PER_TASK, ACTION, seed=2)


@pytest.mark.parametrize("activation", ["relu", "k_winners"])
@pytest.mark.parametrize("kind", ["dendritic", "mlp"])
def test_the_one_hot_table_given_by_hand_equals_the_built_in_one(kind, activation):
    obs, action = batches()
    actor = make_actor(make_config(kind, activation))
    critic = make_critic(make_config(kind, activation))
    table = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    for one, other in zip(actor(obs), actor(obs, context=table), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(critic(obs, action), critic(obs, action, context=table))
    each = torch.stack([table, table])  # one for either critic
    assert torch.equal(critic(obs, action), critic(obs, action, context=each))


@each_network
def test_the_own_table_in_another_order_swaps_the_tasks(kind, activation, context):
    obs, action = batches()
    actor = make_actor(make_config(kind, activation, context))
    critic = make_critic(make_config(kind, activation, context))
    order = torch.tensor([2, 0, 1])
    # at place t, task order[t] sees the samples of place t
    swapped = actor(obs, context=actor.trunk.context[order])[0]
    assert not torch.isclose(swapped, actor(obs)[0]).all()
    back = order.argsort()
    assert_close(swapped, actor(obs[back])[0][order])
    swapped = critic(obs, action, context=critic.trunk.context[:, order])
    assert_close(swapped, critic(obs[back], action[back])[:, order])


@each_network
def test_samples_in_any_order_find_their_task_in_a_table_given(kind, activation, context):
    obs, action = batches()
    order = torch.randperm(TASKS * PER_TASK, generator=seeded(5))
    for network, arguments in (
        (make_actor(make_config(kind, activation, context)), (obs,)),
        (make_critic(make_config(kind, activation, context)), (obs, action)),
    ):
        size = network.trunk.context.shape[-1]
        table = randn(TASKS, size, seed=7)
        task_major = network(*arguments, context=table)
        flat = [argument.flatten(0, 1)[order] for argument in arguments]
        by_task = network(*flat, task=order // PER_TASK, context=table)
        if isinstance(task_major, tuple):
            for one, other in zip(task_major, by_task, strict=True):
                assert_close(other, one.flatten(0, 1)[order])
        else:
            assert_close(by_task, task_major.flatten(1, 2)[:, order])


def test_a_table_may_have_other_tasks_than_the_network_was_built_for():
    """One row for each task of the batch: here two, the second halfway between two old ones."""
    actor = make_actor(make_config())
    obs = randn(2, PER_TASK, OBS)
    table = torch.tensor([[0.0, 1, 0], [0.5, 0, 0.5]])
    mean, _ = actor(obs, context=table)
    own, _ = actor(obs[0].expand(TASKS, -1, -1))
    assert_close(mean[0], own[1])
    own, _ = actor(obs[1].expand(TASKS, -1, -1))
    assert not any(torch.isclose(mean[1], other).all() for other in own)


@pytest.mark.parametrize("gating", ["abs_max_signed", "max", "additive_bias", "gate_table"])
def test_the_gates_of_a_context_are_rows_of_the_networks_gates(gating):
    """`trunk.gates()` is what every layer's dendrites say to each task."""
    config = make_config(gating=gating, dendritic_layers=(1,))
    trunk, critic = make_actor(config).trunk, make_critic(config).trunk
    none, gate = trunk.gates()
    assert none is None
    assert gate.shape == (TASKS, 8)
    assert torch.equal(gate, trunk.layers[1].gate(torch.eye(TASKS)))
    none, other = trunk.gates(torch.eye(TASKS)[[2, 0]])
    assert none is None
    assert_close(other, gate[[2, 0]])
    assert critic.gates()[1].shape == (2, TASKS, 8)


@pytest.mark.parametrize("network", ["actor", "critic"])
def test_gradients_reach_a_context_given(network):
    """So that one can be learned outside of the network."""
    obs, action = batches()
    table = randn(TASKS, TASKS, seed=7).requires_grad_()
    if network == "actor":
        out = make_actor(make_config())(obs, context=table)[0]
    else:
        out = make_critic(make_config())(obs, action, context=table)
    (gradient,) = torch.autograd.grad(out[..., 0].sum(), [table])
    assert (gradient.abs().sum(-1) > 0).all()
