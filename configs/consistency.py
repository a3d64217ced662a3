"""Rules that span several settings."""

from __future__ import annotations

from collections.abc import Iterator

from configs.errors import did_you_mean
from configs.network import NetworkConfig
from configs.schema import Config, EnvConfig
from configs.task_sets import MT50, TASK_SETS


def inconsistencies(config: Config) -> Iterator[str]:
    """What is wrong with a config whose single values are all right: `key: problem, fix`."""
    yield from _task_inconsistencies(config.env)
    env, replay, evaluation = config.env, config.replay, config.evaluation
    num_tasks = len(env.task_names)
    if replay.sampling == "balanced" and replay.batch_size % num_tasks:
        below = replay.batch_size // num_tasks * num_tasks
        choices = f"{below} or {below + num_tasks}" if below else f"{num_tasks}"
        yield (
            f"replay.batch_size: {replay.batch_size} can't be split evenly over {num_tasks} tasks; "
            f"use {choices} (--replay.batch-size), or --replay.sampling uniform"
        )
    # Two, because a transition that is lost to a fault is replaced by the one before it.
    if replay.capacity < 2 * num_tasks * env.copies_per_task:
        yield (
            f"replay.capacity: {replay.capacity} can't hold two steps of {num_tasks} x "
            f"{env.copies_per_task} environments; use a larger one"
        )
    if config.agent.log_std_bounds[0] >= config.agent.log_std_bounds[1]:
        yield "agent.log_std_bounds: give the smaller value first"
    # Below 0 even if no reward is: values include the entropy term, negative at the target entropy.
    if not config.agent.value_range[0] < 0 < config.agent.value_range[1]:
        yield "agent.value_range: give a negative and a positive value, in this order"
    if max(evaluation.goals, evaluation.report_goals) > env.num_goals:
        name = "goals" if evaluation.goals > env.num_goals else "report_goals"
        yield (
            f"evaluation.{name}: {getattr(evaluation, name)} is more than env.num_goals, which is {env.num_goals}; use "
            f"--evaluation.goals {min(evaluation.goals, env.num_goals)} --evaluation.report-goals "
            f"{min(evaluation.report_goals, env.num_goals)}"
        )
    yield from _network_inconsistencies(config.network)
    if env.schedule == "one_by_one":
        yield from _one_by_one_inconsistencies(config)
    else:
        yield from _together_inconsistencies(config)


def _task_inconsistencies(env: EnvConfig) -> Iterator[str]:
    for task in env.task_names:
        if task in TASK_SETS:
            yield f"env.tasks: '{task}' is a set of tasks, not one in a list; give it alone"
        elif "," in task:
            yield f"env.tasks: '{task}' has a comma; separate tasks by spaces"
        elif task not in MT50:
            hint = did_you_mean(task.lower(), [*TASK_SETS, *MT50])
            yield f"env.tasks: unknown task '{task}'{hint}"
    if len(set(env.task_names)) != len(env.task_names):
        yield "env.tasks: a task is named twice"


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
    if network.kind == "dendritic" and not network.dendritic_layers:
        yield (
            "network.dendritic_layers: without any, the network is not told its task; name a layer, or use "
            "--network.kind mlp"
        )
    if network.parameter_factor != 1 and not network.match_parameters:
        yield (
            f"network.parameter_factor: {network.parameter_factor:g} does nothing without "
            "network.match_parameters; use --network.match-parameters True"
        )
    if network.gating == "gate_table" and network.context != "one_hot":
        yield "network.gating: gate_table needs network.context: one_hot"


def _together_inconsistencies(config: Config) -> Iterator[str]:
    """What only means something where one task comes after the other."""
    asked = {
        "protection.strength": (config.protection.strength > 0, "0"),
        "replay.rehearsal": (config.replay.rehearsal, "False"),
        "training.reset_optimizer": (config.training.reset_optimizer, "False"),
    }
    for key, (is_asked, off) in asked.items():
        if is_asked:
            flag = key.replace("_", "-")
            yield (
                f"{key}: all tasks are learned together, so none is an earlier one; use "
                f"--env.schedule one_by_one, or --{flag} {off}"
            )


def _one_by_one_inconsistencies(config: Config) -> Iterator[str]:
    """What a run in phases, one for each task, asks of the other settings."""
    env = config.env
    most = len(env.task_names) * env.steps_per_task
    if config.total_env_steps > most:
        yield (
            f"total_env_steps: {config.total_env_steps} is more than {len(env.task_names)} tasks x "
            f"env.steps_per_task = {most}; use at most that, or in a new run more --env.steps-per-task"
        )
    if env.steps_per_task % env.copies_per_task:
        yield (
            f"env.steps_per_task: {env.steps_per_task} is not a multiple of env.copies_per_task = "
            f"{env.copies_per_task}, so no step ends the phase; use one (--env.steps-per-task)"
        )
    if env.least_task_share < 1:
        yield (
            f"env.least_task_share: {env.least_task_share:g} divides steps among tasks that are learned "
            "together, and env.schedule is one_by_one; use --env.least-task-share 1"
        )
    if config.network.activation in ("annealed_k_winners", "boosted_k_winners", "soft_winners"):
        yield (
            f"network.activation: {config.network.activation} anneals over the whole of training, and "
            "env.schedule: one_by_one begins it anew with each task; use --network.activation k_winners"
        )
    if config.replay.sampling == "uniform":
        yield (
            "replay.sampling: uniform does not ask which task a transition is of, and env.schedule: "
            "one_by_one does; use --replay.sampling balanced"
        )
