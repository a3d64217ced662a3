"""The phases of a run: in which environment steps which tasks play, and which are learned from.

Tasks that are learned together have one phase, the whole run. One after the other each has a phase of its
own. All that depends on the phase follows from the environment steps so far and the settings, so that a
run stopped anywhere goes on in the right one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.schema import Config


@dataclass(frozen=True)
class Phase:
    """A stretch of a run; all counts are environment steps of the run."""

    index: int
    """Counted from 0; one after the other also the index of the task."""
    begins: int
    ends: int
    """The step after its last."""
    plays: NDArray[np.int64]
    """Indices of the tasks that play `[t]`, in order."""
    learned: NDArray[np.int64]
    """Indices of the tasks that batches are taken of `[t]`, in order."""
    ends_a_chunk: bool
    """Whether no chunk goes beyond its end; the end of a whole run cuts none short."""

    def fraction(self, env_steps: int) -> float:
        """How much of it is over by then, 0 to 1."""
        return (env_steps - self.begins) / (self.ends - self.begins)


def phase_at(env_steps: int, config: Config) -> Phase:
    """The phase of the step after so many, or the last one."""
    env = config.env
    tasks = np.arange(len(env.task_names))
    if env.schedule == "together":
        return Phase(0, 0, config.total_env_steps, tasks, tasks, ends_a_chunk=False)
    length = env.steps_per_task
    index = min(env_steps // length, len(tasks) - 1)
    return Phase(
        index=index,
        begins=index * length,
        ends=(index + 1) * length,
        plays=tasks[index : index + 1],
        learned=tasks[: index + 1] if config.replay.rehearsal else tasks[index : index + 1],
        ends_a_chunk=True,
    )


def ends_a_task(env_steps: int, config: Config) -> bool:
    """Whether the phase of one task, of several one after the other, has just ended."""
    length = config.env.steps_per_task
    return config.env.schedule == "one_by_one" and env_steps > 0 and env_steps % length == 0
