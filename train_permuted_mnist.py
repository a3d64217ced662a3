"""Train one network on permuted images, one task after the other, without a task label at test.

    python train_permuted_mnist.py                                     # small digits, half a minute
    python train_permuted_mnist.py --config permuted_mnist_10          # ten tasks of MNIST
    python train_permuted_mnist.py --resume runs/RUN                   # go on after Ctrl-C or a crash
    tensorboard --logdir runs                                          # watch

The story: a task begins -> its context -> gradient steps -> the tasks so far are tested -> the next task.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs import exit_on_error
from configs.permuted_mnist import PERMUTED, parse_permuted_command
from machine.interpreter import this_python

if TYPE_CHECKING:
    from permuted_mnist.recorder import Recorder
    from permuted_mnist.run_state import RunState
    from training.stop_signals import StopSignals

SCRIPT = "train_permuted_mnist.py"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: returns the exit code. `arguments` are those of the command line by default."""
    command = parse_permuted_command(sys.argv[1:] if arguments is None else arguments)
    # Imported only now, so that --help and a wrong flag are answered at once.
    from machine.console import configure_logging
    from machine.cores import usable_cores
    from machine.device import configure_cpu
    from permuted_mnist.forecast import describe, require_memory
    from permuted_mnist.run_state import RunState
    from training.run_folder import create_run_folder, open_run, write_config
    from training.sessions import write_session

    config = command.settings
    configure_logging()
    threads = config.machine.threads
    configure_cpu(usable_cores() if threads == "auto" else threads)
    if command.dry_run:
        print(f"{PERMUTED.dump(config)}\n{describe(config)}")
        return 0
    print(describe(config))
    require_memory(config)
    state = RunState(config)
    run = command.resume or create_run_folder(command.out, command.config, config.seed)
    with open_run(run, SCRIPT, resume=command.resume is not None) as checkpoint:
        write_config(run, PERMUTED.dump(config))
        write_session(run, checkpoint, state.device, state.precision)
        if checkpoint is not None:
            state.restore(checkpoint)
            total = state.steps_per_task * state.tasks.num_tasks
            print(f"resumed at gradient step {state.progress.gradient_steps:,} of {total:,}")
        return train(state, run, resumed=checkpoint is not None)


def train(run: RunState, folder: Path, resumed: bool) -> int:
    """Train from where the run stands, then write the report; returns the exit code."""
    from permuted_mnist.recorder import Recorder
    from training.stop_signals import StopRequested, StopSignals

    with StopSignals() as signals, Recorder(run, folder, signals, resumed) as recorder:
        try:
            learn(run, recorder, signals)
        except StopRequested:
            path = run.save(folder / "checkpoints")
            print(f"stopped; saved {path}\nresume with: {this_python()} {SCRIPT} --resume {folder}")
            return 128 + (signals.received or 0)
        report(run, recorder, folder)
    return 0


def learn(run: RunState, recorder: Recorder, signals: StopSignals) -> None:
    """The loop: one task after the other, and after each what is due is tested."""
    if run.untrained.isnan().any():
        recorder.evaluate_untrained()
    while run.progress.tasks_done < run.tasks.num_tasks:
        learn_task(run, recorder, signals)
        recorder.evaluate()


def learn_task(run: RunState, recorder: Recorder, signals: StopSignals) -> None:
    """All gradient steps of the next task, or those that are left of it in a resumed run."""
    task, learning, total = run.progress.tasks_done, run.config.learning, run.steps_per_task
    done = run.progress.gradient_steps - task * total
    signals.check()
    if not done:
        run.contexts.begin_task(task, run.tasks.train_images(task))
    batches = run.tasks.batches(task, learning.epochs, learning.batch_size, first=done)
    for step, (images, labels) in enumerate(batches, start=done):
        signals.check()
        run.follow_context(images)
        images, labels = images.to(run.device), labels.to(run.device)
        metrics = run.learner.update(images, labels, progress=step / total)
        run.progress.gradient_steps += 1
        recorder.record_step(metrics)


def report(run: RunState, recorder: Recorder, folder: Path) -> None:
    """Save the finished run, and write its measures."""
    from continual.matrix_files import heat_map
    from permuted_mnist.report import format_report, make_report, write_report

    made = make_report(run)
    run.save(folder / "checkpoints")
    write_report(made, run, folder)
    names = [str(task) for task in range(run.tasks.num_tasks)]
    recorder.log.image(
        "eval/matrix", heat_map(run.matrix.numpy(), names), run.progress.gradient_steps
    )
    print(f"{format_report(made)}\nreport: {folder}/report.md, report.json, matrix.csv, matrix.png")


if __name__ == "__main__":
    exit_on_error(main)
