"""Short versions of the harnesses; `python -m reliability` has the long ones."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import ROOT, run_script

from agent.checkpoint import find_checkpoint
from reliability.fuzz import fuzz_checkpoints, fuzz_configs, fuzz_histories, fuzz_policies
from reliability.kills import survive_kills
from reliability.small_run import SMALL, command, differences, train
from reliability.soak import Trend, soak
from reliability.workers import harm_workers


def test_killed_runs_end_like_uninterrupted_ones(tmp_path: Path) -> None:
    found = survive_kills(tmp_path, kills=3, total_env_steps=2000, seed=1)
    assert found.kills >= 3
    assert found.runs >= 1
    assert found.differences == {}
    assert found.failures == []
    assert found.left_over == []


def test_runs_with_harmed_workers_end_like_undisturbed_ones(tmp_path: Path) -> None:
    found = harm_workers(tmp_path, harms=2, total_env_steps=3000, seed=1)
    assert found.failures == []
    assert found.differences == {}
    assert found.left_over == []
    assert found.killed + found.frozen >= 2


@pytest.mark.parametrize("fuzz", [fuzz_checkpoints, fuzz_policies, fuzz_configs, fuzz_histories])
def test_no_file_does_more_than_be_refused(fuzz, tmp_path: Path) -> None:
    found = fuzz(tmp_path, count=100, seed=1)
    assert found.failures == []
    assert found.refused > 50
    assert len(found.messages) > 3


def test_two_processes_do_not_share_a_run_folder(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = subprocess.Popen(
        command(*SMALL, "--total-env-steps", 100_000, "--out", out),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_for(out / "metrics.csv")
        before = (out / "config.yaml").read_bytes()
        second = run_script("train_mt10.py", "--resume", out, "--total-env-steps", 7)
        assert second.returncode == 2
        assert f"{out}: in use by process {first.pid} on " in second.stderr
        assert (out / "config.yaml").read_bytes() == before
        first.kill()
        first.wait()
        # the lock goes with the process that held it, however that ends
        assert run_script("train_mt10.py", "--resume", out, "--total-env-steps", 7).returncode == 0
    finally:
        first.kill()
        first.wait()


def test_a_run_can_be_evaluated_while_it_trains(tmp_path: Path) -> None:
    """Its checkpoints are replaced all the time."""
    out = tmp_path / "run"
    often = ("--training.checkpoint-interval-env-steps", 20, "--training.random-env-steps", 10**6)
    run = subprocess.Popen(
        command(*SMALL, *often, "--total-env-steps", 10**6, "--out", out),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_for(out / "metrics.csv")
        for _ in range(3):
            done = run_script("evaluate.py", out, "--goals", 1, "--out", tmp_path / "report")
            assert done.returncode == 0, done.stderr
        assert run.poll() is None
    finally:
        run.kill()
        run.communicate()


def test_workers_follow_a_trainer_that_is_killed(tmp_path: Path) -> None:
    shared = _shared_memory()
    out = tmp_path / "run"
    run = subprocess.Popen(
        command(*SMALL, "--total-env-steps", 10**6, "--out", out),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    _wait_for(out / "metrics.csv")
    children = psutil.Process(run.pid).children(recursive=True)
    assert len(children) >= 2
    if sys.platform == "linux":
        children[-1].send_signal(signal.SIGSTOP)  # a frozen one, too
    run.send_signal(signal.SIGKILL)
    run.wait()
    _, alive = psutil.wait_procs(children, timeout=15)
    assert not alive
    deadline = time.monotonic() + 10
    while _shared_memory() - shared and time.monotonic() < deadline:  # others come and go
        time.sleep(0.1)
    assert not _shared_memory() - shared


def test_a_moved_run_goes_on_with_another_number_of_workers(tmp_path: Path) -> None:
    """Bit for bit, as if it had never stopped or moved."""
    whole, here, there = tmp_path / "whole", tmp_path / "here", tmp_path / "there"
    constant = ("--agent.final-lr-fraction", 1)
    train(*SMALL, *constant, "--total-env-steps", 1600, "--out", whole)
    train(*SMALL, *constant, "--total-env-steps", 700, "--out", here, "--env.workers", 1)
    here.rename(there)
    train("--resume", there, "--total-env-steps", 1600, "--env.workers", 3)
    assert [what for what in differences(whole, there) if not what.endswith("state.json")] == []


def test_a_soak_watches_a_run_and_stops_it(tmp_path: Path) -> None:
    out = tmp_path / "soak.csv"
    endless = (*SMALL, "--total-env-steps", 10**8)
    trends = soak(tmp_path / "run", out, hours=40 / 3600, every_s=0.5, arguments=endless)
    with out.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    samples = dict(zip(header, np.array(rows, float).T, strict=True))
    assert len(rows) >= 10
    assert (np.diff(samples["env_steps"]) >= 0).all()
    assert samples["env_steps"][-1] > samples["env_steps"][0]
    assert samples["processes"][-1] >= 3  # the trainer, a worker for training, one to evaluate
    assert 50 < samples["trainer_mb"].min() <= samples["trainer_mb"].max() < 5_000
    late = samples["hours"] >= samples["hours"][-1] / 2
    assert trends["trainer_mb"].mean == pytest.approx(samples["trainer_mb"][late].mean())
    assert find_checkpoint(tmp_path / "run").is_dir()


def test_a_trend_is_the_line_through_the_second_half() -> None:
    """Of noise +-1 in pairs, the textbook's formulas give slope and interval."""
    hours = np.arange(16.0)
    values = np.where(hours < 8, 1000.0, 3 * hours) + np.tile([1.0, -1.0, -1.0, 1.0], 4)
    trend = Trend.of(hours, values)
    x, y = hours[8:], values[8:]
    slope = ((x - x.mean()) * y).sum() / ((x - x.mean()) ** 2).sum()
    residuals = y - y.mean() - slope * (x - x.mean())
    error = np.sqrt((residuals**2).sum() / 6 / ((x - x.mean()) ** 2).sum())
    assert trend.per_hour == pytest.approx(slope)
    assert slope == pytest.approx(3)
    assert trend.high - trend.per_hour == pytest.approx(2.447 * error, rel=1e-3)  # t, 6 degrees
    assert trend.per_hour - trend.low == pytest.approx(2.447 * error, rel=1e-3)
    assert Trend.of(hours, np.full(16, 5.0)) == Trend(mean=5, per_hour=0, low=0, high=0)


def _shared_memory() -> set[str]:
    return set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 120
    while not (path.is_file() and path.read_text().count("\n") > 1):
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.01)
