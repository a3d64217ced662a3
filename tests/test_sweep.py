"""Sweeps for real: run, killed, continued, on this machine, on two nodes of Ray's, and by Slurm."""

from __future__ import annotations

import csv
import multiprocessing
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, in_process, rows_written, wait_until
from filelock import FileLock

import sweep
from machine.interpreter import this_python
from sweeps.backends import make_backend
from sweeps.definition import read_sweep
from sweeps.driver import work_off
from sweeps.execution import BEGUN, execute
from sweeps.runs import Run, runs_of
from tests.stress.clusters import HEAD, OTHER, has_slurm, one_node_slurm
from tests.stress.sweeps import ARMS, KINDS, Backend, disturb_sweep, run_undisturbed
from training.run_lock import is_locked, lock_run
from training.stop_signals import StopSignals

ENDLESS = ARMS.format(steps=10**6, seeds=[1])

needs_slurm = pytest.mark.skipif(
    not has_slurm(), reason="needs slurmctld and slurmd, and root to start them"
)


@pytest.fixture(scope="session")
def calm(shared_folder: Path) -> Path:
    """The folder of an undisturbed sweep of both arms."""
    folder = shared_folder / "undisturbed-sweep"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            run_undisturbed(folder, seeds=[1], steps=1200)
    return folder / "calm"


