"""When a run has to stop: it says why, and what it has saved is good."""

from __future__ import annotations

import itertools
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import torch
from conftest import TINY, in_process, resume, rows_written, training_process, wait_until
from live_run import LiveRun, live_run

import train_mt10
from envs import NonFiniteError, WorkerError
from envs.faults import FAULTS, OBSERVATION
from envs.simulator.fault_detector import FaultDetector
from machine.signals import STOPPING
from train_mt10 import play_and_learn
from training.checkpoints.folder import find_checkpoint, load_state
from training.checkpoints.resume import restore, save_newest
from training.metrics.rows import training_metrics
from training.stop_signals import StopRequested

ONE = ("--training.chunk-vector-steps", "1")


StartRun = Callable[..., LiveRun]


@pytest.fixture
def start_run(tmp_path: Path) -> Iterator[StartRun]:
    """A run with its settings from flags, and chunks of one step."""
    with ExitStack() as stack:
        yield lambda *flags: stack.enter_context(live_run(tmp_path, *ONE, *flags))


def test_a_run_that_learns_nothing_any_more_stops_with_a_good_checkpoint(
    start_run: StartRun, caplog: pytest.LogCaptureFixture
) -> None:
    run = start_run("--training.updates-per-vector-step", "1")
    state = run.state
    while state.progress.gradient_steps < 5:
        play_and_learn(state)
    good = save_newest(state, run.checkpoints)
    actor = [parameter.clone() for parameter in state.agent.actor.parameters()]
    with torch.no_grad():
        next(state.agent.critic.parameters()).view(-1)[0] = torch.nan

    play_and_learn(state)  # one step in six is skipped: a warning
    row = training_metrics(state)
    assert 0 < row["losses/skipped/critic"] < 1
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "gradient steps skipped since the last row (critic " in warning.getMessage()
    for _ in range(3):
        play_and_learn(state)
    with pytest.raises(NonFiniteError, match=r"critic 100\.0%.*nothing is learned any more"):
        training_metrics(state)

    # what was not finite is in no optimiser, buffer or checkpoint
    for before, now in zip(actor, state.agent.actor.parameters(), strict=True):
        torch.testing.assert_close(now, before, rtol=0, atol=0)
    for name, values in state.replay.state_dict().items():
        assert values.isfinite().all(), name
    with pytest.raises(NonFiniteError, match=r"model\.critic\..* is not finite; no checkpoint"):
        save_newest(state, run.checkpoints)
    assert find_checkpoint(run.recorder.folder) == good
    restore(state, good)
    assert all(p.isfinite().all() for p in state.agent.critic.parameters())


