"""How far a run has come."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Le
from pydantic import ConfigDict, TypeAdapter, ValidationError

from configs.errors import UsageError
from configs.schema import Config
from training.phases import phase_at

Count = Annotated[int, Ge(0), Le(2**53)]
CountersT = TypeVar("CountersT")


@dataclass
class Progress:
    """How far the run has come. One vector step is one step of every environment that plays."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    env_steps: Count = 0
    vector_steps: Count = 0
    gradient_steps: Count = 0
    episodes: Count = 0
    lost_episodes: Count = 0
    """Episodes that a faulty step ended; they count in no other figure."""
    worker_restarts: Count = 0
    """Simulator workers that were replaced, those of the evaluations not counted."""
    last_log_env_steps: Count = 0
    last_evaluation_env_steps: Count = 0
    last_checkpoint_env_steps: Count = 0
    best_success_rate: Annotated[float, Ge(-1), Le(1)] = -1.0
    """Highest mean success of the evaluations during training; -1 before the first."""
    elapsed_hours: Annotated[float, Ge(0), Le(10**6)] = 0.0
    """Wall-clock until the last row of metrics, evaluations included, pauses not."""
    metrics_bytes: Count = 0
    """Length of metrics.csv, so that rows written after a checkpoint are dropped on resume."""

    def is_due(self, what: str, interval: int) -> bool:
        """Whether another multiple of `interval` environment steps has passed since the last `what`.

        Args:
            what: log, evaluation or checkpoint.
            interval: in environment steps.
        """
        last: int = getattr(self, f"last_{what}_env_steps")
        return self.env_steps // interval > last // interval

    @property
    def next_row_env_steps(self) -> int:
        """Environment steps from which on no row of metrics has been written yet."""
        written = self.env_steps in (self.last_log_env_steps, self.last_evaluation_env_steps)
        return self.env_steps + written


def updates_due(env_steps: int, config: Config) -> int:
    """Gradient steps that are to be done by the time of so many environment steps.

    A vector step counts as one step of every environment of the phase. In each phase they begin after
    the random actions, and wait for the next multiple of `training.update_interval_vector_steps`.
    """
    phase, training = phase_at(env_steps, config), config.training
    num_envs = len(phase.plays) * config.env.copies_per_task
    random_vector_steps = math.ceil(config.exploration.random_env_steps / num_envs)

    def due_within(phase_steps: int) -> int:
        vector_steps = phase_steps // num_envs
        at = vector_steps - vector_steps % training.update_interval_vector_steps
        return math.floor(max(0, at - random_vector_steps) * training.updates_per_vector_step)

    of_earlier_phases = phase.index * due_within(phase.ends - phase.begins)
    return of_earlier_phases + due_within(env_steps - phase.begins)


def chunk_steps(progress: Progress, config: Config) -> int:
    """Vector steps of the next chunk: fewer where the random actions, or a task's phase, end within it.

    The end of a run cuts none short: a run that is made longer goes on with whole chunks, as one that had
    always been longer.
    """
    phase = phase_at(progress.env_steps, config)
    num_envs = len(phase.plays) * config.env.copies_per_task
    random_end = phase.begins + config.exploration.random_env_steps
    ends = [random_end, phase.ends] if phase.ends_a_chunk else [random_end]
    left = [math.ceil((end - progress.env_steps) / num_envs) for end in ends]
    return min([config.training.chunk_vector_steps, *(steps for steps in left if steps > 0)])


_SCHEMA = TypeAdapter(Progress)


def parse_progress(data: Any, source: str) -> Progress:
    """The progress that a checkpoint of train_mt10.py holds, as `parse_counters` has it."""
    return parse_counters(_SCHEMA, data, source)


def parse_counters(schema: TypeAdapter[CountersT], data: Any, source: str) -> CountersT:
    """The progress that a checkpoint holds; `source` names it in errors.

    Raises:
        UsageError: one is missing, unknown, of another type or out of range.
    """
    try:
        return schema.validate_json(json.dumps(data))  # strict JSON: no text for numbers
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = ".".join(map(str, problem["loc"])) or "all of them"
        raise UsageError(f"{source}: progress: {name}: {problem['msg'].lower()}") from error
