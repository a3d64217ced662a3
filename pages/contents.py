"""What stands on the page: sections of figures, each with the table behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from analysis.measure import Analysis
from configs.schema import Config
from reporting.report import Report


@dataclass(frozen=True)
class EvaluatedRun:
    """An evaluated policy, and what there is about its training.

    Attributes:
        name: of its folder.
        report: of this evaluation.
        config: of the run.
        trained_with: package -> version.
        trained_on: machine and code, in words, in order; empty where nobody knows.
        metrics: metrics.csv of the run, if it is there.
        analysis: of its hidden units, if they were analysed.
        films: an MP4 of each task, if any were made; the file's name is the task's.
    """

    name: str
    report: Report
    config: Config
    trained_with: dict[str, str]
    trained_on: tuple[str, ...] = ()
    metrics: Path | None = None
    analysis: Analysis | None = None
    films: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Table:
    """Cells as they are shown; the first column names the rows."""

    headers: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Picture:
    """A figure, in words, and in numbers.

    Attributes:
        figure: drawn.
        text: what is to be seen, for those who can't see it.
        caption: below it.
        table: the numbers behind it.
    """

    figure: Figure
    text: str
    caption: str
    table: Table


@dataclass(frozen=True)
class Film:
    """A video of one episode."""

    title: str
    path: Path


@dataclass(frozen=True)
class Section:
    """A part of the page, in this order: text, table, pictures, films, and text as typed."""

    title: str
    text: str = ""
    table: Table | None = None
    pictures: list[Picture] = field(default_factory=list)
    films: list[Film] = field(default_factory=list)
    typed: str = ""
