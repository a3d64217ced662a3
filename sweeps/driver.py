"""Works off the runs of a sweep: which are left, which end how."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from configs.errors import UsageError
from machine.console import say
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
        UsageError: the backend takes not one run.
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

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs = {run.name: run for run in runs}
        self._patience = {name: Patience(run) for name, run in self._runs.items()}

    def sort(self, ended: Mapping[str, str | None]) -> tuple[list[Run], dict[str, str]]:
        """Those to begin again; name -> why, of those that failed."""
        again: list[Run] = []
        failed: dict[str, str] = {}
        for name, why in ended.items():
            run = self._runs[name]
            if why is None or (isinstance(why, Lost) and run.state == "done"):
                continue
            if not isinstance(why, Lost):
                failed[name] = why
                continue
            enough = self._patience[name].after_a_kill()
            if enough is None:
                say(f"{name}: {why}; it is begun again")
                again.append(run)
            else:
                failed[name] = f"{why}, {enough}"
        return again, failed


def _refusal(run: Run, backend: Backend) -> str | None:
    """Why the backend does not take the run; `None` if it does."""
    try:
        backend.submit(run)
    except UsageError as error:
        return str(error)
    return None


def _work_off(
    runs: Sequence[Run],
    backend: Backend,
    jobs: int,
    signals: StopSignals,
    show: Callable[[Collection[str]], None],
    failed: dict[str, str],
) -> None:
    waiting = deque(run for run in runs if run.state != "done")
    under_way, full, taken, losses = 0, False, False, _Losses(waiting)
    try:
        while waiting or under_way:
            signals.check()
            while waiting and under_way < jobs and not full:
                refusal = _refusal(waiting[0], backend)
                if refusal is None:
                    waiting.popleft()
                    under_way, taken = under_way + 1, True
                    continue
                signals.check()  # a Ctrl-C also reaches sbatch
                if not taken:
                    raise UsageError(refusal)
                full = bool(under_way)  # next to others, a limit: there may be room later
                if not full:
                    failed[waiting.popleft().name] = refusal
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
