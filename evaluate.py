"""Success-rate report of a trained agent on its Meta-World tasks.

    python evaluate.py                              # the trained policy that comes with the project
    python evaluate.py runs/RUN                     # every goal of every task once
    python evaluate.py runs/RUN/checkpoints/best_*  # the best instead of the newest checkpoint
    python evaluate.py runs/RUN --seed 1000         # on goals it has never seen
    python evaluate.py runs/RUN --page --video --analyze  # see inside, on one page
    python evaluate.py runs/ONE runs/OTHER --page   # side by side

Prints a table and writes report.json, report.csv and report.md.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs import UsageError, exit_on_error
from configs.command_line import parse_command
from configs.evaluation_command import EvaluateCommand, check_flags
from reporting.places import metrics_of, out_folders, run_names

if TYPE_CHECKING:
    from agent.plan import Plan
    from agent.policy import Policy
    from analysis.measure import Analysis
    from envs import EpisodeResults, GoalLists
    from pages.charts import Curve
    from pages.contents import EvaluatedRun
    from reporting.report import Report

logger = logging.getLogger("evaluate")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: returns the exit code. `arguments` are those of the command line by default."""
    command = parse_command(EvaluateCommand, sys.argv[1:] if arguments is None else arguments)
    check_flags(command)
    # Imported only now, so that --help and a wrong flag are answered at once.
    from machine.console import configure_logging

    configure_logging()
    published, backend = check_extras(command)
    places = out_folders(command.runs, command.out)
    check_runs(command)
    evaluated = [evaluate_run(command, folder, out, backend) for folder, out in places.items()]
    if command.page:
        from pages.page import write_page

        path = (command.out or places[command.runs[0]]) / "report.html"
        write_page(evaluated, path, published)
        print(f"page: {path}")
    return 0


def evaluate_run(
    command: EvaluateCommand, folder: Path, out: Path, backend: str | None
) -> EvaluatedRun:
    """Evaluate one policy, and write what was asked for, apart from the page.

    Args:
        command: what was asked for.
        folder: of the run, a checkpoint, or an export.
        out: folder for the report.
        backend: that draws the videos; `None` for no videos.
    """
    from demonstrations.lerobot import write_dataset
    from envs import make_goal_lists
    from machine.device import resolve_device
    from pages.contents import EvaluatedRun
    from reporting.report import format_table, make_report, report_facts, write_report
    from training.checkpoints.policy import load_policy
    from training.episodes import evaluation_plan, run_episodes
    from training.sessions import sessions_in_words

    trained = load_policy(folder, resolve_device(command.device, "--device"))
    warn_about_versions(trained.versions)
    flags = {key: getattr(command, key) for key in ("goals", "actions", "seed", "workers")}
    plan, policy = evaluation_plan(trained.plan, **flags), trained.agent.policy
    keep_steps = backend is not None or command.record is not None
    out.mkdir(parents=True, exist_ok=True)  # where that is not possible, nothing needs to be played
    results = run_episodes(policy, plan, keep_steps=keep_steps)
    facts = report_facts(plan.config, trained.env_steps, plan.config.evaluation)
    report = make_report(results, facts)
    write_report(report, out)
    print(f"{format_table(report)}\nreport: {out}/report.md, report.json, report.csv")
    compare_with_history(report, folder / "report.json")
    goals = make_goal_lists(plan.tasks, plan.config.seed)
    if command.record is not None:
        write_dataset(results, goals, command.record)
        print(f"episodes: {command.record}")
    metrics = metrics_of(folder)
    return EvaluatedRun(
        name=run_names(command.runs)[folder],
        report=report,
        config=trained.plan.config,
        trained_with=trained.versions,
        trained_on=() if metrics is None else sessions_in_words(metrics.parent),
        metrics=metrics,
        films=() if backend is None else film(results, goals, out / "videos", backend),
        analysis=analyze(command, policy, plan, out / "analysis") if command.analyze else None,
    )


def film(results: EpisodeResults, goals: GoalLists, folder: Path, backend: str) -> tuple[Path, ...]:
    """Write the videos; returns the tasks' ones, or none where an episode can't be played again."""
    from videos.films import write_films

    try:
        *films, mosaic = write_films(results, goals, folder, backend)
    except ValueError as error:  # a fault of the physics, which no replay repeats
        logger.warning("--video: no videos: %s", error)
        return ()
    print(f"videos: {folder}, all side by side in {mosaic.name}")
    return tuple(films)


def analyze(command: EvaluateCommand, policy: Policy, plan: Plan, folder: Path) -> Analysis:
    """Measure the hidden units, and write the numbers and pictures."""
    from analysis.figures import write_figures
    from analysis.files import write_analysis
    from training.episodes import analyze_policy

    goals = command.analysis_goals or min(5, plan.config.env.num_goals)
    if plan.config.network.activation == "soft_winners":
        logger.warning(
            "--analyze: soft winners are never exactly 0, so units count as on nearly always: overlap and most used "
            "units say nothing"
        )
    analysis = analyze_policy(policy, plan, goals)
    write_analysis(analysis, folder)
    write_figures(analysis, folder)
    print(f"analysis: {folder}")
    return analysis


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
    other = []
    for name, now in report["tasks"].items():
        then = earlier["tasks"][name]
        if now["failed_goals"] != then["failed_goals"]:
            other.append(f"{name} {sorted(set(now['failed_goals']) ^ set(then['failed_goals']))}")
        elif now["success_rate"] != then["success_rate"]:  # more than one episode on a goal
            other.append(f"{name} ({then['success_rate']:.1%} then)")
    if other:
        print(f"not the successes of {path}; goals with another outcome: {', '.join(other)}")
    else:
        print(f"the same successes, goal by goal, as in {path}")


def check_runs(command: EvaluateCommand) -> None:
    """What can be known of all runs before any is played: a checkpoint, and files that can be read."""
    from pages.charts import read_training
    from reporting.report import read_report
    from training.checkpoints.folder import find_checkpoint

    for folder in command.runs:
        find_checkpoint(folder)
        if (folder / "report.json").is_file():
            read_report(folder / "report.json")
        metrics = metrics_of(folder)
        if command.page and metrics is not None:
            read_training(metrics)


def check_extras(command: EvaluateCommand) -> tuple[dict[str, list[Curve]], str | None]:
    """Published curves, and what draws the videos, if anything: before anything is played."""
    from demonstrations.lerobot import require_writer
    from pages.charts import read_published
    from videos.backend import find_backend

    if command.record is not None:
        require_writer(command.record)
    published = {} if command.published is None else read_published(command.published)
    if not command.video:
        return published, None
    try:
        return published, find_backend()
    except UsageError as error:
        logger.warning("%s; everything else is written", error)
        return published, None


def warn_about_versions(trained_with: dict[str, str]) -> None:
    """Physics differ between MuJoCo versions: say so before anybody compares numbers."""
    from machine.versions import package_versions

    here = package_versions()
    for name in ("metaworld", "mujoco"):
        then, now = trained_with.get(name), here[name]
        if then != now:
            logger.warning(
                "trained with %s %s, evaluating with %s; results may differ", name, then, now
            )


if __name__ == "__main__":
    exit_on_error(main)
