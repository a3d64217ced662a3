"""Meta-World as one vector environment: N copies of T tasks, spread over worker processes."""

from __future__ import annotations

import logging
import multiprocessing
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray

from envs.errors import NonFiniteError
from envs.faults import FAULTS
from envs.goals import GoalLists
from envs.saved_episodes import require_state
from envs.sizes import ACTION_SIZE
from envs.workers.pool import WorkerPool
from envs.workers.process import RESET, RESTORE, STEP, EnvSpec
from envs.workers.shared_arrays import SharedArrays
from machine.cores import usable_cores

_log = logging.getLogger(__name__)


class Step(NamedTuple):
    """What one step of all environments gives; arrays are copies, `[T, N, ...]`, task-major."""

    obs: NDArray[np.float32]  # [T, N, 39] to act on next: a reset observation where done
    next_obs: NDArray[np.float32]  # [T, N, 39] true successor, also at the end of an episode
    reward: NDArray[np.float32]  # [T, N]
    terminated: NDArray[np.bool_]  # [T, N]
    truncated: NDArray[np.bool_]  # [T, N]
    success: NDArray[np.bool_]  # [T, N]
    lost: NDArray[np.bool_]  # [T, N] faulty: not to be learned from; truncated, next_obs as before
    worker_restarts: int  # workers that were replaced during this step

    @property
    def done(self) -> NDArray[np.bool_]:
        """Where an episode ended with this step, `[T, N]`."""
        return self.terminated | self.truncated


