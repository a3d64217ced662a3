"""Feed damaged and malicious files to everything that reads one.

Each must end in success, or in one `UsageError` or `RunError` (weights so large that the next number
is not finite), within seconds; what is changed without its checksum must be refused; and what is
loaded must be fit to go on with.
"""

from __future__ import annotations

import random
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import numpy as np
import torch

from agent.plan import resolve
from agent.player import exploring_player
from agent.sac import SAC
from configs import RunError, UsageError, load_config
from configs.command_line import parse_train_command
from configs.errors import one_line
from envs import OBS_SIZE, NonFiniteError, make_goal_lists, training_envs
from evaluate import compare_with_history
from reporting.plots import plot, read_curves
from reporting.report import format_table, read_report
from tests.stress.damage import copy_of, damage_checkpoint, damage_folder
from tests.stress.mutations import FILE, change_json, change_yaml, odd_text
from train_mt10 import play_and_learn
from training.checkpoints.folder import find_checkpoint, load_state
from training.checkpoints.policy import load_policy
from training.checkpoints.resume import restore
from training.forecast import describe, require_memory
from training.metrics.keys import COUNTER_COLUMNS, metric_keys
from training.metrics.log import MetricsLog
from training.progress import Progress, parse_progress
from training.recorder import Recorder
from training.run_folder import open_run, require_steps_left
from training.run_state import RunState
from training.sessions import write_session
from training.stop_signals import StopSignals
from training.streams import seed_streams, torch_generator

LONGEST_S = 10.0


class Hangs(BaseException):
    """Raised in code that takes too long; no `except Exception` there catches it."""


def _hangs(*_: object) -> None:
    raise Hangs


@dataclass
class Outcomes:
    """What became of the mutations of one kind of file."""

    tried: int = 0
    refused: int = 0
    accepted: int = 0
    slowest_s: float = 0.0
    failures: list[str] = field(default_factory=list)
    """Tracebacks, messages of several lines, hangs and wrong results; there should be none."""
    messages: dict[str, int] = field(default_factory=dict)
    """How the refusals begin, to see that they were many different ones."""

    def record(self, what: str, use: Callable[[], object], must_refuse: bool = False) -> None:
        """Run `use` on the file of which `what` was changed."""
        self.tried += 1
        started = time.monotonic()
        signal.signal(signal.SIGALRM, _hangs)
        signal.alarm(2 * int(LONGEST_S))
        try:
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # notes on such files
                use()
            self.accepted += 1
            if must_refuse:
                self.failures.append(f"{what}: accepted, though its checksum is wrong")
        except (UsageError, RunError) as error:
            self.refused += 1
            message = one_line(str(error))  # as the commands print it
            beginning = message.rpartition("/")[2][:40]
            self.messages[beginning] = self.messages.get(beginning, 0) + 1
            if not message or not message.isprintable():
                self.failures.append(f"{what}: the message {message!r}")
        except (Exception, Hangs):
            self.failures.append(f"{what}: {traceback.format_exc(limit=-3)}")
        finally:
            signal.alarm(0)
        took = time.monotonic() - started
        self.slowest_s = max(self.slowest_s, took)
        if took > LONGEST_S:
            self.failures.append(f"{what}: took {took:.0f} s")


def fuzz_checkpoints(run: Path, folder: Path, count: int, seed: int) -> Outcomes:
    """Resume from mutations of a real checkpoint, in one live process, and go on a little."""
    original = find_checkpoint(run)
    config = load_config(str(run / "config.yaml"))
    plan = resolve(config, torch.device("cpu"))
    moments, outcomes = random.Random(seed), Outcomes()
    streams, goals = seed_streams(config.seed), make_goal_lists(plan.tasks, config.seed)
    agent = SAC(plan, torch_generator(streams["weights"]))
    player = exploring_player(agent.policy, len(plan.tasks), config.exploration)
    with training_envs(config, goals, streams["environments"], 1, player) as envs:
        state = RunState.fresh(plan, agent, envs, streams)

        def resume_and_go_on(checkpoint: Path) -> None:
            restore(state, checkpoint)
            copy_of(run / "metrics.csv", resumed / "metrics.csv")
            _go_on(state, resumed)

        resumed = folder / "resumed"
        (resumed / "checkpoints").mkdir(parents=True)
        resume_and_go_on(original)  # the original is good
        for _ in range(count):
            checkpoint = copy_of(original, folder / original.name)
            what, told = damage_checkpoint(checkpoint, moments)
            outcomes.record(what, lambda: resume_and_go_on(checkpoint), must_refuse=told)  # noqa: B023
    return outcomes


