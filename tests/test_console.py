"""Log records and errors as a user sees them: one line on stderr."""

from __future__ import annotations

import io
import logging
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest
import torch
from conftest import ROOT
from tqdm import tqdm

from configs import RunError, UsageError, exit_on_error
from configs.errors import one_line
from machine.console import configure_logging, say


@pytest.fixture(autouse=True)
def _fresh_logging() -> Iterator[None]:
    """As at the start of a process; what pytest listens with stays out of it."""
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {}
    for name in ("agent", "dendrites", "envs", "machine", "reporting", "training"):
        levels[name] = logging.getLogger(name).level
        logging.getLogger(name).setLevel(logging.NOTSET)
    root.handlers = []
    yield
    root.handlers = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize(
    ("level", "line"),
    [
        (logging.INFO, "note: 3 things\n"),
        (logging.WARNING, "warning: 3 things\n"),
        (logging.ERROR, "error: 3 things\n"),
        (logging.DEBUG, ""),
    ],
)
def test_a_record_is_one_line_that_begins_with_its_level(
    level: int, line: str, capsys: pytest.CaptureFixture
) -> None:
    configure_logging()
    logging.getLogger("training.metrics.rows").log(level, "%d things", 3)
    assert capsys.readouterr() == ("", line)


def test_a_second_call_changes_nothing(capsys: pytest.CaptureFixture) -> None:
    configure_logging()
    configure_logging()
    logging.getLogger("envs").warning("once")
    assert capsys.readouterr().err == "warning: once\n"


def test_other_libraries_are_heard_from_warnings_on(capsys: pytest.CaptureFixture) -> None:
    configure_logging()
    logging.getLogger("somebody.else").info("chatter")
    logging.getLogger("somebody.else").warning("trouble")
    assert capsys.readouterr().err == "warning: trouble\n"


def test_without_the_commands_the_library_shows_no_notes(capsys: pytest.CaptureFixture) -> None:
    """Who imports our packages decides what is shown."""
    logging.getLogger("training.metrics.rows").info("a note")
    assert capsys.readouterr().err == ""


def test_a_record_does_not_tear_a_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    configure_logging()
    with tqdm(total=3, file=screen) as bar:
        bar.update(1)
        logging.getLogger("envs").warning("a worker died")
        bar.update(1)
    lines = screen.getvalue().replace("\r", "\n").splitlines()
    assert "warning: a worker died" in [line.strip() for line in lines]


def test_a_terminal_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """No signal says so to a job in the background whose shell has ended."""
    ours, terminal = pty.openpty()
    with open(terminal, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        say("somebody reads this")
        assert os.read(ours, 100) == b"somebody reads this\r\n"
        os.close(ours)
        with pytest.raises(OSError, match="Input/output error"):
            os.write(terminal, b"nobody does")
        say("nobody reads this")
        monkeypatch.undo()
        with suppress(OSError):
            stdout.close()


def test_who_stops_reading_gets_no_error_line() -> None:
    """As `head` does, from a pipe."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "train_mt10.py", "--help"]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_an_output_that_is_full_is_an_error() -> None:
    command = [sys.executable, "train_mt10.py", "--help"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: No space left on device\n"


@pytest.mark.parametrize("kind", [UsageError, RunError])
def test_an_error_is_one_line_and_exit_code_2(
    kind: type[Exception], capsys: pytest.CaptureFixture
) -> None:
    def fail() -> int:
        raise kind("agent.actor_lr: too\n  large")

    with pytest.raises(SystemExit) as left:
        exit_on_error(fail)
    assert left.value.code == 2
    assert capsys.readouterr() == ("", "error: agent.actor_lr: too large\n")


def test_the_systems_errors_are_lines_too(capsys: pytest.CaptureFixture) -> None:
    def no_such_file() -> int:
        return len(open("/nowhere/at/all").read())

    def no_memory() -> int:
        raise MemoryError

    def no_memory_for_a_tensor() -> int:
        return len(torch.empty(10**17))

    for command, line in (
        (no_such_file, "error: /nowhere/at/all: No such file or directory\n"),
        (no_memory, "error: out of memory; close other programs, or use smaller settings\n"),
        (
            no_memory_for_a_tensor,
            "error: out of memory; close other programs, or use smaller settings\n",
        ),
    ):
        with pytest.raises(SystemExit) as left:
            exit_on_error(command)
        assert left.value.code == 2
        assert capsys.readouterr().err == line


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    """Only what a user can mend is a line."""
    with pytest.raises(ZeroDivisionError):
        exit_on_error(lambda: 1 // 0)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        exit_on_error(lambda: len(torch.ones(2, 3) @ torch.ones(2, 3)))


@pytest.mark.parametrize("code", [0, 130])
def test_the_exit_code_is_the_commands(code: int) -> None:
    with pytest.raises(SystemExit) as left:
        exit_on_error(lambda: code)
    assert left.value.code == code


def test_a_line_has_no_end_of_line_and_no_escape_sequence_and_an_end() -> None:
    assert one_line("a\n  b\tc") == "a b c"
    assert one_line("\x1b[31mred\x07") == "?[31mred?"
    assert one_line("\u202eevil") == "?evil"
    assert len(one_line("x" * 5000)) < 1000
    assert one_line("Größe: 3 µm") == "Größe: 3 µm"
