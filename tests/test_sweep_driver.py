"""Which runs of a sweep are submitted when, and which of them a terminal shows."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from rich.console import Console

from configs.errors import UsageError
from sweeps.console import live_table
from sweeps.definition import Sweep
from sweeps.driver import work_off
from sweeps.execution import Lost
from sweeps.runs import Run, runs_of
from training.stop_signals import StopSignals

SWEEP = Sweep(arms={"a": None, "b": None}, seeds=list(range(1, 21)), config="smoke")


class Limited:
    """A cluster that takes so many runs at a time, and ends the oldest at each look."""

    def __init__(self, limit: int) -> None:
        self.limit, self.under_way, self.ended, self.most = limit, [], [], 0

    def submit(self, run: Run) -> None:
        if len(self.under_way) == self.limit:
            raise UsageError("sbatch refuses it: QOSMaxSubmitJobPerUserLimit")
        self.under_way.append(run.name)
        self.most = max(self.most, len(self.under_way))

    def finished(self) -> dict[str, str | None]:
        if not self.under_way:
            return {}
        self.ended.append(self.under_way.pop(0))
        return {self.ended[-1]: None}

    def stop(self) -> None:
        assert not self.under_way


@pytest.mark.parametrize("limit", [1, 3])
def test_runs_that_a_cluster_refuses_wait_until_one_has_ended(limit: int, tmp_path: Path) -> None:
    runs, cluster = runs_of(SWEEP, tmp_path), Limited(limit)
    with StopSignals() as signals:
        done = work_off(runs, cluster, len(runs), signals, lambda failed: None)
    assert done == ({}, False)
    assert cluster.ended == [run.name for run in runs]
    assert cluster.most == limit


def test_a_stopped_sweep_still_says_what_had_failed(tmp_path: Path) -> None:
    class Failing(Limited):
        def finished(self) -> dict[str, str | None]:
            return dict.fromkeys(super().finished(), "error: something is wrong")

        def stop(self) -> None:
            self.stopped = True

    cluster = Failing(2)
    with StopSignals("stopping", again="still saving") as signals:

        def ctrl_c_three_times(failed: object) -> None:
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)

        done = work_off(runs_of(SWEEP, tmp_path), cluster, 2, signals, ctrl_c_three_times)
    assert done == ({"a-seed1": "error: something is wrong"}, True)
    assert cluster.stopped


class Losing(Limited):
    """Loses every job of the first run, which gets on in the first so many of them."""

    def __init__(self, limit: int, first: Run, fruitful: int) -> None:
        super().__init__(limit)
        self.first, self.fruitful = first, fruitful

    def finished(self) -> dict[str, str | None]:
        ended = super().finished()
        name = self.first.name
        if name not in ended:
            return ended
        rows = min(self.ended.count(name), self.fruitful)
        self.first.folder.mkdir(parents=True, exist_ok=True)
        (self.first.folder / "metrics.csv").write_text("env_steps\n" + "100\n" * rows)
        return {name: Lost("its node is gone")}


def test_a_run_whose_job_is_lost_is_begun_again_as_long_as_it_gets_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *others = runs_of(SWEEP, tmp_path)[:3]
    cluster = Losing(1, first, fruitful=6)
    with StopSignals() as signals:
        failed, stopped = work_off([first, *others], cluster, 3, signals, lambda failed: None)
    assert failed == {
        first.name: "its node is gone, 4 times without getting on (out of memory?); "
        f"it said last: nothing (log: {first.log})"
    }
    assert not stopped
    assert cluster.ended == [first.name] * 10 + [run.name for run in others]
    said = capsys.readouterr().out
    assert said.splitlines() == [f"{first.name}: its node is gone; it is begun again"] * 9


def test_a_run_that_is_done_needs_no_other_job(tmp_path: Path) -> None:
    """It was lost between its report and its result."""

    class Late(Losing):
        def finished(self) -> dict[str, str | None]:
            ended = super().finished()
            (self.first.folder / "report.json").write_text("{}")
            return ended

    (first,) = runs_of(SWEEP, tmp_path)[:1]
    with StopSignals() as signals:
        done = work_off([first], Late(1, first, 1), 1, signals, lambda failed: None)
    assert done == ({}, False)


def test_a_refusal_after_the_first_run_was_taken_is_one_run_s_failure(tmp_path: Path) -> None:
    class Closing(Losing):
        """Takes nothing more after its first job."""

        def submit(self, run: Run) -> None:
            if self.ended:
                raise UsageError("sbatch refuses it: the partition is down")
            super().submit(run)

    first, other = runs_of(SWEEP, tmp_path)[:2]
    with StopSignals() as signals:
        cluster = Closing(1, first, 1)
        done = work_off([first, other], cluster, 2, signals, lambda failed: None)
    why = "sbatch refuses it: the partition is down"
    assert done == ({first.name: why, other.name: why}, False)


def test_a_cluster_that_takes_no_run_ends_the_sweep(tmp_path: Path) -> None:
    with StopSignals() as signals, pytest.raises(UsageError, match="QOSMaxSubmit"):
        work_off(runs_of(SWEEP, tmp_path), Limited(0), 40, signals, lambda failed: None)


def test_a_small_terminal_shows_what_is_under_way_and_comes_next(tmp_path: Path) -> None:
    runs = runs_of(SWEEP, tmp_path)
    for index, run in enumerate(runs[:31]):
        run.folder.mkdir(parents=True)
        (run.folder / "config.yaml").touch()
        if index != 28:
            (run.folder / "report.json").write_text(json.dumps({"mean_success_rate": 0.5}))
    console = Console(width=100)
    failed = {runs[2].name}
    with console.capture() as shown:
        console.print(live_table(runs, failed, most=6))
    rows = [line.split()[:3] for line in shown.get().splitlines() if line.strip()]
    assert rows[1:-1] == [
        ["a", "2", "failed"],
        ["a", "15", "begun"],
        ["b", "16", "new"],
        *(["a", "17", "new"], ["b", "17", "new"], ["a", "18", "new"]),
    ]
    assert "40 runs: 29 done, 1 begun, 9 new, 1 failed" in shown.get()
    with console.capture() as shown:
        console.print(live_table(runs, failed, most=13))
    rows = [line.split()[:3] for line in shown.get().splitlines() if line.strip()]
    assert rows[1:3] == [["a", "2", "failed"], ["a", "15", "begun"]]
    assert rows[3:5] == [["b", "15", "done"], ["a", "16", "done"]]  # the last of them
    with console.capture() as shown:
        console.print(live_table(runs, failed, most=40))
    assert len(shown.get().splitlines()) == 42
