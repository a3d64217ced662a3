"""The environments of one worker: reset, play a chunk of steps, rebuild running episodes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.players import Player
from envs.workers.commands import PLAY, RESET, Command
from envs.workers.shared_arrays import Arrays

if TYPE_CHECKING:  # the trainer imports this module too, and needs no Meta-World
    from envs.simulator.simulator import Simulator


@dataclass(frozen=True)
class EnvSpec:
    """One environment of a worker."""

    row: int
    """Its row in the shared arrays."""
    task: str
    goals: NDArray[np.float64]
    """Random vectors, `[50, k]`."""


class Share:
    """The environments of one worker, and what acts in them.

    Args:
        specs: of the environments.
        arrays: of all environments.
        autoreset: reset an environment in the step that ends its episode.
        player: `None` where the trainer always gives the actions.
    """

    def __init__(
        self, specs: list[EnvSpec], arrays: Arrays, autoreset: bool, player: Player | None
    ) -> None:
        from envs.simulator.simulator import Simulator

        self.arrays = arrays
        self._rows = np.array([spec.row for spec in specs])
        self._envs = [
            WorkerEnv(Simulator(spec.task, spec.goals), spec.row, arrays, autoreset)
            for spec in specs
        ]
        self._player = player
        if player is not None:
            player.start()
        # Everybody's, as the player takes them; those of other workers stay zero.
        self._obs, self._memory = np.zeros_like(arrays.obs), np.zeros_like(arrays.memory)

    def serve(self, command: Command) -> None:
        """Do what the trainer asks."""
        start = time.perf_counter()
        if command.kind == PLAY:
            self._play(command)
        elif command.kind == RESET:
            self._each(self._envs, lambda env: env.reset())
        else:
            self._each(self._envs, lambda env: env.restore())
        self.arrays.busy_s[self._rows] = time.perf_counter() - start

    def _play(self, command: Command) -> None:
        """Some steps of the environments that play; stops at an action that is not finite."""
        arrays = self.arrays
        rows = self._rows[arrays.plays[self._rows]]
        envs = [env for env in self._envs if arrays.plays[env.row]]
        if not command.given and self._player is not None:
            self._player.load(arrays.weights)
        for step in range(command.first, command.stop):
            if not command.given:
                arrays.action[step, rows] = self._choose(rows, arrays.draws[step])
            if not np.isfinite(arrays.action[step, rows]).all():
                return  # the trainer sees it, too
            self._each(envs, lambda env: env.step(step))  # noqa: B023

    def _choose(self, rows: NDArray[np.int64], draws: NDArray[np.float32]) -> NDArray[np.float32]:
        """The player's actions in some rows `[rows, 4]`."""
        assert self._player is not None
        arrays = self.arrays
        self._obs[rows], self._memory[rows] = arrays.obs[rows], arrays.memory[rows]
        actions = self._player.act(self._obs, draws, self._memory)
        arrays.memory[rows] = self._memory[rows]
        return actions[rows]

    def _each(self, envs: list[WorkerEnv], act: Callable[[WorkerEnv], None]) -> None:
        for env in envs:
            try:
                act(env)
            except Exception as error:
                error.add_note(f"{env.simulator.task}, goal {self.arrays.goal[env.row]}")
                raise


class WorkerEnv:
    """One simulator, reading its actions from and writing its results to the shared arrays."""

    def __init__(self, simulator: Simulator, row: int, arrays: Arrays, autoreset: bool) -> None:
        self.simulator, self.row, self.arrays = simulator, row, arrays
        self.autoreset = autoreset

    def reset(self) -> None:
        """Start the episode that `goal` names."""
        row, arrays = self.row, self.arrays
        arrays.obs[row] = self.simulator.reset(int(arrays.goal[row]))
        arrays.elapsed[row] = 0

    def step(self, step: int) -> None:
        """One environment step; at the end of an episode also the reset (same-step autoreset)."""
        row, arrays = self.row, self.arrays
        action, elapsed = arrays.action[step, row], int(arrays.elapsed[row]) + 1
        arrays.action_log[row, elapsed - 1] = action
        result, fault = self.simulator.step(action), self.simulator.fault
        ended = elapsed >= arrays.time_limit[row] or bool(fault)
        arrays.elapsed[row] = elapsed
        arrays.obs[row] = arrays.next_obs[step, row] = result.obs
        arrays.reward[step, row] = result.reward
        arrays.success[step, row] = result.success
        arrays.terminated[step, row] = result.terminated
        arrays.truncated[step, row] = ended
        arrays.fault[step, row] = fault
        if self.autoreset and (ended or result.terminated):
            self._start_next_episode()
        arrays.obs_after[step, row] = arrays.obs[row]

    def restore(self) -> None:
        """Bring a fresh simulator to the middle of the episode by repeating its actions."""
        row, arrays = self.row, self.arrays
        elapsed = int(arrays.elapsed[row])
        self.reset()
        for action in arrays.action_log[row, :elapsed]:
            arrays.obs[row] = self.simulator.step(action).obs
        arrays.elapsed[row] = elapsed

    def _start_next_episode(self) -> None:
        row, arrays = self.row, self.arrays
        arrays.goal[row] = arrays.next_goals[row, arrays.goals_used[row]]
        arrays.goals_used[row] += 1
        arrays.time_limit[row] = arrays.action_log.shape[1]
        arrays.memory[row] = 0
        self.reset()
