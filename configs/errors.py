"""The errors that a user is meant to see: one line, exit code 2, no traceback."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from difflib import get_close_matches

_LONGEST = 800


class UsageError(Exception):
    """A flag, a setting or a file is wrong. The message says which, and how to fix it."""


class RunError(Exception):
    """A run can't go on: a simulator worker died too often, a number is NaN. The message says where."""


def did_you_mean(word: str, choices: list[str]) -> str:
    """` (did you mean 'x'?)` for the nearest choice, else the list of choices."""
    close = get_close_matches(word, choices, n=1)
    if close:
        return f" (did you mean '{close[0]}'?)"
    return f" (choose from: {', '.join(sorted(choices))})"


def one_line(message: str) -> str:
    """The message without line ends and escape sequences, which may come from a stranger's file."""
    line = " ".join(message.split())
    printable = "".join(letter if letter.isprintable() else "?" for letter in line)
    return printable if len(printable) <= _LONGEST else printable[:_LONGEST] + " ..."


def exit_on_error(main: Callable[[], int]) -> None:
    """Leave the process with the exit code of a command's `main`; 2 after an error line.

    130, as shells have it, after a Ctrl-C that nobody else has taken care of; 141 where nobody reads stdout.
    """
    try:
        code = main()
        sys.stdout.flush()
        sys.exit(code)
    except (UsageError, RunError) as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
    except BrokenPipeError:  # of stdout: what reads it, `head` say, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still in the buffer
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:  # disk full, folder gone or read-only
        where = f"{error.filename}: " if error.filename is not None else ""
        print(f"error: {one_line(f'{where}{error.strerror or error}')}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped at once, without saving", file=sys.stderr)
        sys.exit(130)
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or _is_out_of_memory(error)):
            raise
        print(
            "error: out of memory; close other programs, or use smaller settings", file=sys.stderr
        )
    sys.exit(2)


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Whether it is torch's, of the main memory or of a GPU's, which have no common class."""
    return any(words in str(error) for words in ("can't allocate memory", "out of memory"))
