"""Settings of Soft Actor-Critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from configs.ranges import STRICT, Fraction, Hundreds, Number, Rate


@dataclass(frozen=True)
class AgentConfig:
    """Soft Actor-Critic."""

    __pydantic_config__ = STRICT

    actor_lr: Rate = 1e-3
    """Learning rate of the actor at the start (AdamW)."""
    critic_lr: Rate = 1e-3
    """Learning rate of the critics at the start (AdamW)."""
    final_lr_fraction: Fraction = 0.1
    """Learning rates of actor and critics fall linearly to this fraction by total_env_steps; with
    one_by_one by the end of each phase, and the next begins with the first ones again."""
    temperature_lr: Rate = 1e-3
    """Learning rate of the log-temperatures (Adam)."""
    weight_decay: Annotated[float, Ge(0), Le(1e6)] = 0.01
    """Decoupled weight decay of actor and critics (AdamW)."""
    protects: Literal["actor", "actor_and_critics"] = "actor"
    """Whose weights `protection` holds. Critics are not needed to play: with actor alone they are free to
    learn the next task, as in the runs of Continual World (arXiv 2105.10919)."""
    actor_task_weights: Literal["equal", "inverse_temperature"] = "inverse_temperature"
    """inverse_temperature: each task's actor loss in units of its temperature (agent/losses.py)."""
    discount: Annotated[float, Gt(0), Lt(1)] = 0.99
    """Discount factor gamma per environment step."""
    n_step: Hundreds = 3
    """Steps of real reward in the critics' target, before their own estimate takes over."""
    target_update_rate: Fraction = 0.02
    """Polyak rate tau of the target critics per gradient step."""
    initial_temperature: Rate = 0.003
    """Entropy temperature alpha of every task at the start, in units of the scaled reward."""
    target_entropy: Number | Literal["auto"] = "auto"
    """Entropy that the temperatures steer to [nats]; auto is minus the action size (-4)."""
    neutral_start: bool = False
    """The actor's head starts at 0: every policy begins with mean 0 and spread 1, whatever its network, so
    that networks are compared and not their first exploration."""
    log_std_bounds: tuple[Number, Number] = (-10.0, 2.0)
    """Clamp of the policy's log standard deviation."""
    critic_loss: Literal["mse", "hl_gauss"] = "hl_gauss"
    """mse: scalar critics; hl_gauss: categorical, Gaussian-smoothed targets (arXiv 2403.03950)."""
    value_bins: Annotated[int, Ge(2), Le(10_001)] = 61
    """hl_gauss: bins of the value distribution."""
    value_range: tuple[Number, Number] = (-2.0, 10.0)
    """hl_gauss: ends of the bins; reward scaling maps a task's return to just below the upper one."""
