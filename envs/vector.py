"""MT10 as one vector environment: N copies of T tasks, spread over worker processes."""

from __future__ import annotations

import multiprocessing
import weakref
from multiprocessing.connection import Connection, wait
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray

from configs.errors import UsageError
from envs.goals import ACTION_SIZE, GoalLists
from envs.shared_memory import SharedArrays
from envs.worker import DONE, RESET, RESTORE, STEP, EnvSpec
from envs.worker_handle import WorkerHandle, children_skip_main, stop_all, usable_cores

_START_TIMEOUT_S = 120.0


class WorkerError(UsageError):
    """A worker process died, raised or did not answer; the message names its tasks and seeds."""


class Step(NamedTuple):
    """What one step of all environments gives; arrays are copies, `[T, N, ...]`, task-major."""

    obs: NDArray[np.float32]  # [T, N, 39] to act on next: a reset observation where done
    next_obs: NDArray[np.float32]  # [T, N, 39] true successor, also at the end of an episode
    reward: NDArray[np.float32]  # [T, N]
    terminated: NDArray[np.bool_]  # [T, N]
    truncated: NDArray[np.bool_]  # [T, N]
    success: NDArray[np.bool_]  # [T, N]

    @property
    def done(self) -> NDArray[np.bool_]:
        """Where an episode ended with this step, `[T, N]`."""
        return self.terminated | self.truncated


