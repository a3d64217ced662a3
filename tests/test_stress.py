"""Short versions of the harnesses; `python -m tests.stress` has the long ones."""

from __future__ import annotations

import csv
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import (
    TINY,
    refused,
    resume,
    rows_written,
    succeed,
    training_process,
    wait_until,
)

import evaluate
import train_mt10
from tests.stress.fuzz import (
    Outcomes,
    fuzz_checkpoints,
    fuzz_configs,
    fuzz_folders,
    fuzz_histories,
    fuzz_policies,
)
from tests.stress.kills import survive_kills
from tests.stress.small_run import SMALL
from tests.stress.soak import Trend, soak
from tests.stress.workers import harm_workers
from training.checkpoints.folder import find_checkpoint

ENDLESS = (*TINY, "--total-env-steps", 10**6, "--evaluation.interval-env-steps", 10**6)
FUZZES = [fuzz_checkpoints, fuzz_policies, fuzz_configs, fuzz_folders, fuzz_histories]


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fuzz", FUZZES)
def test_no_file_does_more_than_be_refused(
    fuzz: Callable[..., Outcomes], tiny_run: Path, tmp_path: Path
) -> None:
    found = fuzz(tiny_run, tmp_path, count=20, seed=1)
    assert found.failures == []
    assert found.tried == 20
    assert found.refused > 5
    assert len(found.messages) > 2


@pytest.mark.slow
@pytest.mark.parametrize("fuzz", FUZZES)
def test_many_files_do_no_more_than_be_refused(
    fuzz: Callable[..., Outcomes], tiny_run: Path, tmp_path: Path
) -> None:
    found = fuzz(tiny_run, tmp_path, count=75, seed=2)
    assert found.failures == []
    assert found.refused > 35
    assert len(found.messages) > 2


# --- processes -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_runs_end_like_uninterrupted_ones(tmp_path: Path) -> None:
    found = survive_kills(tmp_path, kills=2, total_env_steps=1200, seed=1)
    assert found.kills >= 2
    assert found.runs >= 1
    assert found.differences == {}
    assert found.failures == []
    assert found.left_over == []


@pytest.mark.slow
def test_runs_with_harmed_workers_end_like_undisturbed_ones(tmp_path: Path) -> None:
    found = harm_workers(tmp_path, harms=2, total_env_steps=1600, seed=1)
    assert found.failures == []
    assert found.differences == {}
    assert found.left_over == []
    assert found.killed + found.frozen == 2


def test_two_processes_do_not_share_a_run_folder(tmp_path: Path) -> None:
    out, rare = tmp_path / "run", ("--recording.checkpoint-interval-env-steps", 10**6)
    with training_process(tmp_path / "said", *ENDLESS, *rare, "--out", out) as first:
        wait_until(lambda: rows_written(out) >= 1)
        before = (out / "config.yaml").read_bytes()
        said = refused(train_mt10.main, "--resume", out, "--total-env-steps", 7)
        assert f"{out}: in use by process {first.pid} on " in said
        assert (out / "config.yaml").read_bytes() == before
        first.kill()
        first.join()
        # the lock goes with the process that held it, however that ends
        resume(out, "--total-env-steps", 7)


def test_a_run_can_be_evaluated_while_it_trains(tmp_path: Path) -> None:
    """Its checkpoints are replaced all the time."""
    out = tmp_path / "run"
    often = ("--recording.checkpoint-interval-env-steps", 20)
    random = ("--exploration.random-env-steps", 10**6)
    flags = ("--goals", 1, "--workers", 1, "--out", tmp_path / "report")
    with training_process(tmp_path / "said", *ENDLESS, *often, *random, "--out", out) as run:
        wait_until(lambda: rows_written(out) >= 1)
        before = find_checkpoint(out)
        for _ in range(3):
            succeed(evaluate.main, out, *flags)
        assert find_checkpoint(out) != before
        assert run.is_alive()


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_follow_a_trainer_that_is_killed(method: str, tmp_path: Path) -> None:
    shared = _shared_memory()
    out, start = tmp_path / "run", ("--machine.start-method", method)
    with training_process(tmp_path / "said", *ENDLESS, *start, "--out", out) as run:
        wait_until(lambda: rows_written(out) >= 1)
        children = psutil.Process(run.pid).children(recursive=True)
        assert len(children) >= 2
        if sys.platform == "linux":
            children[-1].send_signal(signal.SIGSTOP)  # a frozen one, too
        run.kill()
        run.join()
    _, alive = psutil.wait_procs(children, timeout=15)
    assert not alive
    deadline = time.monotonic() + 10
    while _shared_memory() - shared and time.monotonic() < deadline:  # others come and go
        time.sleep(0.1)
    assert not _shared_memory() - shared


# --- the long run --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_soak_watches_a_run_and_stops_it(tmp_path: Path) -> None:
    out = tmp_path / "soak.csv"
    endless = (*SMALL, "--total-env-steps", 10**8)
    trends = soak(tmp_path / "run", out, hours=6 / 3600, every_s=0.25, arguments=endless)
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
