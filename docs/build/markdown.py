"""Tables in Markdown, and their places in the documents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tabulate import tabulate


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown whose cells stand as they are given."""
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def insert_tables(text: str, tables: dict[str, str]) -> str:
    """The document with every `<!-- table NAME -->` filled in.

    Raises:
        KeyError: a marker names a table that there is not.
    """

    def fill(match: re.Match[str]) -> str:
        return f"<!-- table {match[1]} -->\n\n{tables[match[1]]}\n\n<!-- end -->"

    return re.sub(r"<!-- table (\S+) -->.*?<!-- end -->", fill, text, flags=re.DOTALL)