def test_too_many_lost_episodes_stop_the_run(
    start_run: StartRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    checked = iter(range(10**6))

    def check(detector: FaultDetector, *_: object) -> None:
        detector.found = OBSERVATION if next(checked) == 20 else 0  # in the sixth vector step

    monkeypatch.setattr(FaultDetector, "check", check)  # the forked worker has it, too
    run = start_run("--machine.lost-episodes", "0")
    for _ in range(5):
        play_and_learn(run.state)
    with pytest.raises(WorkerError, match=r"1 episodes lost .* higher --machine\.lost-episodes"):
        play_and_learn(run.state)
    progress, replay = run.state.progress, run.state.replay.state_dict()
    assert (progress.vector_steps, progress.lost_episodes) == (6, 1)
    # in its place the step before it is stored once more, and the episode ends
    assert replay["truncated"][0, :, 4:6].tolist() == [[True, True], [False, False]]
    torch.testing.assert_close(replay["obs"][0, 0, 5], replay["obs"][0, 0, 4], rtol=0, atol=0)
    good = save_newest(run.state, run.checkpoints)
    restore(run.state, good)
    assert f"reach-v3 (copy 0, seed 0[1, 0]): {FAULTS[OBSERVATION]}" in caplog.text


def test_a_chunk_in_which_too_many_episodes_are_lost_leaves_a_good_checkpoint(
    start_run: StartRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulators have played it to its end, so the run counts and keeps all of it."""
    checked = iter(range(10**6))

    def check(detector: FaultDetector, *_: object) -> None:
        detector.found = OBSERVATION if next(checked) == 45 else 0  # second step of the third chunk

    monkeypatch.setattr(FaultDetector, "check", check)
    chunk = ("--training.chunk-vector-steps", "5")
    run = start_run("--machine.lost-episodes", "0", *chunk)
    for _ in range(2):
        play_and_learn(run.state)
    with pytest.raises(WorkerError, match=r"1 episodes lost .*--machine\.lost-episodes"):
        play_and_learn(run.state)
    assert run.state.progress.vector_steps == 15
    restore(run.state, save_newest(run.state, run.checkpoints))


def test_a_signal_stops_a_long_evaluation_at_once(
    start_run: StartRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with it the run, before the row that was due; a second Ctrl-C does not wait for anything."""
    run = start_run("--evaluation.interval-env-steps", "8")
    numbers = STOPPING
    before = [signal.getsignal(number) for number in numbers]  # a background job ignores SIGINT
    with run.signals:
        for _ in range(2):
            play_and_learn(run.state)
        checks, check = itertools.count(1), run.signals.check

        def check_with_a_signal() -> None:
            if next(checks) == 3:  # in the middle of the evaluation's first episode
                signal.raise_signal(signal.SIGTERM)
            check()

        monkeypatch.setattr(run.signals, "check", check_with_a_signal)
        with pytest.raises(StopRequested):
            run.recorder.record()
        assert run.state.progress.last_evaluation_env_steps == 0
        assert rows_written(run.recorder.folder) == 0
        signal.raise_signal(signal.SIGTERM)  # a scheduler's, once more
        signal.raise_signal(signal.SIGUSR2)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_worker_that_is_not_replaced_stops_the_run_with_a_checkpoint(tmp_path: Path) -> None:
    out, said = tmp_path / "run", tmp_path / "said"
    endless = ("--total-env-steps", 10**6, "--recording.checkpoint-interval-env-steps", 10**6)
    limits = ("--machine.worker-restarts", 0, "--evaluation.interval-env-steps", 10**6)
    with training_process(said, *TINY, *endless, *limits, "--out", out) as process:
        wait_until(lambda: rows_written(out) >= 1)
        workers = psutil.Process(process.pid).children()
        min(workers, key=lambda worker: worker.create_time()).send_signal(signal.SIGKILL)
        process.join(60)
        assert process.exitcode == 2
    (error,) = [line for line in said.read_text().splitlines() if line.startswith("error:")]
    saved = find_checkpoint(out)
    assert "simulator worker 0 died (exit code -9)" in error
    assert f"saved {saved}" in error
    assert f"python train_mt10.py --resume {out}" in error
    steps = int(saved.name.removeprefix("step_"))
    resume(out, "--total-env-steps", steps + 100)


def last_line(*arguments: object) -> str:
    """How the command ends that ends with exit code 2."""
    done = in_process(train_mt10.main, *arguments)
    assert done.returncode == 2, done.stderr
    return done.stderr.splitlines()[-1]


def test_a_run_that_has_broken_keeps_its_last_good_checkpoint(tmp_path: Path) -> None:
    """Rates that throw every weight beyond all bounds: the command stops, and saves nothing of it."""
    run = tmp_path / "run"
    flags = ("--agent.critic-lr", "1e6", "--agent.actor-lr", "1e6", "--out", run)
    line = last_line(*TINY, *flags)
    assert "nothing is learned any more. The last checkpoint is good" in line
    assert "saved" not in line
    progress = load_state(find_checkpoint(run))["progress"]
    assert progress["gradient_steps"] < 30


def test_a_fault_in_the_very_first_step_is_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        FaultDetector, "check", lambda detector, *_: setattr(detector, "found", OBSERVATION)
    )
    run = tmp_path / "run"
    line = last_line(*TINY, "--out", run)
    assert line.startswith(
        "error: a simulator failed in the very first step of a task; go on with --resume"
    )
    assert not list((run / "checkpoints").iterdir())
