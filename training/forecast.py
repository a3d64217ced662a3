"""What a run will need, printed before it starts: parameters, memory, disk."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch

from agent.networks import describe_products
from agent.plan import Plan
from agent.replay import ReplayBuffer
from agent.sizing import count_agent, matched_network
from configs.errors import UsageError
from configs.loading import MULTI_TASK
from configs.network import NetworkConfig
from configs.schema import Config
from machine.device import free_bytes
from training.progress import updates_due

SIMULATOR_BYTES = 4_000_000
"""Of one environment, at most; and of what a process keeps of each of its tasks."""
PROCESS_BYTES = 350_000_000
"""Of a simulators' process without any: MuJoCo, Meta-World, and torch, which acts."""


def describe(plan: Plan) -> str:
    """A few lines for the console: this network and its opponent, memory, checkpoints."""
    lines = [_describe_network(plan, "dendritic"), _describe_network(plan, "mlp")]
    where = plan.replay_device
    lines.append(
        f"replay buffer: {plan.config.replay.capacity:,} transitions, {plan.replay_bytes / 1e9:.2f} GB on {where} "
        f"({free_bytes(where) / 1e9:.1f} GB free); disk for checkpoints: about "
        f"{checkpoint_bytes(plan) / 1e9:.2f} GB"
    )
    training, evaluating = _environments(plan)
    lines.append(
        f"simulators: {training} environments of {len(plan.tasks)} tasks in {plan.workers} process{'' if plan.workers == 1 else 'es'}, "
        f"{evaluating} for evaluations; memory about "
        f"{simulator_bytes(*_simulators(plan)) / 1e9:.1f} GB"
    )
    if plan.config.env.schedule == "one_by_one":
        lines.append(_describe_phases(plan))
    lines.append(_describe_update(plan))
    heads = (2 * plan.action_size, plan.value_outputs)
    lines.append(describe_products(plan.network, heads, plan.precision, plan.device))
    lines += [f"note: {said}" for said in MULTI_TASK.without_effect(plan.config)]
    return "\n".join(lines)


def checkpoint_bytes(plan: Plan) -> int:
    """Disk that the checkpoints of a run take at most.

    Weights and their masks, two Adam moments, three tensors of Synaptic Intelligence, the target critics and
    the replay buffer; two checkpoints exist while one is written, and the best one, which has networks only.
    """
    actor, critic = _dense_parameters(plan)
    held, masks = 3 * _held_parameters(plan), _masks(plan)
    checkpoint, best = 3 * actor + 8 * critic + held + masks, actor + 4 * critic + masks
    return 2 * (plan.replay_bytes + 4 * checkpoint) + 4 * best


def evaluation_env_steps(config: Config) -> int:
    """Environment steps of all evaluations of a run, and of its report, if no episode ends early."""
    evaluation, tasks, total = config.evaluation, len(config.env.task_names), config.total_env_steps
    due = range(evaluation.interval_env_steps, total + 1, evaluation.interval_env_steps)
    evaluated = tasks * len(due)
    if config.env.schedule == "one_by_one":  # the task that is learned; all at its end
        ends = range(config.env.steps_per_task, total + 1, config.env.steps_per_task)
        evaluated = tasks * len(ends) + len(set(due) - set(ends))
    goals = evaluated * evaluation.goals + tasks * evaluation.report_goals
    return goals * evaluation.distinct_episodes_per_goal * evaluation.horizon


def memory_bytes(plan: Plan) -> int:
    """Main memory and the learner's, together, that a run takes at most."""
    return network_bytes(plan) + plan.replay_bytes + simulator_bytes(*_simulators(plan))


def _describe_update(plan: Plan) -> str:
    dtype = str(plan.precision).removeprefix("torch.")
    on_cpu = plan.device.type == "cpu"
    where = f"{plan.threads} CPU threads" if on_cpu else str(plan.device)
    never = plan.config.machine.compile == "never"
    compiled = "not compiled" if never else "compiled while the simulators start"
    due = updates_due(plan.config.total_env_steps, plan.config)
    if not due:
        what = "run" if plan.config.env.schedule == "together" else "first phase"
        random, steps = plan.config.exploration.random_env_steps, plan.config.total_env_steps
        if plan.config.env.schedule == "one_by_one":
            steps = min(steps, plan.config.env.steps_per_task)
        if random >= steps:
            return f"gradient steps: none, because the {what} ends before exploration.random_env_steps do"
        return (
            f"gradient steps: none, because the {what} ends before the first is due: training.updates_per_vector_step, "
            "training.update_interval_vector_steps"
        )
    return f"gradient steps: {due:,}, on {where}, {dtype} between hidden layers, {compiled}"


def _describe_phases(plan: Plan) -> str:
    """What comes one after the other, and what is done against forgetting."""
    config, length = plan.config, plan.config.env.steps_per_task
    held = config.protection.strength
    means = [
        "rehearsal of earlier tasks" if config.replay.rehearsal else "",
        f"Synaptic Intelligence of strength {held:g}" if held else "",
    ]
    length = min(length, config.total_env_steps)
    phases, rest = divmod(config.total_env_steps, length)
    plural = "" if phases == 1 else "s"
    last = f", and a last one of {rest:,} steps" if rest else ""
    return (
        f"one task after the other: {phases} phase{plural} of {length:,} environment steps and "
        f"{updates_due(length, config):,} gradient steps{last}; against forgetting: "
        f"{' and '.join(filter(None, means)) or 'nothing'}"
    )


