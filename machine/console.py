"""How log records look on the console: one line, on stderr, that begins with its level."""

from __future__ import annotations

import logging
import sys

from configs.errors import one_line

_WORDS = {logging.INFO: "note", logging.WARNING: "warning", logging.ERROR: "error"}


class _ConsoleHandler(logging.Handler):
    """Writes to what `sys.stderr` is at that moment; tqdm's bar is redrawn below the line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        word = _WORDS.get(record.levelno, record.levelname.lower())
        try:
            line = f"{word}: {one_line(record.getMessage())}"
            tqdm = sys.modules.get("tqdm")
            if tqdm is None:
                print(line, file=sys.stderr, flush=True)
            else:
                tqdm.tqdm.write(line, file=sys.stderr)
        except Exception:  # nobody reads stderr any more: no reason to end a run
            self.handleError(record)


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
