"""Every setting of a training run: typed, validated, documented.

The sections `network`, `agent` and `protection` are in files of their own.

The string below a field is its `--help` text. The values in these classes are the `mt10`
preset's, except where a preset file says otherwise (`configs/*.yaml`). Counts carry their unit in
the name. A resumed run may change `total_env_steps` and the sections `evaluation`, `recording` and
`machine`; everything else decides what is learned and is fixed when a run starts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen

from configs.agent import AgentConfig
from configs.network import NetworkConfig
from configs.protection import ProtectionConfig
from configs.ranges import STRICT, Count, Fraction, Hundreds, PositiveInt, Rate
from configs.task_sets import task_names


@dataclass(frozen=True)
class EnvConfig:
    """The tasks, their goals and the length of an episode."""

    __pydantic_config__ = STRICT

    tasks: Literal["mt10", "mt25", "mt50"] | Annotated[tuple[str, ...], MinLen(1), MaxLen(50)] = (
        "mt10"
    )
    """mt10, mt25, mt50 (Meta-World's own lists), or names of v3 tasks; in one-hot order."""
    num_goals: Annotated[int, Ge(1), Le(50)] = 50
    """Goals per task, drawn at random for each episode: 50 is the benchmark's, 1 the paper's."""
    horizon: Annotated[int, Ge(1), Le(500)] = 200
    """Episode length in training [environment steps]; the benchmark's is 500."""
    copies_per_task: Hundreds = 5
    """Environments per task."""
    stagger_episodes: bool = True
    """Shorten the first episode of each copy, so that resets spread over time."""
    least_task_share: Fraction = 0.2
    """Environment steps and batches of a task that always succeeds, as a fraction of those of one that
    never does (training/allocation.py); 1 treats all tasks alike. With replay.sampling: uniform, steps alone."""
    schedule: Literal["together", "one_by_one"] = "together"
    """together: all tasks at once; one_by_one: one after the other, each for env.steps_per_task."""
    steps_per_task: PositiveInt = 150_000
    """one_by_one: environment steps of a task's phase, in which its environments alone play."""

    @property
    def task_names(self) -> tuple[str, ...]:
        """The names of the tasks, in one-hot order."""
        return task_names(self.tasks)

    @property
    def treats_all_alike(self) -> bool:
        """Whether all tasks play, and are learned from, equally much at any time."""
        return self.schedule == "together" and self.least_task_share == 1


@dataclass(frozen=True)
class ReplayConfig:
    """The shared replay buffer."""

    __pydantic_config__ = STRICT

    capacity: PositiveInt = 1_000_000
    """Transitions kept, over all tasks; every environment has an equal share, rounded down."""
    batch_size: Annotated[int, Ge(1), Le(10**6)] = 500
    """Transitions per gradient step, over all tasks."""
    sampling: Literal["balanced", "uniform"] = "balanced"
    """balanced: task by task, equally many or by their shares (env.least_task_share); uniform: over the
    whole buffer, as the paper."""
    rehearsal: bool = False
    """one_by_one: learn from the transitions of all tasks so far, equally many of each, not from the
    present task's alone."""


@dataclass(frozen=True)
class ExplorationConfig:
    """How actions differ from the policy's while training."""

    __pydantic_config__ = STRICT

    random_env_steps: Count = 10_000
    """Environment steps with uniformly random actions, and no updates, at the start; with one_by_one
    at the start of each phase."""
    noise_correlation: Annotated[float, Ge(0), Lt(1)] = 0.9
    """Correlation of the exploration noise from one step to the next; its spread is the policy's."""
    hold_rate: Annotated[float, Ge(0), Lt(1)] = 0.01
    """Chance per step to hold an action dimension at a random value for a while; 0 never does."""
    hold_steps: Hundreds = 20
    """A hold lasts 1 to so many environment steps."""


@dataclass(frozen=True)
class NormalizationConfig:
    """What the networks see of observations, and the unit of rewards."""

    __pydantic_config__ = STRICT

    observation_frame: Literal["world", "relative"] = "relative"
    """relative: the networks see object - hand, goal - object and now - before (agent/observations.py)."""
    observation_scaling: Literal["none", "per_task"] = "per_task"
    """per_task: features in units of their own spread within the task (as arXiv 2410.09754)."""
    reward_scaling: Literal["none", "per_task_return"] = "per_task_return"
    """per_task_return: rewards in units of the task's returns (agent/rewards.py; arXiv 2505.23150)."""


@dataclass(frozen=True)
class TrainingConfig:
    """How many gradient steps are done, and when."""

    __pydantic_config__ = STRICT

    updates_per_vector_step: Rate = 0.6
    """Gradient steps per vector step, which is a step of every environment (50 in mt10), whichever tasks play; with
    one_by_one, of every environment of the phase's task. Fractions carry over."""
    update_interval_vector_steps: PositiveInt = 1
    """Do the gradient steps due only every so many vector steps (the paper: 500)."""
    chunk_vector_steps: Hundreds = 10
    """Vector steps that the simulators play on their own, with the actor as it is, while the learner
    does the gradient steps that are due by their end; 1 always acts with the newest actor."""
    reset_optimizer: bool = False
    """one_by_one: forget the moments of all optimisers at the end of a phase."""


@dataclass(frozen=True)
class EvaluationConfig:
    """Evaluation during training and the report at the end."""

    __pydantic_config__ = STRICT

    interval_env_steps: PositiveInt = 200_000
    """Evaluate every so many environment steps; with one_by_one the present task alone, and all tasks
    at the end of each phase."""
    goals: PositiveInt = 5
    """Goals per task in the evaluations during training (the first of the goal list)."""
    report_goals: PositiveInt = 50
    """Goals per task in the report at the end."""
    horizon: Annotated[int, Ge(2), Le(500)] = 500
    """Episode length in evaluation [environment steps]; 500 is the benchmark's."""
    copies_per_task: Annotated[int, Ge(1), Le(50)] = 5
    """Environments per task that evaluate side by side."""
    episodes_per_goal: Hundreds = 1
    """sample: episodes on every goal. With mean actions there is one: another would be the same."""
    actions: Literal["mean", "sample"] = "mean"
    """mean: tanh of the Gaussian's mean; sample: stochastic, as the published evaluation."""

    @property
    def distinct_episodes_per_goal(self) -> int:
        """Episodes on every goal that are not the same: a reset depends on the goal alone."""
        return self.episodes_per_goal if self.actions == "sample" else 1


@dataclass(frozen=True)
class RecordingConfig:
    """How often a run writes down what it does."""

    __pydantic_config__ = STRICT

    log_interval_env_steps: PositiveInt = 10_000
    """A row of metrics every so many environment steps."""
    checkpoint_interval_env_steps: PositiveInt = 200_000
    """A checkpoint every so many environment steps."""


@dataclass(frozen=True)
class MachineConfig:
    """Where and how a run is computed. Nothing here changes what is learned, apart from rounding."""

    __pydantic_config__ = STRICT

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: Hundreds | Literal["auto"] = "auto"
    """CPU threads of the learner; auto is half the cores, the simulators need the others."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the products between hidden layers in the update; auto is bfloat16 where it is fast."""
    compile: Literal["auto", "never"] = "auto"
    """auto: compile the update (half a minute once, then kept), or run it as it is if that fails."""
    workers: Hundreds | Literal["auto"] = "auto"
    """Simulator processes while training; auto is the CPU cores that the learner leaves (all, in evaluations)."""
    start_method: Literal["spawn", "fork"] = "spawn"
    """How simulator processes are started."""
    workers_backend: Literal["processes", "ray"] = "processes"
    """Simulators in processes on this machine, or in actors of a Ray cluster, of which each takes a core."""
    ray_address: str = "local"
    """ray: HOST:PORT of the cluster; local begins one on this machine for the run."""
    step_timeout_s: Annotated[float, Gt(0), Le(86_400)] = 60.0
    """A simulator process that does not answer for this long [s] is replaced."""
    worker_restarts: Count = 20
    """Simulator processes that are replaced when they die, raise or do not answer; one more ends the run."""
    lost_episodes: Count = 100
    """Episodes that may be lost to unstable physics and the like; one more ends the run."""


@dataclass(frozen=True)
class Config:
    """One training run."""

    __pydantic_config__ = STRICT

    seed: Annotated[int, Ge(0), Lt(2**32)] = 0
    """Seed of everything random: goal list, weights, actions, batches."""
    total_env_steps: PositiveInt = 3_000_000
    """Environment steps to train for, over all tasks and copies."""
    env: EnvConfig = field(default_factory=EnvConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    protection: ProtectionConfig = field(default_factory=ProtectionConfig)
    exploration: ExplorationConfig = field(default_factory=ExplorationConfig)
    normalization: NormalizationConfig = field(default_factory=NormalizationConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    recording: RecordingConfig = field(default_factory=RecordingConfig)
    machine: MachineConfig = field(default_factory=MachineConfig)