def require_memory(plan: Plan) -> None:
    """Raise `UsageError` before anything is started if networks, replay or simulators do not fit."""
    require_network_memory(plan)
    env, replay = plan.config.env, plan.config.replay
    ReplayBuffer.require_memory(
        len(plan.tasks),
        env.copies_per_task,
        replay.capacity,
        plan.obs_size,
        plan.action_size,
        plan.replay_device,
    )
    if plan.config.machine.workers_backend == "ray":
        return  # the simulators are elsewhere
    in_use = plan.replay_bytes if plan.replay_device.type == "cpu" else 0
    require_simulator_memory(
        *_simulators(plan),
        "--machine.workers, --env.copies-per-task and --evaluation.copies-per-task, or a smaller --replay.capacity",
        in_use,
    )


def simulator_bytes(environments: int, processes: int, tasks: int) -> int:
    """Memory of so many environments in so many processes, each of which has all tasks."""
    return environments * SIMULATOR_BYTES + processes * (PROCESS_BYTES + tasks * SIMULATOR_BYTES)


def require_simulator_memory(
    environments: int, processes: int, tasks: int, fewer: str, in_use: int = 0
) -> None:
    """Raise `UsageError` if so many simulators do not fit next to `in_use` bytes.

    Simulators live in the main memory, whatever the learner's device is. `fewer` names flags to lower.
    """
    needed = simulator_bytes(environments, processes, tasks)
    free = free_bytes(torch.device("cpu")) - in_use
    if needed > free:
        raise UsageError(
            f"{environments} simulators in {processes} processes need {needed / 1e9:.1f} GB and "
            f"{max(free, 0) / 1e9:.1f} GB are left; use fewer {fewer}"
        )


def require_network_memory(plan: Plan) -> None:
    """Raise `UsageError` if the networks, with their optimisers and targets, will not fit."""
    needed, free = network_bytes(plan), free_bytes(plan.device)
    if needed > free:
        raise UsageError(
            f"network.actor_hidden and critic_hidden: need {needed / 1e9:.1f} GB and {plan.device} has "
            f"{free / 1e9:.1f} GB free; use smaller ones"
        )


def network_bytes(plan: Plan) -> int:
    """Of the weights, masks, gradients, two moments, target critics, and what Synaptic Intelligence keeps."""
    actor, critic = _dense_parameters(plan)
    kept = 5 * _held_parameters(plan)
    return 4 * (4 * actor + 10 * critic + kept + _masks(plan))


def least_agent_bytes(plan: Plan) -> int:
    """What the weights of such an agent take in a file, at least."""
    actor, critic = _dense_parameters(plan)
    return 4 * (actor + 2 * critic)


def _environments(plan: Plan) -> tuple[int, int]:
    """Environments for training, and for evaluations."""
    config, tasks = plan.config, len(plan.tasks)
    return tasks * config.env.copies_per_task, tasks * config.evaluation.copies_per_task


def _simulators(plan: Plan) -> tuple[int, int, int]:
    """Environments, processes and tasks, of training and evaluations together."""
    return sum(_environments(plan)), plan.workers + plan.evaluation_workers, len(plan.tasks)


def _describe_network(plan: Plan, kind: Literal["dendritic", "mlp"]) -> str:
    use = "this run" if kind == plan.network.kind else "for comparison"
    asked = replace(plan.config.network, kind=kind)
    sizes = len(plan.tasks), plan.obs_size, plan.action_size, plan.config.agent
    network = matched_network(asked, *sizes)
    actor, critic = count_agent(network, *sizes)
    return (
        f"{kind} ({use}): actor {_widths(network.actor_hidden)}, {actor:,} non-zero parameters; "
        f"each critic {_widths(network.critic_hidden)}, {critic:,}"
    )


def _dense_parameters(plan: Plan) -> tuple[int, int]:
    """Parameters of actor and one critic as they are stored, with the zeros."""
    dense: NetworkConfig = replace(plan.network, weight_density=1.0, segment_density=1.0)
    return count_agent(dense, len(plan.tasks), plan.obs_size, plan.action_size, plan.config.agent)


def _masks(plan: Plan) -> int:
    """Numbers in the masks of actor, critics and target critics, at most; none where all is dense."""
    actor, critic = _dense_parameters(plan)
    network = plan.network
    dense = min(network.weight_density, network.segment_density) == 1
    return 0 if dense else actor + 4 * critic


def _held_parameters(plan: Plan) -> int:
    """That Synaptic Intelligence holds, at most."""
    actor, critic = _dense_parameters(plan)
    if not plan.config.protection.strength:
        return 0
    return actor if plan.config.agent.protects == "actor" else actor + 2 * critic


def _widths(hidden: tuple[int, ...]) -> str:
    return " x ".join(str(units) for units in hidden)
