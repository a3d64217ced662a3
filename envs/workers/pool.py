"""The workers of a vector environment: asks all, waits for all, replaces those that fail."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import NoReturn, Protocol

from numpy.typing import NDArray

from envs.errors import WorkerError
from envs.faults import WORKER_LOST
from envs.workers.commands import PLAY, RESET, RESTORE, Command
from envs.workers.share import EnvSpec
from envs.workers.shared_arrays import RUNNING, Arrays

_log = logging.getLogger(__name__)
_START_TIMEOUT_S = 120.0
_LONGEST_STEP_S = 0.01  # of a simulator; usually a thousandth
_MOST_FAILURES = 2  # of workers in one place at one command
_NAMED = 4


class Worker(Protocol):
    """The trainer's side of a worker."""

    index: int
    specs: list[EnvSpec]
    failures: int
    """How often workers in this place have failed at the present command."""

    def send(self, command: Command) -> None:
        """A command; a dead worker shows when its answer is waited for."""

    def problem(self, timeout_s: float) -> str | None:
        """Wait for an answer: `None`, or what went wrong. The first one says that it has started."""

    def stop(self) -> None:
        """Ask politely, then kill."""

    def kill(self) -> None:
        """End it, frozen or not, and leave nothing of it."""


class Workers(Protocol):
    """Starts workers: processes here (`handle.py`), or actors of Ray's (`ray_actors.py`)."""

    def start(self, index: int, specs: list[EnvSpec]) -> Worker:
        """A worker with its share of the environments; it is waited for at its first answer."""


def stop_all(workers: list[Worker]) -> None:
    """Stop the workers and empty the list."""
    while workers:
        workers.pop().stop()


