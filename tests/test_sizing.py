"""Parameter counts against real modules and published figures; the equal-parameter opponent."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from agent.networks import Actor, TwinCritic
from agent.plan import resolve
from agent.sac import SAC
from agent.sizing import count_agent, count_parameters, matched_network
from configs import load_config
from configs.network import NetworkConfig
from dendrites import nonzero_parameters
from envs import ACTION_SIZE, OBS_SIZE

TASKS, OBS, ACTION, VALUES, HIDDEN = 6, 9, 2, 11, (14, 10)

GRID = [
    *(
        dict(gating=gating, weight_density=weights, segment_density=segments, context=context)
        for gating, weights, segments, context in itertools.product(
            ("abs_max_signed", "additive_bias", "single_segment", "gate_table"),
            (1.0, 0.63),
            (1.0, 0.4),
            ("one_hot", "embedding"),
        )
    ),
    *(
        dict(kind="mlp", weight_density=0.63, context=context, layer_norm=layer_norm)
        for context, layer_norm in itertools.product(("one_hot", "embedding"), (True, False))
    ),
    dict(dendritic_layers=(1,), layer_norm=False),
    dict(dendritic_layers=(0,), num_segments=1),
    dict(dendritic_layers=()),
    dict(dendritic_layers=(), context="embedding"),
    dict(weight_density=0.01, segment_density=0.01),
    dict(activation="relu"),
    *(dict(gating="gating_mlp", segment_density=segments) for segments in (1.0, 0.4)),
]


def make_networks(config):
    generator = torch.Generator().manual_seed(0)
    bounds = (-10.0, 2.0)
    actor = Actor(OBS, ACTION, config, num_tasks=TASKS, log_std_bounds=bounds, generator=generator)
    critic = TwinCritic(OBS, ACTION, VALUES, config, num_tasks=TASKS, generator=generator)
    return actor, critic


def counted_weights(network):
    """Non-zero entries by looking at the tensors; biases, norms and contexts count as they are."""
    total = 0
    for name, parameter in network.named_parameters():
        module, _, leaf = name.rpartition(".")
        mask = getattr(network.get_submodule(module), "mask", None) if leaf == "weight" else None
        total += parameter.numel() if mask is None else int(parameter.count_nonzero())
    return total


@pytest.mark.parametrize("settings", GRID, ids=str)
def test_counts_from_settings_equal_those_of_the_real_networks(settings):
    config = NetworkConfig(
        num_segments=3, embedding_size=5, actor_hidden=HIDDEN, critic_hidden=HIDDEN
    )
    config = replace(config, **settings)
    actor, critic = make_networks(config)
    actor_count = count_parameters(config, HIDDEN, TASKS, OBS, 2 * ACTION)
    critic_count = count_parameters(config, HIDDEN, TASKS, OBS + ACTION, VALUES)
    assert actor_count == nonzero_parameters(actor) == counted_weights(actor)
    assert 2 * critic_count == nonzero_parameters(critic) == counted_weights(critic)


def test_a_small_network_by_hand():
    config = NetworkConfig(dendritic_layers=(1,), num_segments=3, weight_density=0.5)
    # layer 0: 4 (4/8 weights + bias) + norm; layer 1: 6 (2/4 + bias) + norm + segments; head
    expected = 4 * (4 + 1) + 2 * 4 + 6 * (2 + 1) + 2 * 6 + 6 * 3 * 5 + 2 * (3 + 1)
    assert count_parameters(config, (4, 6), num_tasks=5, input_size=8, output_size=2) == expected


def test_paper_preset_has_the_published_nonzero_parameters():
    # docs of the published networks: spec, section 1.6
    network = load_config("paper").network
    actor = count_parameters(network, network.actor_hidden, 10, OBS_SIZE, 2 * ACTION_SIZE)
    critic = count_parameters(network, network.critic_hidden, 10, OBS_SIZE + ACTION_SIZE, 1)
    assert actor == 7_459_768
    assert critic == 7_453_321


def test_paper_actor_built_has_the_published_parameters():
    network = load_config("paper").network
    actor = Actor(
        OBS_SIZE,
        ACTION_SIZE,
        network,
        num_tasks=10,
        log_std_bounds=(-20.0, 2.0),
        generator=torch.Generator().manual_seed(0),
    )
    assert nonzero_parameters(actor) == 7_459_768
    assert sum(parameter.numel() for parameter in actor.parameters()) == 8_257_208


def test_dense_mlp_of_the_published_widths_has_the_published_parameters():
    config = NetworkConfig(kind="mlp", activation="relu", layer_norm=False)
    assert count_parameters(config, (2800, 2800), 10, OBS_SIZE, 2 * ACTION_SIZE) == 8_005_208
    assert count_parameters(config, (2800, 2800), 10, OBS_SIZE + ACTION_SIZE, 1) == 7_996_801


def opponents(preset):
    """Counts of (dendritic, matched mlp) for the actor and one critic."""
    config = load_config(preset)
    values = 1 if config.agent.critic_loss == "mse" else config.agent.value_bins
    dendritic = replace(config.network, kind="dendritic")
    mlp = matched_network(
        replace(config.network, kind="mlp"), 10, OBS_SIZE, ACTION_SIZE, config.agent
    )
    sizes = {
        "actor_hidden": (OBS_SIZE, 2 * ACTION_SIZE),
        "critic_hidden": (OBS_SIZE + ACTION_SIZE, values),
    }
    return [
        tuple(count_parameters(n, getattr(n, name), 10, *size) for n in (dendritic, mlp))
        for name, size in sizes.items()
    ]


@pytest.mark.parametrize("preset", ["mt10", "paper", "mlp"])
def test_matched_mlp_is_within_one_percent(preset):
    for dendritic, mlp in opponents(preset):
        assert mlp == pytest.approx(dendritic, rel=0.01)


@pytest.mark.parametrize("density", [1.0, 0.5, 0.1])
def test_a_gating_mlp_has_as_many_parameters_as_the_segments(density):
    config = load_config("mt10")
    segments = replace(config.network, segment_density=density)
    other = replace(segments, gating="gating_mlp")
    sizes = (10, OBS_SIZE, ACTION_SIZE, config.agent)
    for count, goal in zip(count_agent(other, *sizes), count_agent(segments, *sizes), strict=True):
        assert count == pytest.approx(goal, rel=0.01)


@pytest.mark.parametrize("gating", ["gate_table", "single_segment"])
def test_one_segment_per_unit_is_matched_to_all_segments(gating):
    config = load_config("mt10")
    few = replace(config.network, gating=gating)
    matched = matched_network(few, 10, OBS_SIZE, ACTION_SIZE, config.agent)
    for name, size in (
        ("actor_hidden", (OBS_SIZE, 2 * ACTION_SIZE)),
        ("critic_hidden", (OBS_SIZE + ACTION_SIZE, config.agent.value_bins)),
    ):
        goal = count_parameters(config.network, getattr(config.network, name), 10, *size)
        assert count_parameters(few, getattr(few, name), 10, *size) < 0.8 * goal
        count = count_parameters(matched, getattr(matched, name), 10, *size)
        assert count == pytest.approx(goal, rel=0.01)


def test_matched_mlp_of_the_paper_has_the_width_worked_out_in_the_spec():
    config = load_config("paper")
    mlp = matched_network(
        replace(config.network, kind="mlp"), 10, OBS_SIZE, ACTION_SIZE, config.agent
    )
    assert mlp.actor_hidden == mlp.critic_hidden == (2702, 2702)


@pytest.mark.parametrize("hidden", [(256, 256), (64, 128, 32), (48, 20), (100,)])
def test_no_other_width_is_nearer(hidden):
    config = NetworkConfig(kind="mlp", actor_hidden=hidden, critic_hidden=hidden)
    agent = load_config("mt10").agent
    matched = matched_network(config, 10, OBS_SIZE, ACTION_SIZE, agent)
    sizes = {
        "actor_hidden": (OBS_SIZE, 2 * ACTION_SIZE),
        "critic_hidden": (OBS_SIZE + ACTION_SIZE, agent.value_bins),
    }
    for name, size in sizes.items():
        goal = count_parameters(replace(config, kind="dendritic"), hidden, 10, *size)
        distances = {
            widths: abs(count_parameters(config, widths, 10, *size) - goal)
            for first in range(1, 3 * hidden[0])
            for widths in [tuple(max(1, round(first * units / hidden[0])) for units in hidden)]
        }
        assert distances[getattr(matched, name)] == min(distances.values())


def test_dendritic_and_unmatched_networks_keep_their_widths():
    agent = load_config("mt10").agent
    for config in (NetworkConfig(), NetworkConfig(kind="mlp", match_parameters=False)):
        assert matched_network(config, 10, OBS_SIZE, ACTION_SIZE, agent) == config


def test_the_agent_of_the_mlp_preset_is_within_one_percent_of_the_default_agent():
    counts = []
    for preset in ("mt10", "mlp"):
        plan = resolve(load_config(preset), torch.device("cpu"))
        agent = SAC(plan, torch.Generator().manual_seed(0))
        counts.append((nonzero_parameters(agent.actor), nonzero_parameters(agent.critic)))
        own = count_agent(plan.network, 10, OBS_SIZE, ACTION_SIZE, plan.config.agent)
        assert counts[-1] == (own[0], 2 * own[1])
    assert counts[1] == pytest.approx(counts[0], rel=0.01)


def test_both_counts_of_an_agent_follow_their_own_widths():
    agent = replace(load_config("mt10").agent, critic_loss="hl_gauss", value_bins=VALUES)
    config = NetworkConfig(actor_hidden=(14, 10), critic_hidden=(9, 8), num_segments=3)
    actor, critic = make_networks(config)
    expected = (counted_weights(actor), counted_weights(critic) // 2)
    assert count_agent(config, TASKS, OBS, ACTION, agent) == expected


@pytest.mark.parametrize("hidden", [(256,), (64, 32)])
@pytest.mark.parametrize("factor", [50.0, 100.0])
def test_many_times_the_parameters_are_matched_too(hidden, factor):
    config = NetworkConfig(actor_hidden=hidden, critic_hidden=hidden, dendritic_layers=(0,))
    own = replace(config, kind="mlp", parameter_factor=factor)
    agent = load_config("mt10").agent
    found = count_agent(matched_network(own, 10, 39, 4, agent), 10, 39, 4, agent)
    for ours, goal in zip(found, count_agent(config, 10, 39, 4, agent), strict=True):
        assert ours == pytest.approx(factor * goal, rel=0.01)
