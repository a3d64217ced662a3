"""Rules that span several settings."""

from __future__ import annotations

from collections.abc import Iterator

from configs.errors import did_you_mean
from configs.schema import MT10_TASKS, Config, NetworkConfig


def inconsistencies(config: Config) -> Iterator[str]:
    """What is wrong with a config whose single values are all right: `key: problem, mend`."""
    env, replay, evaluation = config.env, config.replay, config.evaluation
    for task in env.tasks:
        if task not in MT10_TASKS:
            yield f"env.tasks: unknown task '{task}'{did_you_mean(task, list(MT10_TASKS))}"
    if len(set(env.tasks)) != len(env.tasks):
        yield "env.tasks: a task is named twice"
    if replay.sampling == "balanced" and replay.batch_size % len(env.tasks):
        yield (
            f"replay.batch_size: {replay.batch_size} can't be split evenly over {len(env.tasks)} tasks; "
            "use a multiple, or replay.sampling: uniform"
        )
    if replay.capacity // len(env.tasks) < env.copies_per_task:
        yield (
            f"replay.capacity: {replay.capacity} can't hold one step of {len(env.tasks)} x "
            f"{env.copies_per_task} environments; use a larger one"
        )
    if config.agent.log_std_bounds[0] >= config.agent.log_std_bounds[1]:
        yield "agent.log_std_bounds: give the smaller value first"
    # Below 0 even if no reward is: values include the entropy term, negative at the target entropy.
    if not config.agent.value_range[0] < 0 < config.agent.value_range[1]:
        yield "agent.value_range: give a negative and a positive value, in this order"
    for name in ("goals", "report_goals"):
        if getattr(evaluation, name) > env.num_goals:
            yield f"evaluation.{name}: there are only env.num_goals = {env.num_goals} goals per task"
    yield from _network_inconsistencies(config.network)


def _network_inconsistencies(network: NetworkConfig) -> Iterator[str]:
    for name in ("actor_hidden", "critic_hidden"):
        depth = len(getattr(network, name))
        if len(network.winners_density) not in (1, depth):
            yield (
                f"network.winners_density: give 1 value or {depth}, one for each of network.{name}, "
                f"not {len(network.winners_density)}"
            )
        if any(layer >= depth for layer in network.dendritic_layers):
            yield f"network.dendritic_layers: network.{name} has layers 0 to {depth - 1} only"
    if network.gating == "gate_table" and network.context != "one_hot":
        yield "network.gating: gate_table needs network.context: one_hot"
