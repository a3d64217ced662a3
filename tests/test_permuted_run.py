"""train_permuted_mnist.py: a run from its start to its report, stopped and resumed, and its errors."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train_permuted_mnist
from configs import RunError, UsageError
from continual.contexts import PrototypeContexts
from continual.metrics import measures
from machine.interpreter import this_python
from permuted_mnist.learner import Learner
from permuted_mnist.recorder import COUNTERS, KEYS

TINY = [
    *("--data.num-tasks", "3", "--network.hidden", "32", "32", "--learning.batch-size", "128"),
    *("--learning.epochs", "2", "--recording.log-interval-gradient-steps", "4"),
    *("--recording.checkpoint-interval-gradient-steps", "7", "--machine.threads", "1"),
]
"""Three tasks of 22 gradient steps."""
KINDS = {
    "prototypes": [],
    "clustering": ["--context.kind", "clustering", "--learning.batch-size", "128"],
    "protected": ["--protection.strength", "0.1", "--learning.reset-optimizer", "False"],
    "plain": ["--network.kind", "plain", "--network.activation", "relu"],
    "xdg": ["--network.kind", "xdg", "--context.kind", "one_hot"],
    "bfloat16": ["--machine.precision", "bfloat16"],
    "rarely tested": ["--recording.evaluation-interval-tasks", "3"],
}


def train(*arguments: object) -> tuple[int, str]:
    """The command in this process: its exit code and what it printed."""
    out = StringIO()
    with redirect_stdout(out):
        code = train_permuted_mnist.main([str(argument) for argument in arguments])
    return code, out.getvalue()


def stop_after(steps: int) -> Callable:
    """A Ctrl-C that comes while the given gradient step is made."""
    update, made = Learner.update, []

    def patched(self: Learner, *arguments: object, **named: object) -> dict:
        made.append(None)
        if len(made) == steps:
            signal.raise_signal(signal.SIGINT)
        return update(self, *arguments, **named)

    return patch.object(Learner, "update", patched)


def differences(one: Path, other: Path) -> list[str]:
    """What two finished runs do not have in common, wall-clock apart."""
    found = []
    reports = [json.loads((run / "report.json").read_text()) for run in (one, other)]
    for report in reports:
        report.pop("hours")
    if reports[0] != reports[1]:
        found.append("report.json")
    tables = [list(csv.DictReader((run / "metrics.csv").open())) for run in (one, other)]
    for table in tables:
        for row in table:
            row.pop("time/elapsed_hours"), row.pop("time/gradient_steps_per_second")
    if tables[0] != tables[1]:
        found.append("metrics.csv")
    (first,), (second,) = ((run / "checkpoints").glob("step_*") for run in (one, other))
    for path in first.glob("*.safetensors"):
        tensors, others = load_file(path), load_file(second / path.name)
        if tensors.keys() != others.keys():
            found.append(path.name)
            continue
        same = [
            torch.equal(*(torch.nan_to_num(t[key].double(), nan=-1) for t in (tensors, others)))
            for key in tensors
        ]
        found += [] if all(same) else [path.name]
    if (one / "matrix.csv").read_bytes() != (other / "matrix.csv").read_bytes():
        found.append("matrix.csv")
    return found


def events(run: Path) -> list[tuple[int, float]]:
    """What TensorBoard shows of the evaluations."""
    accumulator = EventAccumulator(str(run / "tensorboard"))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars("eval/accuracy")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", [22, 31], ids=["at a boundary", "within a task"])
def test_a_run_that_was_stopped_equals_one_that_was_not(
    kind: str, stop: int, shared_folder: Path, tmp_path: Path
) -> None:
    whole, stopped = shared_folder / f"permuted-{kind}", tmp_path / "stopped"
    with FileLock(f"{whole}.lock"):
        if not (whole / "report.json").is_file():
            code, said = train(*TINY, *KINDS[kind], "--out", whole)
            assert code == 0
            assert "accuracy, mean over all tasks at the end" in said
    with stop_after(stop):
        code, said = train(*TINY, *KINDS[kind], "--out", stopped)
    assert code == 128 + signal.SIGINT
    assert f"resume with: {this_python()} train_permuted_mnist.py --resume {stopped}" in said
    code, said = train("--resume", stopped)
    assert code == 0
    assert f"resumed at gradient step {stop}" in said
    with (stopped / "sessions.csv").open(newline="") as file:
        begun = [row["from_checkpoint"] for row in csv.DictReader(file)]
    assert begun == ["", f"step_{stop:09d}"]
    assert differences(whole, stopped) == []
    assert train("--resume", stopped)[0] == 0  # a finished run changes nothing
    assert differences(whole, stopped) == []
    assert events(whole) == events(stopped)


def test_where_a_run_was_trained_is_said_and_stays(
    finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = json.loads((finished / "report.json").read_text())["precision"]
    other = ("--machine.precision", "bfloat16" if trained == "float32" else "float32")
    done, stopped = tmp_path / "done", tmp_path / "stopped"
    shutil.copytree(finished, done)
    assert train("--resume", done, *other)[0] == 0  # nothing is trained there
    assert json.loads((done / "report.json").read_text())["precision"] == trained
    with stop_after(22):
        train(*TINY, "--out", stopped)
    with caplog.at_level("INFO"):
        assert train("--resume", stopped, *other)[0] == 0
    assert (
        f"not bit for bit the same run any more: precision torch.{other[1]} instead" in caplog.text
    )
    assert json.loads((stopped / "report.json").read_text())["precision"] == other[1]


@pytest.mark.parametrize("task", [0, 1])
def test_a_run_that_was_stopped_while_a_task_begins_equals_one_that_was_not(
    task: int, finished: Path, tmp_path: Path
) -> None:
    begin = PrototypeContexts.begin_task

    def stopping(self: PrototypeContexts, index: int, images: torch.Tensor) -> None:
        begin(self, index, images)
        if index == task:
            signal.raise_signal(signal.SIGINT)

    with patch.object(PrototypeContexts, "begin_task", stopping):
        assert train(*TINY, "--out", tmp_path / "run", "--seed", "4")[0] == 128 + signal.SIGINT
    assert train("--resume", tmp_path / "run")[0] == 0
    assert differences(finished, tmp_path / "run") == []


def test_a_context_that_moves_reaches_the_segments(tmp_path: Path) -> None:
    """Clusters' prototypes are renewed while a task is learned; the winners are then those that match."""
    arguments = [
        *TINY,
        *KINDS["clustering"],
        "--learning.batch-size",
        "64",
        "--out",
        tmp_path / "run",
    ]
    moved = []
    move = Learner.move

    def watching(self: Learner, context: torch.Tensor) -> None:
        move(self, context)
        self.write_back()
        for winning, layer in zip(self.winning, self.network.layers, strict=True):
            strongest = layer.dendrites.activations(context).abs().max(dim=0).indices
            assert torch.equal(winning.winner, strongest)
        moved.append(context)

    with patch.object(Learner, "move", watching):
        assert train(*arguments)[0] == 0
    assert len(moved) >= 9  # 44 batches of each of three tasks: at 2, 4, 8, 16 and 32


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run."""
    folder = tmp_path_factory.mktemp("permuted") / "run"
    assert train(*TINY, "--out", folder, "--seed", "4")[0] == 0
    return folder


def test_the_report_holds_the_matrix_and_what_follows_from_it(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text())
    matrix = np.array(report["matrix"], dtype=float)
    assert matrix.shape == (3, 3)
    assert np.isnan(matrix[0]).tolist() == [False, False, True]  # only the next task is looked at
    expected = measures(matrix, report["untrained"])
    assert {"acc", "bwt", "fwt", "forgetting", "min_acc"} == set(expected)
    for name, value in expected.items():
        assert report[name] == value
    assert report["data"] == "digits of scikit-learn, 8 x 8"
    assert report["seed"] == 4
    assert report["scenario"].startswith("domain-incremental")
    assert report["told"] == "where a task begins while learning, nothing at test"
    assert report["contexts"] == 3
    rows = list(csv.reader((finished / "matrix.csv").open()))
    assert rows[0] == ["after", "task 0", "task 1", "task 2"]
    assert rows[1][3] == ""
    assert float(rows[3][1]) == pytest.approx(matrix[2, 0], abs=1e-5)
    assert (finished / "matrix.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("prototypes", "where a task begins and how long it lasts while learning, nothing at test"),
        ("xdg", "the task, while learning and at test, and how long it lasts"),
    ],
)
def test_a_falling_learning_rate_is_told_how_long_a_task_lasts(
    tmp_path: Path, kind: str, told: str
) -> None:
    falls = ("--learning.final-lr-fraction", "0.1", "--out", tmp_path / "run")
    assert train(*TINY, *KINDS[kind], *falls)[0] == 0
    assert json.loads((tmp_path / "run" / "report.json").read_text())["told"] == told


def test_tasks_are_tested_where_it_is_due(tmp_path: Path) -> None:
    assert train(*TINY, *KINDS["rarely tested"], "--out", tmp_path / "run")[0] == 0
    matrix = json.loads((tmp_path / "run" / "report.json").read_text())["matrix"]
    assert [[value is None for value in row] for row in matrix] == [
        [False, False, True],
        [True, False, False],
        [False, False, False],
    ]


def test_metrics_and_tensorboard_hold_the_evaluations(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text())
    table = list(csv.DictReader((finished / "metrics.csv").open()))
    assert list(table[0])[: len(COUNTERS) + len(KEYS)] == [*COUNTERS, *KEYS]
    evaluated = [row for row in table if row["eval/accuracy"]]
    assert [row["tasks_done"] for row in evaluated] == ["1", "2", "3"]
    assert float(evaluated[-1]["eval/accuracy"]) == pytest.approx(report["acc"])
    assert evaluated[0]["eval/accuracy/task_1"] == ""
    events = EventAccumulator(str(finished / "tensorboard"))
    events.Reload()
    scalars = [event.value for event in events.Scalars("eval/accuracy")]
    assert scalars == pytest.approx([float(row["eval/accuracy"]) for row in evaluated])
    assert len(events.Images("eval/matrix")) == 1


def test_the_same_seed_gives_the_same_run_and_another_seed_another(
    finished: Path, tmp_path: Path
) -> None:
    train(*TINY, "--out", tmp_path / "same", "--seed", "4")
    assert differences(finished, tmp_path / "same") == []
    train(*TINY, "--out", tmp_path / "other", "--seed", "5")
    assert "report.json" in differences(finished, tmp_path / "other")


def test_a_dry_run_forecasts_and_writes_nothing(tmp_path: Path) -> None:
    code, said = train("--config", "permuted_mnist_100", "--dry-run", "--out", tmp_path / "none")
    assert code == 0
    assert "321,126,400 of dendritic segments, learned as 4,096 activations" in said
    assert "memory: about" in said
    assert "data: 100 tasks of 60,000 images to learn from; epochs of training on each: 3" in said
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--network.kind xdg", "xdg has to know the task; add --context.kind one_hot"),
        (
            "--config permuted_mnist",
            "neither a preset of train_permuted_mnist.py nor a file (did you mean 'permuted_mnist_",
        ),
        ("--learning.lrr 1", "did you mean --learning.lr"),
        ("--env.workers 2", "Unrecognized options: --env.workers"),
        ("--learning.epochs 0", "learning.epochs: input should be greater than or equal to 1"),
        (
            "--network.hidden 65000 65000 --network.num-segments 1000",
            "network.hidden: the run needs",
        ),
        ("--data.name mnist --data.folder /nowhere", "/nowhere: no train-images-idx3-ubyte"),
        ("--data.folder /nowhere", "digits come with scikit-learn and need none; add --data.name"),
        (
            "--data.name mnist --data.folder ~nobody-here/x",
            "data.folder: ~nobody-here/x: could not",
        ),
        ("--resume nowhere", "--resume nowhere: no run there"),
        ("--machine.device cuda:7", "--machine.device cuda:7"),
        (
            "--data.evaluate-on validation --learning.batch-size 1200",
            "learning.batch_size: there are 1,199 training images; give at most so many",
        ),
        (
            "--context.kind clustering --learning.final-lr-fraction 0.1",
            "learning.final_lr_fraction: clustering is not told how long a task lasts; leave it at 1",
        ),
    ],
)
def test_a_mistake_is_one_line_that_says_how_to_mend_it(
    arguments: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        train(*arguments.split())
    assert message in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_end_the_run_and_are_not_saved(tmp_path: Path) -> None:
    deep = ["--network.hidden", *["32"] * 6, "--learning.lr", "1e6", "--out", tmp_path / "run"]
    with pytest.raises(
        RunError, match=r"no longer finite at gradient step .* lower --learning\.lr"
    ):
        train(*TINY, *deep)
    for path in (tmp_path / "run" / "checkpoints").glob("step_*/network.safetensors"):
        assert all(tensor.isfinite().all() for tensor in load_file(path).values())


def test_a_setting_that_decides_what_is_learned_is_fixed_once_a_run_has_begun(
    finished: Path,
) -> None:
    with pytest.raises(UsageError, match=r"--learning\.lr: fixed by the run that is resumed"):
        train("--resume", finished, "--learning.lr", "1")


def test_a_damaged_checkpoint_is_named(finished: Path) -> None:
    (checkpoint,) = (finished / "checkpoints").glob("step_*")
    path = checkpoint / "network.safetensors"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(UsageError, match=r"network\.safetensors: .*checksum"):
        train("--resume", finished)
    path.write_bytes(good)
