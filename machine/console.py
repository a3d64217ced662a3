"""What a run says on the console, whether or not anybody is left to read it.

A log record is one line, on stderr, that begins with its level.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
from contextlib import suppress
from typing import TextIO

from configs.errors import one_line

_WORDS = {logging.INFO: "note", logging.WARNING: "warning", logging.ERROR: "error"}


def say(text: str) -> None:
    """Print to stdout, above tqdm's bar.

    Where that is not possible any more, nothing is said from then on. A terminal can be gone without any signal:
    shells do not tell their background jobs. It is no reason to end a run.
    """
    try:
        _show(text, sys.stdout)
    except OSError:
        write_to_files_only()


def write_to_files_only() -> None:
    """Drop from now on what is printed to a terminal or a pipe: writing to one that was closed is an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        with suppress(OSError):  # it is closed
            if not stat.S_ISREG(os.fstat(output).st_mode):
                os.dup2(nowhere, output)
    os.close(nowhere)


def configure_logging() -> None:
    """Show this project's log records from INFO on, and other libraries' warnings.

    Commands and worker processes call it; libraries only log. A second call changes nothing.
    """
    root = logging.getLogger()
    if not any(isinstance(handler, _ConsoleHandler) for handler in root.handlers):
        root.addHandler(_ConsoleHandler())
    for room in (
        "agent",
        "dendrites",
        "envs",
        "machine",
        "permuted_mnist",
        "reporting",
        "training",
    ):
        logging.getLogger(room).setLevel(logging.INFO)


class _ConsoleHandler(logging.Handler):
    """Writes to what `sys.stderr` is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        word = _WORDS.get(record.levelno, record.levelname.lower())
        try:
            _show(f"{word}: {one_line(record.getMessage())}", sys.stderr)
        except Exception:  # nobody reads stderr any more: no reason to end a run
            self.handleError(record)


def _show(line: str, stream: TextIO) -> None:
    """A line; tqdm's bar, if there may be one, is redrawn below it."""
    tqdm = sys.modules.get("tqdm")
    if tqdm is None:
        print(line, file=stream, flush=True)
    else:
        tqdm.tqdm.write(line, file=stream)
