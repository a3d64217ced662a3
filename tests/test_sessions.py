"""sessions.csv of a run, and the version of the code in it."""

from __future__ import annotations

import csv
import subprocess
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from dendrites.kernels import load_kernels
from machine.cores import processor_name
from machine.device import resolve_precision
from machine.fingerprint import log_differences
from machine.versions import code_version
from training.sessions import SESSIONS, sessions_in_words, write_session

CPU = torch.device("cpu")


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / SESSIONS).open(newline="") as file:
        return list(csv.DictReader(file))


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_finished_run_says_where_it_was_made(tiny_run: Path) -> None:
    (row,) = rows_of(tiny_run)
    begun = datetime.fromisoformat(row["begun_utc"])
    assert timedelta(0) < datetime.now(UTC) - begun
    assert (row["from_checkpoint"], row["processor"]) == ("", processor_name())
    assert (row["torch"], row["mujoco"]) == (version("torch"), version("mujoco"))
    precision = resolve_precision("auto", CPU)
    assert (row["device"], row["precision"]) == ("cpu", str(precision))
    assert row["kernels"] == ("none" if load_kernels() is None else "C")
    commit = row["code"].removesuffix("-dirty")  # not HEAD, if there was a commit in between
    assert len(commit) == len(code_version(ROOT).removesuffix("-dirty"))
    assert not commit or git(ROOT, "cat-file", "-t", commit) == "commit"


def test_a_row_for_each_time_that_it_goes_on(tmp_path: Path) -> None:
    write_session(tmp_path, None, CPU, torch.float32)
    write_session(tmp_path, tmp_path / "checkpoints" / "step_000000340", CPU, torch.bfloat16)
    first, second = rows_of(tmp_path)
    assert second["from_checkpoint"] == "step_000000340"
    assert (first["precision"], second["precision"]) == ("torch.float32", "torch.bfloat16")


def test_what_an_older_checkpoint_does_not_say_is_no_difference(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO"):
        log_differences({"torch": "1"}, {"torch": "1", "kernels": "C"})
    assert not caplog.text
    with caplog.at_level("INFO"):
        log_differences({"torch": "1", "kernels": "none"}, {"torch": "1", "kernels": "C"})
    assert "not bit for bit the same run any more: kernels C instead of none\n" in caplog.text


def test_a_run_of_another_version_keeps_its_columns(tmp_path: Path) -> None:
    (tmp_path / SESSIONS).write_text("processor,gone,precision\nZ80,1,torch.int8\n")
    write_session(tmp_path, None, CPU, torch.float32)
    assert rows_of(tmp_path) == [
        {"processor": "Z80", "gone": "1", "precision": "torch.int8"},
        {"processor": processor_name(), "gone": "", "precision": "torch.float32"},
    ]


@pytest.mark.parametrize(
    ("left", "rows"),
    [
        (b"", 0),
        (b"begun_utc,from_ch", 0),
        (b"\xff" * 10_000, 0),
        (b"processor,precision\nZ80,torch.fl", 1),
        (b"processor,precision\n\xff\n", 1),
    ],
)
def test_a_file_that_was_cut_or_is_damaged_does_not_stop_a_run(
    tmp_path: Path, left: bytes, rows: int
) -> None:
    (tmp_path / SESSIONS).write_bytes(left)
    write_session(tmp_path, None, CPU, torch.float32)
    content = (tmp_path / SESSIONS).read_text(errors="replace").splitlines()
    found = list(csv.DictReader(content))
    assert len(found) == rows + 1
    assert found[-1]["processor"] == processor_name()
    assert found[-1]["precision"] == "torch.float32"


def test_the_code_is_a_commit_and_whether_files_differ_from_it(tmp_path: Path) -> None:
    assert code_version(tmp_path) == ""
    git(tmp_path, "init", "--quiet")
    assert code_version(tmp_path) == ""  # nothing is committed yet
    (tmp_path / "idea.py").write_text("lr = 1\n")
    git(tmp_path, "add", "idea.py")
    git(tmp_path, "commit", "--quiet", "--message", "An idea")
    git(tmp_path, "tag", "v1")
    commit = git(tmp_path, "rev-parse", "HEAD")[:12]
    (tmp_path / "notes.txt").write_text("not tracked\n")
    assert code_version(tmp_path) == commit
    (tmp_path / "idea.py").write_text("lr = 2\n")
    assert code_version(tmp_path) == f"{commit}-dirty"


def test_in_words_it_is_said_where_the_machine_or_the_code_changed(tmp_path: Path) -> None:
    assert sessions_in_words(tmp_path) == ()
    header, here = "begun_utc,code,processor,device,precision,threads", "c0de,Z80,cpu,torch.float32"
    rows = (header, f"1,{here},1", f"2,{here},1", "3,,Z80,H100,torch.bfloat16,4")
    (tmp_path / SESSIONS).write_text("".join(f"{row}\n" for row in rows))
    assert sessions_in_words(tmp_path) == (
        "Z80, float32, 1 thread; code c0de",
        "Z80, H100, bfloat16, 4 threads; code not known",
    )


@pytest.mark.parametrize("left", [b"\xff" * 10_000 + b"\n1\n", b"a\n" + b"x" * 200_000 + b"\n"])
def test_a_file_of_something_else_is_left_out_of_the_words(left: bytes, tmp_path: Path) -> None:
    (tmp_path / SESSIONS).write_bytes(left)
    assert sessions_in_words(tmp_path) == ()