class WorkerPool:
    """Workers, each with its share of the environments.

    They start while the trainer goes on, and are waited for at the first command.

    A worker that dies, raises or does not answer in time is replaced. The replacement repeats the
    actions of the running episodes, which brings its simulators bit for bit to where they were, and
    then does what was asked. If it fails at that again, its episodes are lost: they start anew on
    their next goals, and the step of their environments carries a fault. A worker that fails before it
    has started has no episodes to lose.

    Args:
        workers: starts them.
        arrays: the trainer's view of what they do.
        shares: the environments of each worker.
        autoreset: workers reset an environment in the step that ends its episode.
        timeout_s: longest wait for an answer [s].
        max_restarts: how many failed workers are replaced before one more is an error.
        describe: name of the environment in a row, for messages.

    Raises:
        WorkerError: from `ask` or `wait`: workers in one place failed three times at the start or at
            one command, or one more than `max_restarts` failed.
    """

    def __init__(
        self,
        workers: Workers,
        arrays: Arrays,
        shares: list[list[EnvSpec]],
        *,
        autoreset: bool,
        timeout_s: float,
        max_restarts: int,
        describe: Callable[[int], str],
    ) -> None:
        self.restarts = 0
        """Workers replaced so far."""
        self._start, self._arrays = workers.start, arrays
        self._autoreset, self._timeout_s, self._max_restarts = autoreset, timeout_s, max_restarts
        self._describe = describe
        self._command = Command(RESET)
        self._before: dict[str, NDArray] = {}
        self._workers: list[Worker] = []
        weakref.finalize(self, stop_all, self._workers)  # also at interpreter exit
        try:
            for index, specs in enumerate(shares):
                self._workers.append(self._start(index, specs))
        except BaseException:
            self.close()
            raise
        self._starting = True

    def ask(self, command: Command) -> None:
        """Send a command to every worker and return; the first one waits until they have started."""
        self._command = command
        if self._starting:
            self._wait_for_start()
        self._before = {name: getattr(self._arrays, name).copy() for name in RUNNING}
        for worker in self._workers:
            worker.failures = 0
            worker.send(command)

    def wait(self) -> None:
        """Wait until every worker, or its replacement, has done what it was asked."""
        for index in range(len(self._workers)):
            problem = self._workers[index].problem(self._longest_wait(self._command))
            while problem is not None:
                problem = self._do_anew(index, problem)

    def _wait_for_start(self) -> None:
        for index in range(len(self._workers)):
            problem = self._workers[index].problem(_START_TIMEOUT_S)
            while problem is not None:
                fresh = self._replace(index, problem, "it had not started")
                problem = fresh.problem(_START_TIMEOUT_S)
        self._starting = False

    @property
    def steps_asked(self) -> int:
        """Steps of the last command, if it was to play."""
        return self._command.stop

    def close(self) -> None:
        """Stop the workers; safe to call twice."""
        stop_all(self._workers)

    def _do_anew(self, index: int, problem: str) -> str | None:
        """Do a failed worker's part of the command with a new one; what went wrong, if so."""
        playing = self._command.kind == PLAY
        lose = self._workers[index].failures > 0 and playing and self._autoreset
        what = "its episodes are lost" if lose else "its episodes go on where they were"
        fresh = self._replace(index, problem, what)
        rows = [spec.row for spec in fresh.specs]
        self._rewind(rows)
        commands = [Command(RESTORE), self._command] if playing else [self._command]
        if lose:
            lost = [row for row in rows if self._arrays.plays[row]]
            self._lose_first_step(lost)
            commands = [Command(RESTORE), self._command._replace(first=1)]
        problem_now = fresh.problem(_START_TIMEOUT_S)
        for command in commands:
            if problem_now is None:
                fresh.send(command)
                problem_now = fresh.problem(max(self._longest_wait(command), _START_TIMEOUT_S))
            if command.kind == RESTORE and lose:
                self._arrays.obs_after[0, lost] = self._arrays.obs[lost]
        return problem_now

    def _replace(self, index: int, problem: str, what: str) -> Worker:
        """A new worker in the place of a failed one; `what` became of the episodes, for the log."""
        worker = self._workers[index]
        if self.restarts >= self._max_restarts or worker.failures >= _MOST_FAILURES:
            self._give_up(worker, problem)
        self.restarts += 1
        _log.warning("%s; restarted, %s", self._name(worker, problem), what)
        worker.kill()
        try:
            fresh = self._workers[index] = self._start(index, worker.specs)
        except OSError as error:  # no memory or processes left
            self._give_up(worker, f"{problem} and could not be replaced ({error})")
        fresh.failures = worker.failures + 1
        return fresh

    def _longest_wait(self, command: Command) -> float:
        """In seconds: the timeout of the settings, and more for many steps at once."""
        steps = (command.stop - command.first - 1) * len(self._arrays.goal)
        if command.kind == RESTORE:
            steps = int(self._before["elapsed"].sum())
        return self._timeout_s + _LONGEST_STEP_S * max(0, steps)

    def _rewind(self, rows: list[int] | slice) -> None:
        """What the workers write to, as it was when the command was given."""
        for name, values in self._before.items():
            getattr(self._arrays, name)[rows] = values[rows]

    def _lose_first_step(self, rows: list[int]) -> None:
        """Make the first step of the chunk one that ends the episodes and teaches nothing.

        The next episodes are restored from their beginning.
        """
        arrays = self._arrays
        if not self._command.given:
            arrays.action[0, rows] = 0
        arrays.next_obs[0, rows] = self._before["obs"][rows]
        arrays.reward[0, rows] = 0
        arrays.success[0, rows] = arrays.terminated[0, rows] = False
        arrays.truncated[0, rows] = True
        arrays.fault[0, rows] = WORKER_LOST
        arrays.goal[rows] = arrays.next_goals[rows, 0]
        arrays.goals_used[rows] = 1
        arrays.time_limit[rows] = arrays.action_log.shape[1]
        arrays.memory[rows] = arrays.elapsed[rows] = 0

    def _name(self, worker: Worker, problem: str) -> str:
        theirs = [self._describe(spec.row) for spec in worker.specs]
        more = f" and {len(theirs) - _NAMED} more" if len(theirs) > _NAMED else ""
        names = ", ".join(theirs[:_NAMED]) + more
        return f"simulator worker {worker.index} {problem} (its environments: {names})"

    def _give_up(self, worker: Worker, problem: str) -> NoReturn:
        self.close()  # first: workers that are not done yet would go on writing
        self._rewind(slice(None))  # so that a checkpoint can still be written
        raise WorkerError(f"{self._name(worker, problem)}; {self.restarts} were restarted before")
