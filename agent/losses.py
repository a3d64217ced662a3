"""The losses of multi-task Soft Actor-Critic as pure functions of tensors.

Haarnoja et al. 2018 (arXiv 1812.05905); one temperature per task as in Meta-World's multi-task SAC
(Yu et al. 2019, arXiv 1910.10897). `[...]` is `[T, b]` for a task-major batch or `[n]`.
"""

from __future__ import annotations

import torch
from torch import Tensor


def td_target(
    reward: Tensor,
    discount: Tensor,
    next_q: Tensor,
    next_log_prob: Tensor,
    temperature: Tensor,
) -> Tensor:
    """Soft Bellman target with clipped double Q (eqs. 3 and 5; min of the two critics, sec. 6).

    y = r + gamma^n (min_e Q_e(s', a') - alpha log pi(a'|s')), s' and r over n steps. Only true
    termination stops the bootstrap (a discount of 0); a time limit (truncation) does not.

    Args:
        reward: `[...]`, as the critic sees it (scaled).
        discount: `[...]`, gamma^n, 0 after termination.
        next_q: `[2, ...]`, target critics.
        next_log_prob, temperature: `[...]`.

    Returns:
        `[...]`.
    """
    soft_value = next_q.amin(dim=0) - temperature * next_log_prob
    return reward + discount * soft_value


def actor_loss(q: Tensor, log_prob: Tensor, temperature: Tensor, weight: Tensor) -> Tensor:
    """E[w (alpha log pi(a|s) - min_e Q_e(s, a))] (eqs. 7 and 9; w is ours), scalar.

    Args:
        q: `[2, ...]`; log_prob, temperature: `[...]`, temperature without gradient.
        weight: `[...]`, w of the sample's task.
    """
    return (weight * (temperature * log_prob - q.amin(dim=0))).mean()


def task_weights(temperature: Tensor, inverse: bool) -> Tensor:
    """What each task's actor loss counts `[T]`, 1 on average: equal, or 1 / alpha.

    The temperature that keeps a policy at its target entropy is the scale of its Q differences, so
    dividing by it puts tasks on a par whose values differ by orders of magnitude.
    """
    weights = 1 / temperature if inverse else torch.ones_like(temperature)
    return weights / weights.mean()


def temperature_loss(log_temperature: Tensor, log_prob: Tensor, target_entropy: float) -> Tensor:
    """E[-log(alpha) (log pi(a|s) + H)] (eq. 18 in its log-alpha form), scalar.

    The log form, also the published code's, gives each task's temperature a step that does not
    shrink with the temperature itself.

    Args:
        log_temperature: `[...]`, the sample's own task's; log_prob: `[...]`, no gradient.
        target_entropy: H [nats].
    """
    return -(log_temperature * (log_prob + target_entropy)).mean()
