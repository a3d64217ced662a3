"""Success-rate report of a trained agent on its Meta-World tasks.

    python evaluate.py                              # the trained policy that comes with the project
    python evaluate.py runs/RUN                     # every goal of every task once
    python evaluate.py runs/RUN/checkpoints/best_*  # the best instead of the newest checkpoint
    python evaluate.py runs/RUN --seed 1000         # on goals it has never seen

Prints a table and writes report.json, report.csv and report.md.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from configs import UsageError, exit_on_error
from configs.command_line import parse_command

if TYPE_CHECKING:
    from agent.plan import Plan
    from agent.policy import Policy
    from envs import EpisodeResults
    from reporting.report import Report

logger = logging.getLogger("evaluate")

PRETRAINED = Path(__file__).parent / "pretrained" / "mt10"


@dataclass(frozen=True)
class EvaluateCommand:
    """Evaluate a checkpoint: success rate per task with intervals, returns, steps to success."""

    run_or_checkpoint: Annotated[Path, tyro.conf.Positional] = PRETRAINED
    """Run folder (its newest checkpoint) or one checkpoint folder."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the report; default: evaluation/ in the run or checkpoint folder."""
    goals: int | None = None
    """Goals per task, 1 to 50; default: all goals that the run trains on."""
    actions: Literal["mean", "sample"] | None = None
    """tanh of the policy's mean, or sampled; default: as the run's own evaluation."""
    seed: int | None = None
    """Seed of the goal list and of sampled actions; default: the training run's, that is, the goals
    it trained on."""
    workers: int | Literal["auto"] = "auto"
    """Simulator processes; the result does not depend on it."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: returns the exit code. `arguments` are those of the command line by default."""
    command = parse_command(EvaluateCommand, sys.argv[1:] if arguments is None else arguments)
    check_flags(command)
    # Imported only now, so that --help and a wrong flag are answered at once.
    from agent.plan import resolve
    from machine.console import configure_logging
    from machine.device import resolve_device
    from reporting.report import format_table, make_report, report_facts, write_report
    from training.checkpoints.policy import load_policy
    from training.forecast import require_simulator_memory

    configure_logging()
    out = command.out or command.run_or_checkpoint / "evaluation"
    policy = load_policy(command.run_or_checkpoint, resolve_device(command.device, "--device"))
    warn_about_versions(policy.versions)
    config = policy.plan.config
    evaluation = replace(
        config.evaluation,
        report_goals=config.env.num_goals if command.goals is None else command.goals,
        actions=command.actions or config.evaluation.actions,
    )
    config = replace(
        config,
        seed=config.seed if command.seed is None else command.seed,
        evaluation=evaluation,
        machine=replace(config.machine, workers=command.workers),
    )
    plan = resolve(config, policy.plan.device)
    simulators = len(plan.tasks) * evaluation.copies_per_task
    require_simulator_memory(simulators, plan.evaluation_workers, len(plan.tasks))
    results = run_episodes(policy.agent.policy, plan)
    report = make_report(results, report_facts(config, policy.env_steps, evaluation))
    write_report(report, out)
    print(f"{format_table(report)}\nreport: {out}/report.md, report.json, report.csv")
    compare_with_history(report, command.run_or_checkpoint / "report.json")
    return 0


def run_episodes(policy: Policy, plan: Plan) -> EpisodeResults:
    """Episodes on the goals that the plan's evaluation asks for, drawn with its seed."""
    from tqdm import tqdm

    from agent.player import evaluated_player
    from envs import evaluation_envs, make_goal_lists
    from training.evaluation import evaluate
    from training.streams import seed_streams

    config, evaluation = plan.config, plan.config.evaluation
    goals = make_goal_lists(plan.tasks, config.seed)
    episodes = evaluation.report_goals * evaluation.episodes_per_goal
    player = evaluated_player(policy, len(plan.tasks), evaluation.actions == "sample")
    waves = -(-episodes // evaluation.copies_per_task)
    with (
        evaluation_envs(config, goals, plan.evaluation_workers, player) as envs,
        tqdm(total=waves * evaluation.horizon, unit="vector step", disable=None) as bar,
    ):
        return evaluate(
            envs,
            evaluation,
            goals=evaluation.report_goals,
            seed=seed_streams(config.seed)["evaluation"],
            on_step=bar.update,
        )


def compare_with_history(report: Report, path: Path) -> None:
    """Say whether these successes are those of the report that came with the policy, if any."""
    from reporting.report import read_report

    if not path.is_file():
        return
    earlier = read_report(path)
    settings = ("actions", "goals", "episodes_per_goal", "horizon", "seed", "env_steps_trained")
    theirs, mine = dict(earlier), dict(report)
    same_tasks = earlier["tasks"].keys() == report["tasks"].keys()
    if not same_tasks or any(theirs[key] != mine[key] for key in settings):
        return  # another evaluation
    other = [
        f"{name} {sorted(set(task['failed_goals']) ^ set(earlier['tasks'][name]['failed_goals']))}"
        for name, task in report["tasks"].items()
        if task["failed_goals"] != earlier["tasks"][name]["failed_goals"]
    ]
    if other:
        print(f"not the successes of {path}; goals with another outcome: {', '.join(other)}")
    else:
        print(f"the same successes, goal by goal, as in {path}")


def check_flags(command: EvaluateCommand) -> None:
    """Ranges that the types do not say."""
    if command.goals is not None and not 1 <= command.goals <= 50:
        raise UsageError(f"--goals {command.goals}: the benchmark has 1 to 50 goals per task")
    if command.seed is not None and not 0 <= command.seed < 2**32:
        raise UsageError(f"--seed {command.seed}: give 0 to 4294967295")
    if command.workers != "auto" and command.workers < 1:
        raise UsageError(f"--workers {command.workers}: give 1 or more, or auto")


def warn_about_versions(trained_with: dict[str, str]) -> None:
    """Physics differ between MuJoCo versions: say so before anybody compares numbers."""
    from training.checkpoints.folder import package_versions

    here = package_versions()
    for name in ("metaworld", "mujoco"):
        then, now = trained_with.get(name), here[name]
        if then != now:
            logger.warning(
                "trained with %s %s, evaluating with %s; results may differ", name, then, now
            )


if __name__ == "__main__":
    exit_on_error(main)
