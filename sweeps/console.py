"""What a sweep shows while it runs: a live table on a terminal, else a line where something has changed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from machine.console import say, write_to_files_only
from sweeps.runs import Run, progress_of

_OTHER_LINES = 3
"""Of a terminal: the table's head, the summary, and the one that the cursor is in."""


class SweepConsole:
    """To be entered; `show` is cheap enough to be called twice a second.

    Args:
        runs: of the sweep.
        console: to write to; by default stdout.
    """

    def __init__(self, runs: Sequence[Run], console: Console | None = None) -> None:
        self._runs, self._console = runs, console or Console()
        self._live: Live | None = None
        self._said = ""

    def __enter__(self) -> SweepConsole:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, failed: Collection[str]) -> None:
        """Show where the sweep stands.

        Args:
            failed: names of runs.
        """
        if self._live is not None:
            table = live_table(self._runs, failed, self._console.height - _OTHER_LINES)
            try:
                self._live.update(table, refresh=True)
            except OSError:  # the terminal is gone, without a signal
                write_to_files_only()
            return
        line = _summary_line(_states(self._runs, failed))
        if line != self._said:
            say(line)
            self._said = line


def live_table(runs: Sequence[Run], failed: Collection[str], most: int) -> Table:
    """A row for each run, as its folder has it now: arm, seed, how far, how well, how long still.

    Args:
        runs: of the sweep.
        failed: names of those that have.
        most: rows that there is room for. If there are more runs: those under way, then those that failed,
            those that come next, those done last.
    """
    states = _states(runs, failed)
    table = Table(box=None, caption=_summary_line(states), caption_justify="left")
    for column in ("arm", "seed", "state", "progress", "", "success", "left"):
        table.add_column(column, justify="right" if column == "seed" else "left")
    for index in _shown(states, most):
        run, state, progress = runs[index], states[index], progress_of(runs[index])
        fraction = 1.0 if state == "done" else progress.fraction
        under_way = state in ("begun", "running") and 0 < fraction < 1
        left = progress.hours * (1 - fraction) / fraction if under_way else None
        table.add_row(
            run.arm,
            f"{run.seed}",
            state,
            ProgressBar(total=1.0, completed=fraction, width=20),
            f"{fraction:.0%}",
            "" if progress.success is None else f"{progress.success:.1%}",
            "" if left is None else f"{60 * left:.0f} min",
        )
    return table


def _states(runs: Sequence[Run], failed: Collection[str]) -> list[str]:
    """Of each run; its folder is looked into once."""
    return ["failed" if run.name in failed else run.state for run in runs]


def _shown(states: Sequence[str], most: int) -> list[int]:
    """Indices of the runs that there is room for, in the order of the sweep."""
    ranks = ("running", "begun", "failed", "new", "done")
    newest_first = [-index if state == "done" else index for index, state in enumerate(states)]
    ranked = sorted(
        range(len(states)), key=lambda index: (ranks.index(states[index]), newest_first[index])
    )
    return sorted(ranked[: max(0, most)])


def _summary_line(states: Sequence[str]) -> str:
    """Where the sweep stands, in one line."""
    named = ("done", "running", "begun", "new", "failed")
    words = [f"{states.count(state)} {state}" for state in named if state in states]
    return f"{len(states)} runs: {', '.join(words)}"
