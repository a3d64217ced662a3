"""Actor and critics: a NumPy reference, batch layouts, twins, the policy's density, the context."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from agent.networks import Actor, TwinCritic, squashed_log_prob
from configs.schema import NetworkConfig

TASKS, PER_TASK, OBS, ACTION, OUTPUTS, HIDDEN = 3, 4, 5, 2, 7, (12, 8)

KINDS = list(
    itertools.product(("dendritic", "mlp"), ("relu", "k_winners"), ("one_hot", "embedding"))
)
each_network = pytest.mark.parametrize(("kind", "activation", "context"), KINDS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=1):
    return torch.randn(*shape, generator=seeded(seed))


def make_config(kind="dendritic", activation="k_winners", context="one_hot", **settings):
    settings = {"num_segments": 3, "winners_density": (0.5, 0.25), "weight_density": 0.8} | settings
    return NetworkConfig(
        kind=kind, activation=activation, context=context, embedding_size=4, **settings
    )


def make_actor(config, log_std_bounds=(-10.0, 2.0)):
    return Actor(
        OBS,
        ACTION,
        HIDDEN,
        config,
        num_tasks=TASKS,
        log_std_bounds=log_std_bounds,
        generator=seeded(),
    )


def make_critic(config):
    return TwinCritic(OBS, ACTION, OUTPUTS, HIDDEN, config, num_tasks=TASKS, generator=seeded())


def shuffled(*tensors):
    """Task-major tensors as rows in a random order: `order`, task of each row, the tensors."""
    order = torch.randperm(TASKS * PER_TASK, generator=seeded(5))
    return order, order // PER_TASK, *(tensor.flatten(0, 1)[order] for tensor in tensors)


def gradients(outputs, cotangents, network):
    total = sum((out * c).sum() for out, c in zip(outputs, cotangents, strict=True))
    return torch.autograd.grad(total, list(network.parameters()))


def assert_close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


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
        activation=activation,
        winners_density=(0.25, 0.125),
        weight_density=0.4,
        context_density=context_density,
        dendritic_layers=(1,),
    )
    actor = Actor(
        15,
        50,
        (200, 100),
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
def test_actor_gives_the_same_for_shuffled_rows_as_task_major(kind, activation, context):
    actor = make_actor(make_config(kind, activation, context))
    obs, noise = randn(TASKS, PER_TASK, OBS), randn(TASKS, PER_TASK, ACTION, seed=2)
    cotangents = randn(TASKS, PER_TASK, ACTION, seed=3), randn(TASKS, PER_TASK, seed=4)
    order, rows, flat_obs, flat_noise, *flat_cotangents = shuffled(obs, noise, *cotangents)

    task_major = actor.sample(obs, noise)
    by_rows = actor.sample(flat_obs, flat_noise, rows)

    for one, other in zip(task_major, by_rows, strict=True):
        assert_close(other, one.flatten(0, 1)[order])
    assert_close(
        gradients(by_rows, flat_cotangents, actor), gradients(task_major, cotangents, actor)
    )


@each_network
def test_critic_gives_the_same_for_shuffled_rows_as_task_major(kind, activation, context):
    critic = make_critic(make_config(kind, activation, context))
    obs, action = randn(TASKS, PER_TASK, OBS), randn(TASKS, PER_TASK, ACTION, seed=2)
    cotangent = randn(2, TASKS, PER_TASK, OUTPUTS, seed=3)
    order, rows, flat_obs, flat_action = shuffled(obs, action)

    task_major = critic(obs, action)
    by_rows = critic(flat_obs, flat_action, rows)

    assert_close(by_rows, task_major.flatten(1, 2)[:, order])
    assert_close(
        gradients([by_rows], [cotangent.flatten(1, 2)[:, order]], critic),
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


# --- the policy's density --------------------------------------------------------------------


def log_density(action, mean, std):
    """Log pi(action) of a one-dimensional policy, through the tested function."""
    mean = torch.tensor([mean], dtype=torch.float64)
    std = torch.tensor([std], dtype=torch.float64)
    pre_tanh = torch.tensor([action], dtype=torch.float64).atanh()
    return squashed_log_prob(pre_tanh, (pre_tanh - mean) / std, std.log()).item()


POLICIES = [(0.0, 1.0), (0.5, 0.3), (-1.2, 0.7), (0.1, 0.02), (2.0, 0.5)]


@pytest.mark.parametrize(("mean", "std"), POLICIES)
def test_density_integrates_to_one(mean, std):
    total, _ = integrate.quad(
        lambda a: math.exp(log_density(a, mean, std)),
        -1,
        1,
        points=np.tanh(mean + std * np.array([-3, -1, 0, 1, 3])),
        limit=200,
    )
    assert total == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("mean", "std"), POLICIES)
def test_density_is_the_slope_of_the_transformed_normals_distribution(mean, std):
    def distribution(action):
        return stats.norm.cdf(math.atanh(action), mean, std)

    for action in np.tanh(mean + std * np.linspace(-2, 2, 9)):
        h = 1e-5 * (1 - action**2) * std
        slope = (distribution(action + h) - distribution(action - h)) / (2 * h)
        assert math.exp(log_density(action, mean, std)) == pytest.approx(slope, rel=1e-5)


def test_log_probabilities_of_action_dimensions_add_up():
    pre_tanh, noise, log_std = (randn(6, 3, seed=seed) for seed in (1, 2, 3))
    together = squashed_log_prob(pre_tanh, noise, log_std)
    apart = [
        squashed_log_prob(pre_tanh[:, i : i + 1], noise[:, i : i + 1], log_std[:, i : i + 1])
        for i in range(3)
    ]
    assert together.shape == (6,)
    assert_close(together, sum(apart))


@pytest.mark.parametrize("u", [-40.0, -12.0, 12.0, 40.0])
def test_log_probability_is_exact_where_the_action_saturates(u):
    # tanh(u) is 1 in float32 here; log(1 - tanh^2) = -2 log cosh u stays finite
    log_cosh = abs(u) + math.log1p(math.exp(-2 * abs(u))) - math.log(2)
    expected = stats.norm.logpdf(0.0) + 2 * log_cosh
    zero = torch.zeros(1)
    actual = squashed_log_prob(torch.tensor([u]), zero, zero)
    assert actual.item() == pytest.approx(expected, rel=1e-6)


def test_samples_follow_mean_and_deviation_and_carry_their_log_probability():
    actor = make_actor(make_config())
    obs, noise = randn(TASKS, PER_TASK, OBS), randn(TASKS, PER_TASK, ACTION, seed=2)
    mean, log_std = actor(obs)
    action, log_prob = actor.sample(obs, noise)
    assert_close(action, torch.tanh(mean + log_std.exp() * noise))
    squashed = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(mean, log_std.exp()), torch.distributions.TanhTransform()
    )
    assert_close(log_prob, squashed.log_prob(action).sum(-1))


def test_log_deviation_stays_within_its_bounds():
    actor = make_actor(make_config(), log_std_bounds=(-0.5, 0.25))
    actor.head.bias.data[ACTION:] = torch.tensor([50.0, -50.0])
    _, log_std = actor(randn(TASKS, PER_TASK, OBS))
    assert log_std[..., 0].unique().tolist() == [0.25]
    assert log_std[..., 1].unique().tolist() == [-0.5]


# --- the context -----------------------------------------------------------------------------


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