class MetaWorldVectorEnv:
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
        seed: gives every copy its own goal generator; `None` where `reset` is always given goals.
        workers: processes, or `auto` for one per CPU core; never more than environments.
        start_method: of the processes: spawn or fork.
        autoreset: reset an environment in the step that ends its episode.
        stagger: give the first episode of copy n the length `horizon * (n + 1) / N`.
        step_timeout_s: longest wait for a worker's answer [s].
        max_worker_restarts: workers that are replaced when they die, raise or do not answer.

    Raises:
        WorkerError: from any method, once more workers have failed than that.
        ValueError: autoreset needs a seed, to draw the goals.
    """

    def __init__(
        self,
        tasks: tuple[str, ...],
        goal_lists: GoalLists,
        *,
        num_goals: int = 50,
        copies: int = 1,
        horizon: int = 500,
        seed: SeedSequence | None = None,
        workers: int | Literal["auto"] = "auto",
        start_method: str = "spawn",
        autoreset: bool = True,
        stagger: bool = False,
        step_timeout_s: float = 60.0,
        max_worker_restarts: int = 20,
    ) -> None:
        if autoreset and seed is None:
            raise ValueError("autoreset draws goals, which takes a seed")
        self.tasks, self.copies, self.horizon, self.num_goals = tasks, copies, horizon, num_goals
        self.shape = (len(tasks), copies)
        self.num_envs = len(tasks) * copies
        self._stagger, self._autoreset = stagger, autoreset
        self._seeds = [] if seed is None else seed.spawn(self.num_envs)
        self._goal_generators: list[Generator] = [np.random.default_rng(s) for s in self._seeds]
        self._logged: set[tuple[str, int]] = set()  # task and fault: each is logged once

        context = multiprocessing.get_context(start_method)
        shared = SharedArrays(context, self.num_envs, horizon)
        self._arrays = shared.views()
        count = min(usable_cores() if workers == "auto" else workers, self.num_envs)
        specs = [
            EnvSpec(row=row, task=tasks[row // copies], goals=goal_lists[tasks[row // copies]])
            for row in range(self.num_envs)
        ]
        self._pool = WorkerPool(
            context,
            shared,
            self._arrays,
            [specs[index::count] for index in range(count)],
            autoreset=autoreset,
            timeout_s=step_timeout_s,
            max_restarts=max_worker_restarts,
            describe=self.describe,
        )

    def reset(self, goals: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Start new episodes everywhere and return their first observations `[T, N, 39]`.

        Args:
            goals: goal index for each environment `[T, N]`; `None` draws them at random.

        Raises:
            ValueError: no goals, and no seed to draw them with.
        """
        if goals is None and not self._goal_generators:
            raise ValueError("environments without a seed take their goals from the caller")
        arrays = self._arrays
        arrays.time_limit[:] = self.horizon
        if self._stagger:
            fraction = (np.arange(self.num_envs) % self.copies + 1) / self.copies
            arrays.time_limit[:] = np.maximum(1, np.rint(self.horizon * fraction))
        for row in range(self.num_envs):
            arrays.goal[row] = self._draw_goal(row) if goals is None else goals.flat[row]
            arrays.next_goal[row] = arrays.goal[row] if goals is not None else self._draw_goal(row)
        self._pool.ask(RESET)
        self._pool.wait()
        return self._task_major(arrays.obs)

    def step_async(self, actions: NDArray[np.float32]) -> None:
        """Send actions `[T, N, 4]` and return while the workers simulate.

        Raises:
            NonFiniteError: an action is NaN or infinite; nothing is sent.
        """
        flat = actions.reshape(self.num_envs, ACTION_SIZE)
        if not np.isfinite(flat).all():
            row = int(np.argmin(np.isfinite(flat).all(axis=1)))
            raise NonFiniteError(f"the action for {self.describe(row)} is not finite: {flat[row]}")
        self._arrays.action[:] = flat
        self._arrays.action_log[np.arange(self.num_envs), self._arrays.elapsed] = flat
        self._pool.ask(STEP)

    def step_wait(self) -> Step:
        """The results of the last `step_async`."""
        restarts = self._pool.restarts
        self._pool.wait()
        arrays = self._arrays
        names = ("obs", "next_obs", "reward", "terminated", "truncated", "success")
        copies = {name: self._task_major(getattr(arrays, name)) for name in names}
        step = Step(
            **copies,
            lost=self._task_major(arrays.fault > 0),
            worker_restarts=self._pool.restarts - restarts,
        )
        for row in np.flatnonzero(arrays.fault).tolist():
            self._log_fault(row, int(arrays.fault[row]))
        for row in np.flatnonzero(step.done).tolist():
            arrays.time_limit[row] = self.horizon
            if self._goal_generators:
                arrays.next_goal[row] = self._draw_goal(row)
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
            "action_log": arrays.action_log[:, :longest].copy(),
            "generators": [g.bit_generator.state for g in self._goal_generators],
        }

    def load_state_dict(self, state: dict[str, Any]) -> NDArray[np.float32]:
        """Rebuild the running episodes by repeating their actions; returns the observations.

        Our resets depend on the goal only, not on earlier episodes, and MuJoCo is deterministic, so
        the simulators end up in the same state bit for bit. With another MuJoCo or processor they
        may not; the episodes then go on from where they arrive.

        Raises:
            ValueError: not such a state of as many environments.
        """
        arrays = self._arrays
        require_state(state, arrays, self.num_goals)
        for name in ("goal", "next_goal", "time_limit", "elapsed"):
            getattr(arrays, name)[:] = state[name]
        arrays.action_log[:, : state["action_log"].shape[1]] = state["action_log"]
        for generator, own in zip(self._goal_generators, state["generators"], strict=True):
            generator.bit_generator.state = own
        self._pool.ask(RESTORE)
        self._pool.wait()
        difference = np.abs(arrays.obs - state["obs"]).max()
        if difference > 0:
            _log.info(
                "the simulators arrive at other observations than the saved ones (by up to %.1g), "
                "as on another machine; not bit for bit the same run any more",
                difference,
            )
        return self._task_major(arrays.obs)

    @property
    def state_bytes(self) -> int:
        """The most that the arrays of `state_dict()` can take."""
        arrays = self._arrays
        return arrays.action_log.nbytes + arrays.obs.nbytes + 4 * arrays.goal.nbytes

    def describe(self, row: int) -> str:
        """Task, copy and seed of environment `row`, for messages; evaluations have no seed."""
        seed = f", seed {_name(self._seeds[row])}" if self._seeds else ""
        return f"{self.tasks[row // self.copies]} (copy {row % self.copies}{seed})"

    def close(self) -> None:
        """Stop the workers; safe to call twice."""
        self._pool.close()

    def __enter__(self) -> MetaWorldVectorEnv:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _draw_goal(self, row: int) -> int:
        return int(self._goal_generators[row].integers(self.num_goals))

    def _task_major(self, flat: NDArray[Any]) -> NDArray[Any]:
        return flat.reshape(*self.shape, *flat.shape[1:]).copy()

    def _log_fault(self, row: int, fault: int) -> None:
        """Log a fault, the first time that it happens in a task."""
        task = self.tasks[row // self.copies]
        if (task, fault) not in self._logged:
            self._logged.add((task, fault))
            what = (
                "the step is not learned from and its episode is dropped"
                if self._autoreset
                else "its episode stands still from here on"
            )
            _log.warning("%s: %s; %s (said once)", self.describe(row), FAULTS[fault], what)


def _name(seed: SeedSequence) -> str:
    """Entropy and place in the tree of seeds: `7[0, 3]`."""
    return f"{seed.entropy}{list(seed.spawn_key)}"
