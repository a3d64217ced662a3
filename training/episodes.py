"""Episodes of a trained policy, with a progress bar: what evaluate.py runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from tqdm import tqdm

from agent.plan import Plan, resolve
from agent.player import evaluated_player
from agent.policy import Policy
from analysis.measure import Analysis, analyze
from envs import EpisodeResults, evaluation_envs, make_goal_lists
from training.evaluation import evaluate
from training.forecast import require_simulator_memory
from training.streams import seed_streams


def evaluation_plan(
    trained: Plan,
    goals: int | None = None,
    actions: Literal["mean", "sample"] | None = None,
    seed: int | None = None,
    workers: int | Literal["auto"] = "auto",
) -> Plan:
    """The plan of a training run, with what is asked of this evaluation.

    Args:
        trained: of the run.
        goals: per task; `None` for all that the run trains on.
        actions: `None` for those of the run's own evaluations.
        seed: of the goal list and of sampled actions; `None` for the run's.
        workers: simulator processes.

    Raises:
        UsageError: the simulators would not fit into the memory.
    """
    config = trained.config
    evaluation = replace(
        config.evaluation,
        report_goals=config.env.num_goals if goals is None else goals,
        actions=actions or config.evaluation.actions,
    )
    config = replace(
        config,
        seed=config.seed if seed is None else seed,
        evaluation=evaluation,
        machine=replace(config.machine, workers=workers, workers_backend="processes"),
    )
    plan = resolve(config, trained.device)
    simulators = len(plan.tasks) * evaluation.copies_per_task
    require_simulator_memory(simulators, plan.evaluation_workers, len(plan.tasks), "--workers")
    return plan


def run_episodes(policy: Policy, plan: Plan, keep_steps: bool = False) -> EpisodeResults:
    """Episodes on the goals that the plan's evaluation asks for, drawn with its seed."""
    with _playing(policy, plan) as play:
        return play(plan.config.evaluation.report_goals, keep_steps)


def analyze_policy(policy: Policy, plan: Plan, goals: int) -> Analysis:
    """What its hidden units do in one episode on each of the first goals."""
    evaluation = replace(plan.config.evaluation, episodes_per_goal=1)
    once = replace(plan, config=replace(plan.config, evaluation=evaluation))
    with _playing(policy, once) as play:
        return analyze(policy, lambda keep_steps: play(goals, keep_steps), plan.config.seed)


@contextmanager
def _playing(policy: Policy, plan: Plan) -> Iterator[Callable[[int, bool], EpisodeResults]]:
    """What runs episodes: called with the number of goals, and whether every step is kept."""
    config, evaluation = plan.config, plan.config.evaluation
    goal_lists = make_goal_lists(plan.tasks, config.seed)
    player = evaluated_player(policy, len(plan.tasks), evaluation.actions == "sample")
    with evaluation_envs(config, goal_lists, plan.evaluation_workers, player) as envs:

        def play(goals: int, keep_steps: bool) -> EpisodeResults:
            waves = -(-goals * evaluation.distinct_episodes_per_goal // evaluation.copies_per_task)
            total = waves * evaluation.horizon
            with tqdm(total=total, unit="vector step", disable=None, leave=False) as bar:
                return evaluate(
                    envs,
                    evaluation,
                    goals=goals,
                    seed=seed_streams(config.seed)["evaluation"],
                    keep_steps=keep_steps,
                    on_step=bar.update,
                )

        yield play
