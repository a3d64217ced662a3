"""Resuming equals never having stopped; the same seed gives the same bytes."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, TINY, rows_without_time, run_script, train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agent.checkpoint import find_checkpoint, load_part, load_state
from agent.observations import observation_frame
from configs import load_config
from envs import OBS_SIZE
from reliability.small_run import differences
from reporting.metric_keys import COUNTER_COLUMNS
from reporting.metrics_log import MetricsLog

INTERVALS = [
    *("--training.log-interval-env-steps", "300", "--evaluation.interval-env-steps", "600"),
    *("--training.checkpoint-interval-env-steps", "500"),
    *("--agent.final-lr-fraction", "1"),  # else the learning rates depend on the run's length
    *("--agent.hold-rate", "0.2"),  # so that a stop comes in the middle of a hold
]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "uninterrupted"
    train(out, *INTERVALS, "--total-env-steps", 1600)
    return out


def test_the_checkpoint_holds_everything(uninterrupted: Path) -> None:
    tensors = load_part(find_checkpoint(uninterrupted), "agent")
    assert tensors["model.log_temperature"].shape == (2,)
    for name in ("actor", "critic", "temperature"):
        assert any(key.startswith(f"optimizer.{name}.0.exp_avg_sq") for key in tensors)
        steps = tensors[f"optimizer.{name}.0.step"]
        state = load_state(find_checkpoint(uninterrupted))
        assert steps == state["counters"]["gradient_steps"] > 0
    assert {"torch", "mujoco", "metaworld"} <= state["versions"].keys()
    assert state["config"]["seed"] == 0


def test_what_was_collected_is_what_the_settings_say(tmp_path: Path) -> None:
    """Statistics in the networks' frame; actions held within an episode, never across its end."""
    out = tmp_path / "run"
    train(out, "--total-env-steps", 2000, "--agent.hold-rate", "0.9", "--agent.hold-steps", "50")
    checkpoint = find_checkpoint(out)
    replay, loop = load_part(checkpoint, "replay"), load_part(checkpoint, "loop")
    copies = 2
    obs = replay["obs"].double().numpy()  # [T, steps x copies, 39], everything acted on
    seen = obs @ observation_frame("relative", OBS_SIZE)
    np.testing.assert_allclose(loop["observations.mean"], seen.mean(axis=1), atol=1e-6)

    policy = slice(400 // 2, None)  # after the random actions
    actions = replay["action"][:, policy].unflatten(1, (-1, copies))  # [T, steps, N, 4]
    ended = replay["truncated"][:, policy].unflatten(1, (-1, copies))[:, :-1]  # [T, steps - 1, N]
    repeated = actions[:, 1:] == actions[:, :-1]
    assert repeated[~ended].float().mean() > 0.8
    assert ended.any()
    assert not repeated[ended].any()


def test_resume_is_exact_in_the_middle_of_episodes_and_of_a_row(
    uninterrupted: Path, tmp_path: Path
) -> None:
    """After 660 steps (165 of each environment) no episode ends, no row is due, actions are held."""
    out = tmp_path / "run"
    train(out, *INTERVALS, "--total-env-steps", 660)
    loop = load_part(find_checkpoint(out), "loop")
    assert loop["held.steps_left"].any()
    assert not loop["noise.fresh"].any()
    done = run_script("train_mt10.py", "--resume", out, "--total-env-steps", 1600)
    assert done.returncode == 0, done.stderr
    # The first leg ended with a checkpoint and a config of its own; the rest is the same run.
    assert differences(uninterrupted, out) == []


def test_resume_is_exact_with_the_compiled_update(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = (*INTERVALS, "--compile", "auto", "--precision", "bfloat16")
    done = train(whole, *settings, "--total-env-steps", 900)
    assert "compiled critic_objective in" in done.stderr
    train(parts, *settings, "--total-env-steps", 660)
    done = run_script("train_mt10.py", "--resume", parts, "--total-env-steps", 900)
    assert done.returncode == 0, done.stderr
    assert "compiled critic_objective in" in done.stderr
    assert differences(whole, parts) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_by_signal_saves_and_resumes(
    uninterrupted: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "train_mt10.py", *TINY, *INTERVALS, "--total-env-steps", "1600"]
    process = subprocess.Popen(
        [*command, "--out", str(out)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    _wait_for_rows(out, 1)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"resume with: python train_mt10.py --resume {out}" in output
    assert run_script("train_mt10.py", "--resume", out).returncode == 0
    assert differences(uninterrupted, out) == []


def test_kill_9_loses_nothing_before_the_last_checkpoint(
    uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "train_mt10.py", *TINY, *INTERVALS, "--total-env-steps", "1600"]
    process = subprocess.Popen([*command, "--out", str(out)], cwd=ROOT, stdout=subprocess.PIPE)
    _wait_for_rows(out, 3)
    process.kill()
    process.communicate()
    # What a kill in the middle of a save leaves behind: an unfinished draft, never a bad checkpoint;
    # and between the two renames that put a second one in the place of the first, no proper name.
    newest = find_checkpoint(out)
    shutil.copytree(newest, newest.parent / f".writing-{newest.name}")
    aside = newest.rename(newest.parent / f".old-{newest.name}")
    assert find_checkpoint(out) == aside
    assert run_script("train_mt10.py", "--resume", out).returncode == 0
    assert differences(uninterrupted, out) == []
    assert [path.name for path in (out / "checkpoints").glob(".*")] == [".saved"]


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(
    uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "train_mt10.py", *TINY, *INTERVALS, "--total-env-steps", "1600"]
    process = subprocess.Popen([*command, "--out", str(out)], cwd=ROOT, stdout=subprocess.PIPE)
    _wait_for_rows(out, 1)
    process.kill()
    process.communicate()
    assert not list((out / "checkpoints").glob("step_*"))
    assert run_script("train_mt10.py", "--resume", out).returncode == 0
    assert differences(uninterrupted, out) == []


def _wait_for_rows(out: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    path = out / "metrics.csv"
    while not (path.is_file() and len(path.read_text().splitlines()) > count):
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.01)


def test_tensorboard_shows_all_of_a_run_though_the_clock_went_back(tmp_path: Path) -> None:
    """As on another machine; event files have the time in their names, and are read in that order."""
    config = load_config("smoke")
    size = 0
    for session, ahead_s in enumerate((7200, 3600, 0)):
        log = MetricsLog(tmp_path, config, (5 * session, size) if session else None)
        for step in range(5 * session, 5 * session + 8):  # three of them after its checkpoint
            log.write(dict.fromkeys(COUNTER_COLUMNS, step), {"eval/return": step})
            size = log.size if step == 5 * session + 4 else size
        log.close()
        ours = max((tmp_path / "tensorboard").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        kind, stamp, rest = re.fullmatch(r"(.*tfevents\.)(\d+)(\..*)", ours.name).groups()
        ours.rename(ours.with_name(f"{kind}{int(stamp) + ahead_s:010d}{rest}"))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    steps = [event.step for event in events.Scalars("eval/return")]
    assert steps == list(range(18))


def test_same_seed_same_bytes_other_seed_other_bytes(uninterrupted: Path, tmp_path: Path) -> None:
    train(tmp_path / "same", *INTERVALS, "--total-env-steps", 900, "--env.workers", 1)
    train(tmp_path / "other", *INTERVALS, "--total-env-steps", 900, "--seed", 1)
    rows = rows_without_time(uninterrupted)[: len(rows_without_time(tmp_path / "same"))]
    assert len(rows) > 3
    assert rows_without_time(tmp_path / "same") == rows
    assert rows_without_time(tmp_path / "other") != rows
