"""What the trainer can ask of a worker, as it goes through the pipe."""

from __future__ import annotations

import struct
from typing import NamedTuple

PLAY, RESET, RESTORE, QUIT = b"s", b"r", b"p", b"q"
DONE, FAILED = b".", b"!"

_FORMAT = struct.Struct("<cii?")


class Command(NamedTuple):
    """One command; the numbers are of `PLAY` only."""

    kind: bytes
    first: int = 0
    """Step of the chunk to begin with."""
    stop: int = 0
    """Step of the chunk to stop before."""
    given: bool = False
    """Actions are those in the shared arrays; else the player chooses them."""

    def encode(self) -> bytes:
        """As the worker reads it."""
        return _FORMAT.pack(*self)


def decode(message: bytes) -> Command:
    """The command of a message."""
    return Command(*_FORMAT.unpack(message))
