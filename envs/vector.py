"""Meta-World as one vector environment: N copies of T tasks, spread over worker processes."""

from __future__ import annotations

import logging
from typing import Any, Literal

import numpy as np
from numpy.random import SeedSequence
from numpy.typing import NDArray

from envs.errors import NonFiniteError
from envs.faults import FaultLog
from envs.goal_draws import GoalDraws
from envs.goals import GoalLists
from envs.players import Player
from envs.saved_episodes import require_state, saved_state, take_over
from envs.sizes import ACTION_SIZE
from envs.step import Step
from envs.workers.commands import PLAY, RESET, RESTORE, Command
from envs.workers.pool import WorkerPool
from envs.workers.share import EnvSpec
from envs.workers.shared_arrays import RUNNING
from envs.workers.start import StartMethod, make_workers
from machine.cores import usable_cores

_log = logging.getLogger(__name__)


class MetaWorldVectorEnv:
    """N copies of each task, stepped together by worker processes, in task-major order.

    The workers play chunks of steps: with the actions that they are given, or with those of a player
    that acts inside the workers, so that the trainer is free meanwhile. Environments are dealt to the
    workers in turn, so that every worker has its share of slow tasks. Results do not depend on the
    number of workers. Goals are drawn in the trainer, from one generator per copy.

    Args:
        tasks: task names, in one-hot order.
        goal_lists: from `make_goal_lists`.
        num_goals: draw goals from the first so many of each list.
        copies: N.
        horizon: episode length [environment steps].
        seed: gives every copy its own goal generator; `None` where `reset` is always given goals.
        player: acts in the workers; `None` where all actions are given.
        longest_chunk: K, the most vector steps that are played at once.
        workers: how many, or `auto` for one per CPU core; never more than environments.
        start_method: spawn or fork: processes on this machine; ray: actors of Ray's.
        ray_address: ray: of the cluster, HOST:PORT; `None` begins one on this machine.
        autoreset: reset an environment in the step that ends its episode.
        stagger: give the first episode of copy n the length `horizon * (n + 1) / N`.
        step_timeout_s: longest wait for a worker's answer [s].
        max_worker_restarts: workers that are replaced when they die, raise or do not answer.

    Raises:
        WorkerError: from any method, once more workers have failed than that.
        UsageError: Ray isn't installed, its cluster doesn't answer or is too small.
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
        player: Player | None = None,
        longest_chunk: int = 1,
        workers: int | Literal["auto"] = "auto",
        start_method: StartMethod = "spawn",
        ray_address: str | None = None,
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
        self.longest_chunk = longest_chunk
        self._stagger, self._player = stagger, player
        self._seeds = [] if seed is None else seed.spawn(self.num_envs)
        self._goals = GoalDraws(self._seeds, num_goals)
        self._faults = FaultLog(
            "the step is not learned from and its episode is dropped"
            if autoreset
            else "its episode stands still from here on"
        )

        sizes = {"K": longest_chunk, "E": self.num_envs, "horizon": horizon, "D": 0, "S": 0, "P": 0}
        if player is not None:
            sizes |= {"D": player.draws_size, "S": player.memory_size, "P": player.weights().size}
        count = min(usable_cores() if workers == "auto" else workers, self.num_envs)
        starter, self._arrays = make_workers(
            start_method,
            sizes,
            number=count,
            autoreset=autoreset,
            player=None if player is None else player.for_workers(),
            ray_address=ray_address,
        )
        specs = [
            EnvSpec(row=row, task=tasks[row // copies], goals=goal_lists[tasks[row // copies]])
            for row in range(self.num_envs)
        ]
        self._pool = WorkerPool(
            starter,
            self._arrays,
            [specs[index::count] for index in range(count)],
            autoreset=autoreset,
            timeout_s=step_timeout_s,
            max_restarts=max_worker_restarts,
            describe=self.describe,
        )
        self._told = 0  # replaced workers that steps have told of

    def reset(self, goals: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Start new episodes everywhere and return their first observations `[T, N, 39]`.

        Args:
            goals: goal index for each environment `[T, N]`; `None` draws them at random.

        Raises:
            ValueError: no goals, and no seed to draw them with.
        """
        if goals is None and not self._seeds:
            raise ValueError("environments without a seed take their goals from the caller")
        arrays = self._arrays
        arrays.time_limit[:] = self.horizon
        if self._stagger:
            fraction = (np.arange(self.num_envs) % self.copies + 1) / self.copies
            arrays.time_limit[:] = np.maximum(1, np.rint(self.horizon * fraction))
        arrays.memory[:] = 0
        if goals is None:
            self._goals.start(arrays)
        else:
            arrays.goal[:] = goals.ravel()
            arrays.next_goals[:] = arrays.goal[:, None]
        self._pool.ask(Command(RESET))
        self._pool.wait()
        return self._task_major(arrays.obs)

    def step(self, actions: NDArray[np.float32]) -> Step:
        """One step with the given actions `[T, N, 4]`.

        Raises:
            NonFiniteError: an action is NaN or infinite; nothing is done.
        """
        flat = actions.reshape(1, self.num_envs, ACTION_SIZE)
        self._require_finite(flat, np.arange(self.num_envs))
        self.play_async(1, actions=actions[None])
        return self.play_wait()[0]

    def play_async(
        self,
        steps: int,
        *,
        actions: NDArray[np.float32] | None = None,
        tasks: NDArray[np.int64] | None = None,
        generator: Any = None,
    ) -> None:
        """Let the workers play a chunk of at most K vector steps, and return meanwhile.

        Args:
            steps: of every environment of the tasks that play.
            tasks: indices of those `[t]`, in order; `None` for all. The others stand still.
            actions: `[steps, T, N, 4]`; `None` leaves them to the player, as it is now.
            generator: source of the player's random numbers.
        """
        arrays, given = self._arrays, actions is not None
        if actions is not None:
            arrays.action[:steps] = actions.reshape(steps, self.num_envs, ACTION_SIZE)
        elif self._player is not None:
            arrays.weights[:] = self._player.weights()
            arrays.draws[:steps] = self._player.draw(steps, self.num_envs, generator)
        arrays.goals_used[:] = 0
        self._playing = np.arange(len(self.tasks)) if tasks is None else tasks
        arrays.plays[:] = np.isin(np.arange(self.num_envs) // self.copies, self._playing)
        self._pool.ask(Command(PLAY, 0, steps, given))

    def play_wait(self) -> list[Step]:
        """The steps of the last `play_async`.

        Raises:
            NonFiniteError: the player chose an action that is NaN or infinite.
        """
        self._pool.wait()
        stop = self._pool.steps_asked
        rows = np.flatnonzero(self._arrays.plays)
        self._require_finite(self._arrays.action[:stop, rows], rows)
        restarts, self._told = self._pool.restarts - self._told, self._pool.restarts
        steps = [self._step(index, 0 if index else restarts) for index in range(stop)]
        self._goals.refill(self._arrays)
        return steps

    @property
    def busy_s(self) -> float:
        """Seconds that the workers were at work in the last chunk, mean over environments."""
        return float(self._arrays.busy_s.mean())

    def _step(self, index: int, worker_restarts: int) -> Step:
        """Step `index` of the chunk that was played."""
        arrays = self._arrays
        names = ("action", "next_obs", "reward", "terminated", "truncated", "success")
        faults = np.where(arrays.plays, arrays.fault[index], 0)
        for row in np.flatnonzero(faults).tolist():
            self._faults.warn(self.tasks[row // self.copies], self.describe(row), int(faults[row]))
        return Step(
            tasks=self._playing.copy(),
            obs=self._of_playing(arrays.obs_after[index]),
            **{name: self._of_playing(getattr(arrays, name)[index]) for name in names},
            lost=self._of_playing(faults > 0),
            worker_restarts=worker_restarts,
        )

    def state_dict(self) -> dict[str, Any]:
        """Goals, generators and actions of the running episodes: enough to rebuild them exactly."""
        return saved_state(self._arrays) | {"generators": self._goals.state()}

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
        if self._player is not None:
            self._player.require_memory(state["memory"])
        take_over(state, arrays)
        self._goals.restore(state["generators"])
        self._pool.ask(Command(RESTORE))
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
        return sum(getattr(arrays, name).nbytes for name in RUNNING)

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

    def _require_finite(self, actions: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
        """Raise `NonFiniteError` if one of the actions `[steps, rows, 4]` is NaN or infinite."""
        finite = np.isfinite(actions).all(axis=-1)
        if not finite.all():
            step, place = np.argwhere(~finite)[0].tolist()
            name, action = self.describe(int(rows[place])), actions[step, place]
            raise NonFiniteError(f"the action for {name} is not finite: {action}")

    def _task_major(self, flat: NDArray[Any]) -> NDArray[Any]:
        return flat.reshape(*self.shape, *flat.shape[1:]).copy()

    def _of_playing(self, flat: NDArray[Any]) -> NDArray[Any]:
        return flat.reshape(*self.shape, *flat.shape[1:])[self._playing]  # a copy


def _name(seed: SeedSequence) -> str:
    """Entropy and place in the tree of seeds: `7[0, 3]`."""
    return f"{seed.entropy}{list(seed.spawn_key)}"
