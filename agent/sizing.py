"""Parameter counts from settings alone, and the widths that make networks equal opponents."""

from __future__ import annotations

from dataclasses import replace

from configs.agent import AgentConfig
from configs.network import NetworkConfig
from dendrites import gating_mlp_width, nonzeros_per_row

_OF_ANOTHER_SIZE = ("single_segment", "gate_table", "film")
"""Gatings with fewer parameters than J segments have; gating_mlp has as many by its own width."""


def value_outputs(agent: AgentConfig) -> int:
    """Outputs of a critic's head: one number, or the bins of a distribution."""
    return 1 if agent.critic_loss == "mse" else agent.value_bins


def count_parameters(
    config: NetworkConfig,
    hidden: tuple[int, ...],
    num_tasks: int,
    input_size: int,
    output_size: int,
) -> int:
    """Non-zero trainable parameters of one network (one of the two critics, or the actor)."""
    context_size = num_tasks if config.context == "one_hot" else config.embedding_size
    dendritic = config.kind == "dendritic"
    density = config.weight_density if dendritic else 1.0
    total = 0 if config.context == "one_hot" else num_tasks * config.embedding_size
    features = input_size + (0 if dendritic else context_size)
    for index, units in enumerate(hidden):
        total += units * (nonzeros_per_row(features, density) + 1)
        total += 2 * units if config.layer_norm else 0
        if dendritic and index in config.dendritic_layers:
            total += _count_gates(config, units, context_size)
        features = units
    return total + output_size * (nonzeros_per_row(features, density) + 1)


def _count_gates(config: NetworkConfig, units: int, context_size: int) -> int:
    """Of one layer: its segments, or what stands in their place."""
    if config.gating == "gating_mlp":
        width = gating_mlp_width(units, context_size, config.num_segments, config.segment_density)
        return width * (context_size + 1) + units * (width + 1)
    if config.gating == "film":
        return 2 * units * context_size
    if config.gating == "gate_table":
        return units * context_size
    segments = 1 if config.gating == "single_segment" else config.num_segments
    return units * segments * nonzeros_per_row(context_size, config.segment_density)


def count_agent(
    config: NetworkConfig, num_tasks: int, obs_size: int, action_size: int, agent: AgentConfig
) -> tuple[int, int]:
    """Non-zero trainable parameters of the actor and of one critic, of the widths in `config`."""
    return (
        count_parameters(config, config.actor_hidden, num_tasks, obs_size, 2 * action_size),
        count_parameters(
            config, config.critic_hidden, num_tasks, obs_size + action_size, value_outputs(agent)
        ),
    )


def matched_network(
    config: NetworkConfig, num_tasks: int, obs_size: int, action_size: int, agent: AgentConfig
) -> NetworkConfig:
    """The config with its widths matched to the network with dendrites that it stands against.

    That is for `match_parameters`, and for an MLP or a gating with fewer parameters; others are
    returned unchanged. The opponent is the network that the same settings describe with
    `kind: dendritic` and all of `num_segments`, times `parameter_factor`.
    """
    same = config == _opponent(config) and config.parameter_factor == 1
    if same or not config.match_parameters:
        return config
    actor, critic = count_agent(_opponent(config), num_tasks, obs_size, action_size, agent)
    factor = config.parameter_factor
    critic_sizes = obs_size + action_size, value_outputs(agent)
    return replace(
        config,
        match_parameters=False,
        parameter_factor=1.0,
        actor_hidden=_matched_widths(
            config, config.actor_hidden, round(factor * actor), num_tasks, obs_size, 2 * action_size
        ),
        critic_hidden=_matched_widths(
            config, config.critic_hidden, round(factor * critic), num_tasks, *critic_sizes
        ),
    )


def _matched_widths(
    config: NetworkConfig,
    hidden: tuple[int, ...],
    goal: int,
    num_tasks: int,
    input_size: int,
    output_size: int,
) -> tuple[int, ...]:
    """Widths in the proportions of `hidden` whose parameter count is nearest to `goal`."""

    def scaled(first: int) -> tuple[int, ...]:
        return tuple(max(1, round(first * width / hidden[0])) for width in hidden)

    def count(first: int) -> int:
        return count_parameters(config, scaled(first), num_tasks, input_size, output_size)

    # The count grows with the width, so the nearest one lies near the root: bisect, then compare.
    low, high = 1, 64 * hidden[0]
    while count(high) < goal:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= goal else (low, middle)
    return scaled(min((low, high), key=lambda first: abs(count(first) - goal)))


def _opponent(config: NetworkConfig) -> NetworkConfig:
    gating = "abs_max_signed" if config.gating in _OF_ANOTHER_SIZE else config.gating
    return replace(config, kind="dendritic", gating=gating)
