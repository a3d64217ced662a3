"""Resuming equals never having stopped; the same seed gives the same bytes."""

from __future__ import annotations

import csv
import fcntl
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest
from conftest import (
    ROOT,
    TINY,
    TINY_STEPS,
    in_process,
    refused,
    resume,
    rows_without_time,
    rows_written,
    train,
    training_process,
    wait_until,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train_mt10
from agent.observations import relative
from configs import load_config
from machine.interpreter import this_python
from tests.stress.small_run import differences
from training.checkpoints.folder import find_checkpoint, load_part, load_state
from training.metrics.keys import COUNTER_COLUMNS, metric_keys
from training.metrics.log import MetricsLog


def test_the_checkpoint_holds_everything(tiny_run: Path) -> None:
    tensors = load_part(find_checkpoint(tiny_run), "agent")
    assert tensors["model.log_temperature"].shape == (2,)
    for name in ("actor", "critic", "temperature"):
        assert (tensors[f"optimizer.{name}.square"] > 0).any()
        steps = tensors[f"optimizer.{name}.steps"]
        state = load_state(find_checkpoint(tiny_run))
        assert steps == state["progress"]["gradient_steps"] > 0
    assert {"torch", "mujoco", "metaworld"} <= state["versions"].keys()
    assert state["config"]["seed"] == 0


def test_what_was_collected_is_what_the_settings_say(tmp_path: Path) -> None:
    """Statistics in the networks' frame; actions held within an episode, never across its end."""
    out = tmp_path / "run"
    holds = ("--exploration.hold-rate", "0.9", "--exploration.hold-steps", "50")
    alike = ("--env.least-task-share", "1")  # so that all rings are equally full
    train(out, "--total-env-steps", 1600, *holds, *alike)
    checkpoint = find_checkpoint(out)
    replay, loop = load_part(checkpoint, "replay"), load_part(checkpoint, "loop")
    obs = replay["obs"].flatten(1, 2).double()  # [T, copies x steps, 39], all acted on
    seen = relative(obs).numpy()
    np.testing.assert_allclose(loop["observations.mean"], seen.mean(axis=1), atol=1e-6)

    # Within an episode, the next step acts on the successor; at its end, on the first of another.
    follows = (replay["next_obs"][:, :, :-1] == replay["obs"][:, :, 1:]).all(dim=-1)
    ends = replay["truncated"][:, :, :-1]
    assert follows[~ends].all()
    assert not follows[ends].any()

    random = replay["action"][:, :, : 200 // 4]  # [T, N, steps, 4], uniform between -1 and 1
    assert (random.abs() <= 1).all()
    assert random.mean().abs() < 4 * 3**-0.5 / random.numel() ** 0.5
    assert random.std().item() == pytest.approx(3**-0.5, rel=0.05)
    assert (random[:, :, 1:] != random[:, :, :-1]).all()

    policy = slice(200 // 4, None)  # after the random actions
    actions = replay["action"][:, :, policy]  # [T, N, steps, 4]
    ended = replay["truncated"][:, :, policy][:, :, :-1]  # [T, N, steps - 1]
    repeated = actions[:, :, 1:] == actions[:, :, :-1]
    assert repeated[~ended].float().mean() > 0.8
    assert ended.any()
    assert not repeated[ended].any()


def test_resume_is_exact_in_the_middle_of_episodes_and_of_a_row(
    tiny_run: Path, tmp_path: Path
) -> None:
    """After 340 steps (85 of each environment) no episode ends, no row is due, actions are held."""
    out = tmp_path / "run"
    train(out, "--total-env-steps", 340)
    loop = load_part(find_checkpoint(out), "loop")
    noise_started, steps_held = loop["envs.memory"][:, 4], loop["envs.memory"][:, 5:9]
    assert noise_started.all()
    assert steps_held.any()
    resume(out, "--total-env-steps", TINY_STEPS)
    with (out / "sessions.csv").open(newline="") as file:
        begun = [row["from_checkpoint"] for row in csv.DictReader(file)]
    assert begun == ["", "step_000000340"]
    # The first leg ended with a checkpoint and a config of its own; the rest is the same run.
    assert differences(tiny_run, out) == []


@pytest.mark.slow
def test_a_moved_run_goes_on_as_another_machine_would_have_it(
    tiny_run: Path, tmp_path: Path
) -> None:
    """Bit for bit, as if it had never stopped or moved, with other workers, started in another way."""
    here, there = tmp_path / "here", tmp_path / "there"
    train(here, "--total-env-steps", 340)
    here.rename(there)
    machine = ("--machine.workers", 2, "--machine.start-method", "spawn")
    resume(there, "--total-env-steps", TINY_STEPS, *machine, "--machine.step-timeout-s", 30)
    assert load_config(str(there / "config.yaml")).machine.workers == 2
    assert [what for what in differences(tiny_run, there) if not what.endswith("state.json")] == []
    mine, theirs = (load_state(find_checkpoint(run)) for run in (tiny_run, there))
    assert theirs["config"].pop("machine") != mine["config"].pop("machine")
    assert theirs["config"] == mine["config"]


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["boosted_k_winners", "threshold_winners"])
def test_what_winners_remember_is_resumed(activation: str, tmp_path: Path) -> None:
    """While a boost is still there, which fades with the whole of training."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = ("--network.activation", activation, "--network.winners-annealing", "1")
    train(whole, *settings)
    with training_process(tmp_path / "said", *TINY, *settings, "--out", parts) as process:
        wait_until(lambda: rows_written(parts) >= 2)
        os.kill(process.pid, signal.SIGTERM)
        process.join(60)
        assert process.exitcode == 128 + signal.SIGTERM
    resume(parts)
    assert differences(whole, parts) == []


@pytest.mark.slow
def test_resume_is_exact_with_the_compiled_update(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = ("--machine.compile", "auto", "--machine.precision", "bfloat16")
    done = train(whole, *settings, "--total-env-steps", 500)
    assert "compiled critic_objective in" in done.stderr
    train(parts, *settings, "--total-env-steps", 340)
    done = resume(parts, "--total-env-steps", 500)
    assert "compiled critic_objective in" in done.stderr
    assert differences(whole, parts) == []


@pytest.mark.slow
def test_ctrl_c_saves_and_resumes(tiny_run: Path, tmp_path: Path) -> None:
    """The script as a user starts it, with the signal that the terminal sends."""
    out = tmp_path / "run"
    command = [sys.executable, "train_mt10.py", *TINY, "--out", str(out)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: rows_written(out) >= 1)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGINT
    assert f"resume with: {this_python()} train_mt10.py --resume {out}" in output
    resume(out)
    assert differences(tiny_run, out) == []


def _in_its_terminal() -> None:
    signal.signal(
        signal.SIGHUP, signal.SIG_DFL
    )  # the tests may run under nohup, which is inherited
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.mark.parametrize("nohup", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_closed_terminal_saves_and_resumes(nohup: bool, tiny_run: Path, tmp_path: Path) -> None:
    """A real one: the kernel tells the whole foreground process group, the simulators' processes, too."""
    out = tmp_path / "run"
    ours, terminal = pty.openpty()
    command = [*["nohup"] * nohup, sys.executable, "train_mt10.py", *TINY, "--out", str(out)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=terminal,
        stdout=tmp_path.joinpath("said").open("w") if nohup else terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=_in_its_terminal,
    )
    os.close(terminal)
    try:
        wait_until(lambda: rows_written(out) >= 1)
        os.close(ours)
        code = process.wait(timeout=60)
    finally:
        process.kill()
    if nohup:
        assert code == 0
    else:
        assert code == 128 + signal.SIGHUP
        resume(out)
    assert differences(tiny_run, out) == []


def test_sigterm_saves_and_resumes(tiny_run: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "run", tmp_path / "said"
    with training_process(said, *TINY, "--out", out) as process:
        wait_until(lambda: rows_written(out) >= 1)
        os.kill(process.pid, signal.SIGTERM)
        process.join(60)
        assert process.exitcode == 128 + signal.SIGTERM
    assert f"resume with: {this_python()} train_mt10.py --resume {out}" in said.read_text()
    assert not (out / "report.md").exists()
    resume(out)
    assert differences(tiny_run, out) == []


def test_kill_9_loses_nothing_before_the_last_checkpoint(tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with training_process(tmp_path / "said", *TINY, "--out", out) as process:
        wait_until(lambda: bool(list(out.glob("checkpoints/step_*"))) and rows_written(out) >= 2)
        process.kill()
    assert not (out / "report.md").exists()
    # What a kill in the middle of a save leaves behind: an unfinished draft, never a bad checkpoint;
    # and between the two renames that put a second one in the place of the first, no proper name.
    newest = find_checkpoint(out)
    shutil.copytree(newest, newest.parent / f".writing-{newest.name}")
    aside = newest.rename(newest.parent / f".old-{newest.name}")
    assert find_checkpoint(out) == aside
    resume(out)
    assert differences(tiny_run, out) == []
    assert [path.name for path in (out / "checkpoints").glob(".*")] == [".saved"]


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(
    tiny_run: Path, tmp_path: Path
) -> None:
    out, interval = tmp_path / "run", "--recording.checkpoint-interval-env-steps"
    with training_process(tmp_path / "said", *TINY, interval, 10**6, "--out", out) as process:
        wait_until(lambda: rows_written(out) >= 1)
        process.kill()
    assert not list((out / "checkpoints").glob("step_*"))
    assert "no checkpoint yet, so from its beginning" in resume(out, interval, 250).stdout
    assert differences(tiny_run, out) == []


def test_tensorboard_shows_all_of_a_run_though_the_clock_went_back(tmp_path: Path) -> None:
    """As on another machine; event files have the time in their names, and are read in that order."""
    keys = metric_keys(load_config("smoke"))
    size = 0
    for session, ahead_s in enumerate((7200, 3600, 0)):
        resume_at = (5 * session, size) if session else None
        log = MetricsLog(tmp_path, COUNTER_COLUMNS, keys, resume_at)
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


def test_same_seed_same_bytes_other_seed_other_bytes(tiny_run: Path, tmp_path: Path) -> None:
    train(tmp_path / "same", "--total-env-steps", 480, "--machine.workers", 2)
    train(tmp_path / "other", "--total-env-steps", 480, "--seed", 1)
    rows = rows_without_time(tiny_run)[: len(rows_without_time(tmp_path / "same"))]
    assert len(rows) > 3
    assert rows_without_time(tmp_path / "same") == rows
    assert rows_without_time(tmp_path / "other") != rows


def test_a_new_end_that_has_been_passed_is_refused_and_changes_nothing(copied_run: Path) -> None:
    before = (copied_run / "config.yaml").read_bytes()
    said = refused(train_mt10.main, "--resume", copied_run, "--total-env-steps", 100)
    assert f"--total-env-steps 100: the run has made {TINY_STEPS} steps already" in said
    assert (copied_run / "config.yaml").read_bytes() == before
    finished = in_process(train_mt10.main, "--resume", copied_run)  # at its end already
    assert finished.returncode == 0, finished.stderr
    assert f"resumed at step {TINY_STEPS} of {TINY_STEPS}" in finished.stdout


def test_a_run_that_learns_nothing_says_so_before_it_starts() -> None:
    dry = in_process(train_mt10.main, *TINY, "--total-env-steps", 150, "--dry-run")
    assert (
        "gradient steps: none, because the run ends before exploration.random_env_steps"
        in dry.stdout
    )
    rarely = ("--exploration.random-env-steps", 0, "--training.update-interval-vector-steps", 10**6)
    dry = in_process(train_mt10.main, *TINY, *rarely, "--dry-run")
    assert "none, because the run ends before the first is due: training.updates_per" in dry.stdout
    assert (
        "gradient steps: 77, on 1 CPU threads"
        in in_process(train_mt10.main, *TINY, "--dry-run").stdout
    )
