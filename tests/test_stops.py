"""When a run has to stop: it says why, and what it has saved is good."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import torch
from conftest import ROOT, TINY, run_script

from agent.checkpoint import find_checkpoint
from agent.saved_state import restore, save_newest
from agent.seeding import seed_streams
from agent.stop_signals import StopSignals
from agent.training_state import TrainingState
from configs.command_line import parse_train_command
from envs import NonFiniteError, WorkerError, make_goal_lists, training_envs
from envs.faults import FAULTS, OBSERVATION, FaultDetector
from reliability.small_run import SMALL, command
from reporting.metrics_log import MetricsLog
from train_mt10 import TrainingLoop

MakeLoop = Callable[..., TrainingLoop]


@pytest.fixture
def make_loop(tmp_path: Path) -> Iterator[MakeLoop]:
    """The loop of train_mt10.py with its settings from flags, in this process."""
    with ExitStack() as stack:

        def make(*flags: str) -> TrainingLoop:
            config = parse_train_command([*TINY, *flags]).settings
            streams, goals = seed_streams(config.seed), make_goal_lists(config.seed)
            envs = stack.enter_context(training_envs(config, goals, streams["environments"], 1))
            state = TrainingState.fresh(config, torch.device("cpu"), envs)
            (tmp_path / "checkpoints").mkdir()
            log = MetricsLog(tmp_path, config)
            stack.callback(log.close)
            return TrainingLoop(state, tmp_path, log, envs, StopSignals())

        yield make


def test_a_run_that_learns_nothing_any_more_stops_with_a_good_checkpoint(
    make_loop: MakeLoop, capsys: pytest.CaptureFixture
) -> None:
    loop = make_loop()
    state, obs = loop.state, loop.state.envs.reset()
    while state.counters.gradient_steps < 5:
        obs = loop.collect_and_learn(obs)
    good = save_newest(state, loop.run / "checkpoints")
    actor = [parameter.clone() for parameter in state.agent.actor.parameters()]
    with torch.no_grad():
        next(state.agent.critic.parameters()).view(-1)[0] = torch.nan

    obs = loop.collect_and_learn(obs)  # one step in six is skipped: a warning
    row = state.pop_metrics()
    assert 0 < row["losses/skipped/critic"] < 1
    assert "gradient steps skipped since the last row (critic " in capsys.readouterr().err
    for _ in range(3):
        obs = loop.collect_and_learn(obs)
    with pytest.raises(NonFiniteError, match=r"critic 100\.0%.*nothing is learned any more"):
        state.pop_metrics()

    # what was not finite is in no optimiser, buffer or checkpoint
    for before, now in zip(actor, state.agent.actor.parameters(), strict=True):
        torch.testing.assert_close(now, before, rtol=0, atol=0)
    for name, values in state.replay.state_dict().items():
        assert values.isfinite().all(), name
    with pytest.raises(NonFiniteError, match=r"model\.critic\..* is not finite; no checkpoint"):
        save_newest(state, loop.run / "checkpoints")
    assert find_checkpoint(loop.run) == good
    restore(state, good)
    assert all(p.isfinite().all() for p in state.agent.critic.parameters())


def test_too_many_lost_episodes_stop_the_run(
    make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    checked = iter(range(10**6))

    def check(detector: FaultDetector, *_: object) -> None:
        detector.found = OBSERVATION if next(checked) == 20 else 0  # in the sixth vector step

    monkeypatch.setattr(FaultDetector, "check", check)  # the forked worker has it, too
    loop = make_loop("--env.start-method", "fork", "--env.lost-episodes", "0")
    obs = loop.state.envs.reset()
    for _ in range(5):
        obs = loop.collect_and_learn(obs)
    with pytest.raises(WorkerError, match=r"1 episodes lost .* higher --env\.lost-episodes"):
        loop.collect_and_learn(obs)
    counters, replay = loop.counters, loop.state.replay.state_dict()
    assert (counters.vector_steps, counters.lost_episodes) == (6, 1)
    # in its place the step before it is stored once more, and the episode ends
    assert replay["truncated"][0, 4 * 2 : 6 * 2].tolist() == [True, False, True, False]
    torch.testing.assert_close(replay["obs"][0, 10], replay["obs"][0, 8], rtol=0, atol=0)
    good = save_newest(loop.state, loop.run / "checkpoints")
    restore(loop.state, good)
    assert f"reach-v3 (copy 0, seed 0[1, 0]): {FAULTS[OBSERVATION]}" in capfd.readouterr().err


def test_a_worker_that_is_not_replaced_stops_the_run_with_a_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "run"
    endless = ("--total-env-steps", 10**6, "--training.checkpoint-interval-env-steps", 10**6)
    run = subprocess.Popen(
        command(*SMALL, *endless, "--env.worker-restarts", 0, "--env.workers", 1, "--out", out),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (
        (out / "metrics.csv").is_file() and (out / "metrics.csv").read_text().count("\n") > 1
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers = [
        child
        for child in psutil.Process(run.pid).children()
        if any("spawn_main" in part for part in child.cmdline())
    ]
    min(workers, key=lambda worker: worker.create_time()).send_signal(signal.SIGKILL)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 2
    (error,) = [line for line in said.splitlines() if line.startswith("error:")]
    saved = find_checkpoint(out)
    assert "simulator worker 0 died (exit code -9)" in error
    assert f"saved {saved}" in error
    assert f"python train_mt10.py --resume {out}" in error
    steps = int(saved.name.removeprefix("step_"))
    done = run_script("train_mt10.py", "--resume", out, "--total-env-steps", steps + 400)
    assert done.returncode == 0, done.stderr
