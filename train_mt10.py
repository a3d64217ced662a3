"""Train one Soft Actor-Critic agent with active dendrites on a set of Meta-World tasks.

    python train_mt10.py --config quick             # four to eight minutes on two cores
    python train_mt10.py --config mt10 --seed 1     # the full run
    python train_mt10.py --resume runs/RUN          # go on after Ctrl-C or a crash
    tensorboard --logdir runs                       # watch

The story: environments -> replay buffer -> SAC update -> checkpoint -> report.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs import dump_config, exit_on_error
from configs.command_line import parse_train_command
from machine.interpreter import this_python

if TYPE_CHECKING:
    from agent.plan import Plan
    from training.recorder import Recorder
    from training.run_state import RunState
    from training.stop_signals import StopSignals


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: returns the exit code. `arguments` are those of the command line by default."""
    command = parse_train_command(sys.argv[1:] if arguments is None else arguments)
    # Imported only now, so that --help and a wrong flag are answered at once.
    from agent.first_update import learner_device
    from agent.plan import resolve
    from machine.console import configure_logging
    from machine.device import configure_cpu
    from training.forecast import describe, require_memory
    from training.run_folder import (
        create_run_folder,
        open_run,
        require_steps_left,
        write_config,
    )
    from training.sessions import write_session

    config = command.settings
    configure_logging()
    plan = resolve(config, learner_device(config))
    configure_cpu(plan.threads)
    if command.dry_run:
        print(f"{dump_config(config)}\n{describe(plan)}")
        return 0
    print(describe(plan))
    require_memory(plan)
    run = command.resume or create_run_folder(command.out, command.config, config.seed)
    with open_run(run, "train_mt10.py", resume=command.resume is not None) as checkpoint:
        if checkpoint is not None:
            require_steps_left(checkpoint, config.total_env_steps)
        write_config(run, dump_config(config))
        write_session(run, checkpoint, plan.device, plan.precision)
        return train(plan, run, checkpoint)


def train(plan: Plan, folder: Path, checkpoint: Path | None) -> int:
    """Train from the start or from a checkpoint, then write the report; returns the exit code."""
    from agent.first_update import blank_batch
    from agent.player import evaluated_player, exploring_player
    from agent.sac import SAC
    from envs import WorkerError, evaluation_envs, make_goal_lists, training_envs
    from training.checkpoints.resume import restore, save_newest
    from training.recorder import Recorder
    from training.run_state import RunState
    from training.stop_signals import StopRequested, StopSignals
    from training.streams import seed_streams, torch_generator

    config = plan.config
    streams = seed_streams(config.seed)
    goals = make_goal_lists(plan.tasks, config.seed)
    agent = SAC(plan, torch_generator(streams["weights"]))
    sampled = config.evaluation.actions == "sample"
    explores = exploring_player(agent.policy, len(plan.tasks), config.exploration)
    shows = evaluated_player(agent.policy, len(plan.tasks), sampled)
    with (
        StopSignals() as signals,
        training_envs(config, goals, streams["environments"], plan.workers, explores) as envs,
        evaluation_envs(config, goals, plan.evaluation_workers, shows) as eval_envs,
    ):
        agent.warm_up(*blank_batch(plan))  # compiles while the simulators start
        state = RunState.fresh(plan, agent, envs, streams)
        if checkpoint is None:
            state.collector.reset()
        else:
            restore(state, checkpoint)
            print(f"resumed at step {state.progress.env_steps:,} of {config.total_env_steps:,}")
        seed, resumed = streams["evaluation"], checkpoint is not None
        try:
            with Recorder(state, folder, eval_envs, seed, signals, resumed) as recorder:
                learn(state, recorder, signals)
                report(state, recorder, folder)
        except (StopRequested, WorkerError) as stop:  # after a NaN, the older checkpoint is better
            path = save_newest(state, folder / "checkpoints")
            how = f"saved {path}\nresume with: {this_python()} train_mt10.py --resume {folder}"
            if isinstance(stop, WorkerError):
                raise WorkerError(f"{stop}; {how}") from stop
            print(f"stopped; {how}")
            return 128 + (signals.received or 0)
    return 0


def learn(state: RunState, recorder: Recorder, signals: StopSignals) -> None:
    """The loop: collect, learn and record, until the environment steps are used up."""
    recorder.record()  # what was due when the run was stopped
    while state.progress.env_steps < state.plan.config.total_env_steps:
        signals.check()
        play_and_learn(state)
        recorder.record()  # a row, an evaluation, a checkpoint, each when it is due


def play_and_learn(state: RunState) -> None:
    """A chunk of steps of the environments, and the gradient steps that are due by its end."""
    agent, phase, done = state.agent, state.phase, state.progress.env_steps
    if done == phase.begins > 0:
        agent.end_task()  # one task after the other: the one before is learned
    agent.set_progress(phase.fraction(done))
    with state.collector.chunk() as playing:  # the simulators play with the actor as it is ...
        for batch, noise in state.batches.due(playing):  # ... meanwhile the gradient steps
            with state.stopwatch.section("learn"):
                state.metrics.add(agent.update(batch, noise))


def report(state: RunState, recorder: Recorder, folder: Path) -> None:
    """Evaluate every goal and write the report that evaluate.py would write."""
    from reporting.one_by_one import measure_phases
    from reporting.report import format_report, make_report, report_facts, write_report

    config = state.plan.config
    results = recorder.evaluate(config.evaluation.report_goals)
    facts = report_facts(config, state.progress.env_steps, config.evaluation)
    phases = measure_phases(folder, config, state.progress.env_steps)
    made = make_report(results, facts, phases)
    write_report(made, folder)
    print(f"{format_report(made)}\nreport: {folder}/report.md, report.json, report.csv")
    if "matrix" in made:
        recorder.write_matrix(made["matrix"])


if __name__ == "__main__":
    exit_on_error(main)