def _go_on(state: RunState, run: Path) -> None:
    """A few steps, a row and a checkpoint that can be resumed: what was restored must not fail later.

    The run has come to its end, so that it saves in any case.
    """
    progress, envs = state.progress, state.collector.envs
    seed = seed_streams(state.plan.config.seed)["evaluation"]
    with Recorder(state, run, envs, seed, StopSignals(), resumed=True) as recorder:
        for _ in range(3):
            play_and_learn(state)
        progress.last_log_env_steps = 0
        progress.last_evaluation_env_steps = progress.env_steps
        recorder.record()
    try:
        restore(state, find_checkpoint(run))
    except UsageError as error:
        raise AssertionError(f"the next checkpoint is refused: {error}") from error


def fuzz_policies(run: Path, folder: Path, count: int, seed: int) -> Outcomes:
    """Load mutations of a trained policy as evaluate.py does."""
    original = next((run / "checkpoints").glob("best_*"))
    moments, outcomes = random.Random(seed), Outcomes()
    for _ in range(count):
        checkpoint = copy_of(original, folder / "policy")
        what, told = damage_checkpoint(checkpoint, moments)
        outcomes.record(what, lambda: _act(checkpoint), must_refuse=told)  # noqa: B023
    return outcomes


def _act(path: Path) -> None:
    policy = load_policy(path, torch.device("cpu"))
    tasks = len(policy.plan.tasks)
    actions = policy.agent.policy.act(np.zeros((tasks, 2, OBS_SIZE), np.float32), None)
    if not np.isfinite(actions).all():  # huge weights: the environments refuse such actions
        raise NonFiniteError("an action is not finite")


def fuzz_configs(run: Path, folder: Path, count: int, seed: int) -> Outcomes:
    """Read mutations of a real config.yaml as `--config` and `--dry-run` do."""
    moments, outcomes = random.Random(seed), Outcomes()
    choices = FILE + (change_yaml,) * 60 + (odd_text,) * 4

    def use(path: Path) -> None:
        plan = resolve(load_config(str(path)), torch.device("cpu"))
        describe(plan)
        require_memory(plan)

    for _ in range(count):
        path = copy_of(run / "config.yaml", folder / "config.yaml")
        what = moments.choice(choices)(path, moments)
        outcomes.record(what, lambda: use(path))  # noqa: B023
    return outcomes


def fuzz_folders(run: Path, folder: Path, count: int, seed: int) -> Outcomes:
    """Open mutations of a whole run folder as `--resume` does, and as evaluate.py and the export do."""
    moments, outcomes = random.Random(seed), Outcomes()

    def resume(copy: Path) -> None:
        config = parse_train_command(["--resume", str(copy)]).settings
        with open_run(copy, "train_mt10.py", resume=True) as checkpoint:
            progress = Progress()
            if checkpoint is not None:
                require_steps_left(checkpoint, config.total_env_steps)
                progress = parse_progress(load_state(checkpoint)["progress"], str(checkpoint))
            written = progress.next_row_env_steps, progress.metrics_bytes
            write_session(copy, checkpoint, torch.device("cpu"), torch.float32)
            MetricsLog(copy, COUNTER_COLUMNS, metric_keys(config), written).close()

    def evaluate(copy: Path) -> None:
        _act(copy)
        compare_with_history(read_report(run / "report.json"), copy / "report.json")

    for index in range(count):
        copy = copy_of(run, folder / "copy")
        what = damage_folder(copy, moments)
        use = resume if index % 2 else evaluate
        outcomes.record(what, lambda: use(copy))  # noqa: B023
    return outcomes


def fuzz_histories(run: Path, folder: Path, count: int, seed: int) -> Outcomes:
    """Read mutations of a report.json and a metrics.csv as evaluate.py and the plots do."""
    moments, outcomes = random.Random(seed), Outcomes()
    for index in range(count):
        if index % 2:
            path = copy_of(run / "report.json", folder / "report.json")
            what = moments.choice(FILE + (change_json,) * 12 + (odd_text,))(path, moments)
            outcomes.record(what, lambda: _show(path))  # noqa: B023
        else:
            path = copy_of(run / "metrics.csv", folder / "metrics.csv")
            what = moments.choice(FILE)(path, moments)
            picture = folder / "curve.png" if index % 100 == 0 else None
            outcomes.record(what, lambda: _draw(path, picture))  # noqa: B023
    return outcomes


def _show(path: Path) -> None:
    table = format_table(read_report(path))
    assert table.replace("\n", "").isprintable(), table


def _draw(path: Path, picture: Path | None) -> None:
    curves = read_curves(path)
    if picture is not None:
        plot(curves, picture)
