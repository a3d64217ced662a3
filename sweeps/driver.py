"""Works off the runs of a sweep: which are left, which end how."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence

from configs.errors import UsageError
from sweeps.backends import Backend
from sweeps.execution import Lost, Patience, stop_leftover
from sweeps.runs import Run
from training.stop_signals import StopRequested, StopSignals

_POLL_S = 0.5


def work_off(
    runs: Sequence[Run],
    backend: Backend,
    jobs: int,
    signals: StopSignals,
    show: Callable[[Collection[str]], None],
) -> tuple[dict[str, str], bool]:
    """Bring every run to its end.

    Args:
        runs: of the sweep; those that are done are left alone.
        backend: is stopped at the end, however it comes.
        jobs: at most so many are submitted at a time.
        signals: ask to stop.
        show: called about twice a second with the names of those that have failed so far.

    Returns:
        name -> why, of the runs that failed; whether a signal has come before all had ended, and the runs have saved.

    Raises:
        UsageError: the backend takes no run at all.
    """
    failed: dict[str, str] = {}
    try:
        _work_off(runs, backend, jobs, signals, show, failed)
    except StopRequested:
        for run in runs:  # those whose turn had not come here
            stop_leftover(run)
        return failed, True
    return failed, False


class _Losses:
    """Runs whose jobs were lost, which are begun again as long as they get on."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = {run.name: run for run in runs}
        self._patience = {run.name: Patience(run) for run in runs}

    def sort(self, ended: Mapping[str, str | None]) -> tuple[list[Run], dict[str, str]]:
        """Those to begin again; name -> why, of those that failed."""
        again: list[Run] = []
        failed: dict[str, str] = {}
        for name, why in ended.items():
            patience = self._patience[name]
            if not isinstance(why, Lost):
                failed.update({} if why is None else {name: why})
            elif patience.after_a_kill():
                again.append(self._runs[name])
            else:
                failed[name] = f"{why}; {patience.fruitless + 1} times without getting on"
        return again, failed


def _submit(run: Run, backend: Backend, alone: bool) -> bool:
    """Whether the backend took the run. Next to others, a refusal is a limit: there may be room later."""
    try:
        backend.submit(run)
    except UsageError:
        if alone:
            raise
        return False
    return True


def _work_off(
    runs: Sequence[Run],
    backend: Backend,
    jobs: int,
    signals: StopSignals,
    show: Callable[[Collection[str]], None],
    failed: dict[str, str],
) -> None:
    waiting = deque(run for run in runs if run.state != "done")
    under_way, full, losses = 0, False, _Losses(runs)
    try:
        while waiting or under_way:
            signals.check()
            while waiting and under_way < jobs and not full:
                full = not _submit(waiting[0], backend, alone=not under_way)
                if not full:
                    waiting.popleft()
                    under_way += 1
            ended = backend.finished()
            under_way -= len(ended)
            full = full and not ended
            again, wrong = losses.sort(ended)
            waiting.extendleft(again)
            failed.update(wrong)
            show(failed)
            if not ended:
                time.sleep(_POLL_S)
    finally:
        backend.stop()
