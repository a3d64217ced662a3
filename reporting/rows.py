"""Rows of a CSV file of a run that may be training at this moment."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path


def read_rows(path: Path) -> list[dict[str, str]]:
    """The whole lines of a CSV file that may be written to at this moment; none without the file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    whole = text[: text.rfind("\n") + 1]
    return list(csv.DictReader(StringIO(whole)))