class MT10VectorEnv:
    """N copies of each task, stepped together by worker processes, in task-major order.

    Environments are dealt to the workers in turn, so that every worker has its share of slow tasks.
    Results do not depend on the number of workers. Goals are drawn in the trainer, from one
    generator per copy.

    Args:
        tasks: task names, in one-hot order.
        goal_lists: from `make_goal_lists`.
        num_goals: draw goals from the first so many of each list.
        copies: N.
        horizon: episode length [environment steps].
        seed: gives every copy its own goal generator.
        workers: processes, or `auto` for one per CPU core; never more than environments.
        start_method: of the processes: spawn, fork or forkserver.
        autoreset: reset an environment in the step that ends its episode.
        stagger: give the first episode of copy n the length `horizon * (n + 1) / N`.
        step_timeout_s: longest wait for a worker's answer [s].

    Raises:
        WorkerError: from any method, if a worker died, raised or did not answer in time.
    """

    def __init__(
        self,
        tasks: tuple[str, ...],
        goal_lists: GoalLists,
        *,
        num_goals: int = 50,
        copies: int = 1,
        horizon: int = 500,
        seed: SeedSequence,
        workers: int | Literal["auto"] = "auto",
        start_method: str = "spawn",
        autoreset: bool = True,
        stagger: bool = False,
        step_timeout_s: float = 60.0,
    ) -> None:
        self.tasks, self.copies, self.horizon, self.num_goals = tasks, copies, horizon, num_goals
        self.shape = (len(tasks), copies)
        self.num_envs = len(tasks) * copies
        self._stagger, self._timeout_s = stagger, step_timeout_s
        self._seeds = seed.spawn(self.num_envs)
        self._goal_generators: list[Generator] = [np.random.default_rng(s) for s in self._seeds]
        self._action_log = np.zeros((horizon, self.num_envs, ACTION_SIZE), np.float32)
        self._workers: list[WorkerHandle] = []
        weakref.finalize(self, stop_all, self._workers)  # also at interpreter exit

        context = multiprocessing.get_context(start_method)
        shared = SharedArrays(context, self.num_envs)
        self._arrays = shared.views()
        count = min(usable_cores() if workers == "auto" else workers, self.num_envs)
        specs = [
            EnvSpec(row=row, task=tasks[row // copies], goals=goal_lists[tasks[row // copies]])
            for row in range(self.num_envs)
        ]
        try:
            with children_skip_main():
                for index in range(count):
                    share = specs[index::count]
                    self._workers.append(WorkerHandle(context, index, shared, share, autoreset))
            self._collect(_START_TIMEOUT_S)
        except BaseException:
            self.close()
            raise

    def reset(self, goals: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Start new episodes everywhere and return their first observations `[T, N, 39]`.

        Args:
            goals: goal index for each environment `[T, N]`; `None` draws them at random.
        """
        arrays = self._arrays
        arrays.time_limit[:] = self.horizon
        if self._stagger:
            fraction = (np.arange(self.num_envs) % self.copies + 1) / self.copies
            arrays.time_limit[:] = np.maximum(1, np.rint(self.horizon * fraction))
        for row in range(self.num_envs):
            arrays.goal[row] = self._draw_goal(row) if goals is None else goals.flat[row]
            arrays.next_goal[row] = arrays.goal[row] if goals is not None else self._draw_goal(row)
        self._command(RESET)
        self._collect(self._timeout_s)
        return self._task_major(arrays.obs)

    def step_async(self, actions: NDArray[np.float32]) -> None:
        """Send actions `[T, N, 4]` and return while the workers simulate."""
        flat = actions.reshape(self.num_envs, ACTION_SIZE)
        self._arrays.action[:] = flat
        self._action_log[self._arrays.elapsed, np.arange(self.num_envs)] = flat
        self._command(STEP)

    def step_wait(self) -> Step:
        """The results of the last `step_async`."""
        self._collect(self._timeout_s)
        arrays = self._arrays
        step = Step(
            *(
                self._task_major(getattr(arrays, name))
                for name in ("obs", "next_obs", "reward", "terminated", "truncated", "success")
            )
        )
        for row in np.flatnonzero(step.done).tolist():
            arrays.next_goal[row] = self._draw_goal(row)
            arrays.time_limit[row] = self.horizon
        return step

    def state_dict(self) -> dict[str, Any]:
        """Goals, generators and actions of the running episodes: enough to rebuild them exactly."""
        arrays = self._arrays
        longest = int(arrays.elapsed.max())
        return {
            "goal": arrays.goal.copy(),
            "next_goal": arrays.next_goal.copy(),
            "time_limit": arrays.time_limit.copy(),
            "elapsed": arrays.elapsed.copy(),
            "obs": arrays.obs.copy(),
            "action_log": self._action_log[:longest].copy(),
            "generators": [g.bit_generator.state for g in self._goal_generators],
        }

    def load_state_dict(self, state: dict[str, Any]) -> NDArray[np.float32]:
        """Rebuild the running episodes by repeating their actions; returns the observations.

        Meta-World's reset depends on the goal only, not on earlier episodes, and MuJoCo is
        deterministic, so the simulators end up in the same state bit for bit.

        Raises:
            WorkerError: the simulators arrive at other observations (another MuJoCo or CPU).
        """
        arrays = self._arrays
        for name in ("goal", "next_goal", "time_limit", "elapsed"):
            getattr(arrays, name)[:] = state[name]
        elapsed = state["elapsed"]
        self._action_log[: len(state["action_log"])] = state["action_log"]
        for generator, own in zip(self._goal_generators, state["generators"], strict=True):
            generator.bit_generator.state = own
        self._command(RESTORE)
        for worker in self._workers:
            rows = [spec.row for spec in worker.specs]
            worker.pipe.send([self._action_log[: elapsed[row], row] for row in rows])
        self._collect(_START_TIMEOUT_S)
        if not np.array_equal(arrays.obs, state["obs"]):
            raise WorkerError("the simulator does not reproduce the checkpoint's running episodes")
        return self._task_major(arrays.obs)

    def describe(self, row: int) -> str:
        """Task, copy and seed of environment `row`, for error messages."""
        seed = self._seeds[row]
        return (
            f"{self.tasks[row // self.copies]} (copy {row % self.copies}, "
            f"seed {seed.entropy}{list(seed.spawn_key)})"
        )

    def close(self) -> None:
        """Stop the workers; safe to call twice."""
        stop_all(self._workers)

    def __enter__(self) -> MT10VectorEnv:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _draw_goal(self, row: int) -> int:
        return int(self._goal_generators[row].integers(self.num_goals))

    def _task_major(self, flat: NDArray[Any]) -> NDArray[Any]:
        return flat.reshape(*self.shape, *flat.shape[1:]).copy()

    def _command(self, command: bytes) -> None:
        for worker in self._workers:
            try:
                worker.pipe.send_bytes(command)
            except (BrokenPipeError, ConnectionResetError):
                self._fail(worker, f"died (exit code {worker.exit_code()})")

    def _collect(self, timeout_s: float) -> None:
        """Wait for every worker's answer."""
        waiting = {worker.pipe: worker for worker in self._workers}
        while waiting:
            ready = wait(list(waiting), timeout=timeout_s)
            if not ready:
                worker = next(iter(waiting.values()))
                self._fail(worker, f"did not answer for {timeout_s:g} s")
            for pipe in ready:
                worker = waiting.pop(cast(Connection, pipe))
                try:
                    answer = worker.pipe.recv_bytes()
                except (EOFError, ConnectionResetError):
                    self._fail(worker, f"died (exit code {worker.exit_code()})")
                if answer != DONE:
                    self._fail(worker, f"raised: {answer[1:].decode()}")

    def _fail(self, worker: WorkerHandle, what: str) -> None:
        theirs = ", ".join(self.describe(spec.row) for spec in worker.specs)
        self.close()
        raise WorkerError(f"simulator worker {worker.index} {what} (its environments: {theirs})")
