"""Tables in Markdown, and their places in the documents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from reporting.statistics import has_spread, mean_interval


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown whose cells stand as they are given."""
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def in_points(difference: float, interval: tuple[float, float]) -> str:
    """A difference of two fractions with its interval, in points."""
    low, high = (_end(100 * end) for end in interval)
    return f"{100 * difference:+.1f} ({low} to {high})"


def mean_in_points(differences: NDArray[np.float64]) -> str:
    """The mean of differences of pairs `[n]`, fractions, in points, with its 95 % interval where there is one."""
    if not len(differences):
        return ""
    if not has_spread(differences):
        return f"{100 * differences.mean():+.1f}"
    return in_points(differences.mean(), mean_interval(differences))


def _end(points: float) -> str:
    """With two decimals where one would hide on which side of 0 or of 5 points it lies."""
    near = any(abs(abs(points) - bound) < 0.1 for bound in (0, 5))
    return f"{points:+.2f}" if near else f"{points:+.1f}"


def insert_tables(text: str, tables: dict[str, str]) -> str:
    """The document with every `<!-- table NAME -->` filled in.

    Raises:
        KeyError: a marker names a table that there is not.
    """

    def fill(match: re.Match[str]) -> str:
        return f"<!-- table {match[1]} -->\n\n{tables[match[1]]}\n\n<!-- end -->"

    return re.sub(r"<!-- table (\S+) -->.*?<!-- end -->", fill, text, flags=re.DOTALL)