@pytest.mark.slow
@pytest.mark.timeout(280)
@pytest.mark.parametrize("backend", ["local", "ray", pytest.param("slurm", marks=needs_slurm)])
def test_a_sweep_that_is_killed_and_continued_ends_as_an_undisturbed_one(
    calm: Path, tmp_path: Path, backend: Backend
) -> None:
    """The long form is `python -m tests.stress sweeps`."""
    kinds = KINDS[backend]
    found = disturb_sweep(tmp_path, calm, backend, kinds, seed=7)
    assert found.failures == []
    assert found.differences == []
    assert found.kills == dict.fromkeys(kinds, 1)
    assert found.saved >= 1  # also where the nodes ignore SIGINT, as those of the cluster do
    if backend == "ray":
        assert found.places.keys() == {HEAD, OTHER}


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_ctrl_c_saves_every_run(tmp_path: Path) -> None:
    """Those of a driver that was killed, too; meanwhile, no second driver works on the sweep."""
    file, out = tmp_path / "endless.yaml", tmp_path / "out"
    file.write_text(ENDLESS)
    command = [sys.executable, "sweep.py", str(file), "--out", str(out), "--cores", "1", "--jobs"]
    runs = runs_of(read_sweep(file), out)
    killed = subprocess.Popen([*command, "2"], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: any(rows_written(run.folder) > 1 for run in runs))
        second = in_process(sweep.main, file, "--out", out)
        assert second.returncode == 2
        assert f"{out}: in use by process {killed.pid}" in second.stderr
    finally:
        killed.kill()
        killed.wait()
    # Of the two runs that go on, one waits for its turn.
    driver = subprocess.Popen([*command, "1"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert driver.stdout is not None
        assert driver.stdout.readline().startswith("2 runs: ")
        wait_until(lambda: all(rows_written(run.folder) > 3 for run in runs))
        driver.send_signal(signal.SIGINT)
        said, _ = driver.communicate(timeout=60)
    finally:
        driver.kill()
    assert driver.returncode == 128 + signal.SIGINT
    assert f"stopped; go on with: {this_python()} sweep.py {out} --jobs 1 --cores 1" in said
    assert [run.state for run in runs] == ["begun", "begun"]
    assert all(list((run.folder / "checkpoints").glob("step_*")) for run in runs)
    # A run gives its lock back shortly before its process is gone.
    wait_until(
        lambda: not [one for one in psutil.process_iter(["cmdline"]) if str(out) in str(one.info)]
    )


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_run_that_fails_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    file, out = tmp_path / "one_fails.yaml", tmp_path / "out"
    file.write_text(
        "command: train_permuted_mnist.py\nconfig: digits\n"
        "settings: {data: {num_tasks: 2}, learning: {epochs: 1}, network: {hidden: [32]}}\n"
        "arms: {here: , elsewhere: {machine: {device: 'cuda:9'}}}\nseeds: [1]\n"
    )
    done = in_process(sweep.main, file, "--out", out)
    assert done.returncode == 2
    assert "elsewhere-seed1: error: --machine.device cuda:9: this machine has" in done.stderr
    assert f"1 of 2 runs failed; fix this, then: {this_python()} sweep.py {out}" in done.stderr
    assert (out / "runs" / "here-seed1" / "report.json").is_file()
    assert "done: 1 of 2 runs." in done.stdout  # the answer so far
    with (out / "runs.csv").open() as table:
        assert [row["arm"] for row in csv.DictReader(table)] == ["here"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_run_that_is_killed_before_it_gets_anywhere_is_given_up(tmp_path: Path) -> None:
    """A second of processor time is not enough to import torch: the system kills it, each time."""
    file = tmp_path / "endless.yaml"
    file.write_text(ENDLESS)
    run = runs_of(read_sweep(file), tmp_path)[0]
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        why = pool.submit(_execute_with_a_second, run).result()
    assert why.startswith("killed by signal ")
    assert ", 4 times without getting on (out of memory?); it said last: nothing (log: " in why
    assert f"log: {run.log}" in why
    assert run.log.read_text().count(BEGUN) == 4


def _execute_with_a_second(run: Run) -> str | None:
    resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
    return execute(run, 1, "here", lambda: False)


@pytest.mark.parametrize(("backend", "module"), [("ray", "ray"), ("slurm", "submitit")])
def test_without_its_library_a_backend_says_what_to_install(
    tmp_path: Path, backend: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # what an import of it finds
    file = tmp_path / "arms.yaml"
    file.write_text(ENDLESS)
    done = in_process(sweep.main, file, "--out", tmp_path / "out", "--backend", backend)
    assert done.returncode == 2
    assert f"pip install '.[{backend}]'" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_cluster_that_does_not_answer_gets_one_line(tmp_path: Path) -> None:
    file = tmp_path / "arms.yaml"
    file.write_text(ENDLESS)
    done = subprocess.run(
        [
            *(sys.executable, "sweep.py", str(file), "--out", str(tmp_path / "out")),
            *("--backend", "ray", "--address", "127.0.0.9:1"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 2
    assert "--address 127.0.0.9:1: no Ray cluster answers there" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(120)
@needs_slurm
@pytest.mark.parametrize("harm", ["kill", "cancel"])
def test_a_run_whose_job_of_slurm_is_lost_gets_another_job(
    harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The job leaves no result, and this Slurm keeps no accounts of jobs that have ended."""
    monkeypatch.setattr("sweeps.backends.slurm._LOOK_S", 0.5)
    monkeypatch.setattr("sweeps.backends.slurm._LATE_S", 3.0)
    file, out = tmp_path / "short.yaml", tmp_path / "out"
    file.write_text(ARMS.format(steps=1_000, seeds=[1]))
    run = runs_of(read_sweep(file), out)[0]
    harmed: list[str] = []

    def harm_once(failed: object) -> None:
        if harmed or rows_written(run.folder) < 2:
            return
        harmed.append(harm)
        if harm == "cancel":  # as preemption does: the run saves
            subprocess.run(["scancel", "1"], check=True)
            return
        for process in psutil.process_iter(["cmdline"]):  # the job, and the run
            if str(out) in str(process.info["cmdline"]):
                with suppress(psutil.NoSuchProcess):  # gone with the one before
                    process.kill()

    with one_node_slurm(tmp_path / "cluster") as environment, StopSignals() as signals:
        monkeypatch.setenv("SLURM_CONF", environment["SLURM_CONF"])
        monkeypatch.setenv("SQUEUE_STATES", "SUSPENDED")  # a user's own filter
        backend = make_backend("slurm", 1, 1, out=out)
        assert work_off([run], backend, 1, signals, harm_once) == ({}, False)
    assert harmed
    said = capsys.readouterr().out
    assert "dendrites-seed1: its job was killed, or its node is gone (Slurm's job 1; logs: " in said
    assert run.state == "done"
    assert run.log.read_text().count(BEGUN) == 2
    assert run.log.read_text().count("stopped; saved") == (harm == "cancel")
    assert len(list(out.glob("slurm/*/*_result.pkl"))) == 1
    assert len(list(out.glob("slurm/*/*_submission.sh"))) == 2


@pytest.mark.slow
@pytest.mark.timeout(120)
@needs_slurm
def test_a_slurm_that_does_not_answer_gets_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slurm.conf").write_text(
        "ClusterName=none\nSlurmctldHost=nowhere(127.0.0.1)\nSlurmctldPort=1\nAuthType=auth/none\n"
        "CredType=cred/none\nMessageTimeout=1\nNodeName=nowhere\nPartitionName=all Nodes=nowhere\n"
    )
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    file = tmp_path / "arms.yaml"
    file.write_text(ENDLESS)
    done = in_process(sweep.main, file, "--out", tmp_path / "out", "--backend", "slurm")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --backend slurm: Slurm doesn't answer (")
    assert done.stderr.count("\n") == 1


def test_another_cluster_of_slurm_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "arms.yaml"
    file.write_text(ENDLESS)
    flags = ["--backend", "slurm", "--slurm", "clusters=other"]
    done = in_process(sweep.main, file, "--out", tmp_path / "out", *flags)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --slurm clusters: only the cluster here can be watched")
    assert done.stderr.count("\n") == 1


def test_the_forecast_names_commands_time_memory_and_disk(tmp_path: Path) -> None:
    file = tmp_path / "digits.yaml"
    file.write_text(
        "command: train_permuted_mnist.py\nconfig: digits\n"
        "arms: {dendrites: , wide: {network: {hidden: [64]}}}\nseeds: [1, 2]\n"
    )
    done = in_process(sweep.main, file, "--out", tmp_path / "out", "--dry-run", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("python train_permuted_mnist.py --config digits") == 4
    time = r"(a minute or less|about \d+ minutes)"  # measured, on a machine that may be busy
    forecast = f"4 of 4 runs are left, of 1 core each: {time} one by one, {time} with 2 at a time"
    assert re.search(forecast, done.stdout)
    assert "GB of memory" in done.stdout
    assert "GB of disk" in done.stdout
    assert not (tmp_path / "out").exists()


def test_who_asks_whether_a_run_is_held_never_keeps_it_from_starting(tmp_path: Path) -> None:
    """The table of a sweep asks twice a second; here another process asks all the time."""
    asked = multiprocessing.get_context("fork").Process(target=_ask_for_ever, args=(tmp_path,))
    asked.start()
    try:
        for _ in range(100):
            with lock_run(tmp_path):
                pass
        with lock_run(tmp_path):
            assert in_another_process(is_locked, tmp_path)
        asked.kill()
        asked.join()
        assert not in_another_process(is_locked, tmp_path)
    finally:
        asked.kill()


def _ask_for_ever(folder: Path) -> None:
    while True:
        is_locked(folder)


def in_another_process(function: Callable[[Path], bool], folder: Path) -> bool:
    """A process does not see its own locks."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        return pool.submit(function, folder).result()
