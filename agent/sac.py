"""Multi-task Soft Actor-Critic: actor, twin critics, one temperature per task, their optimisers."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from agent.compilation import Compiled
from agent.devices import resolve_precision
from agent.losses import actor_loss, task_weights, td_target, temperature_loss
from agent.networks import Actor, TwinCritic
from agent.observations import ObservationScale, observation_frame
from agent.replay import Batch
from agent.returns import ReturnScale
from agent.sizing import matched_network
from agent.values import make_value
from configs.schema import Config

# Scaled observations are cut here: an object thrown off the table says no more than one that left.
_MAX_SPREADS = 10.0


class SAC(nn.Module):
    """The agent. `update` is tensors in, tensors out; `act` and the state methods surround it.

    Args:
        config: network and agent settings.
        obs_size, action_size: features per observation and action.
        device: where parameters live.
        generator: CPU generator for the initial weights.
    """

    reward_scale: Tensor
    frame: Tensor | None
    obs_mean: Tensor
    obs_spread: Tensor

    def __init__(
        self,
        config: Config,
        obs_size: int,
        action_size: int,
        device: torch.device,
        generator: Generator,
    ) -> None:
        super().__init__()
        num_tasks, settings = len(config.env.tasks), config.agent
        network = matched_network(config.network, num_tasks, obs_size, action_size, settings)
        self.settings = settings
        self.target_entropy = (
            -float(action_size) if settings.target_entropy == "auto" else settings.target_entropy
        )
        self.value = make_value(settings)
        self.actor = Actor(
            obs_size,
            action_size,
            network.actor_hidden,
            network,
            num_tasks=num_tasks,
            log_std_bounds=settings.log_std_bounds,
            generator=generator,
        )
        self.critic = TwinCritic(
            obs_size,
            action_size,
            self.value.output_size,
            network.critic_hidden,
            network,
            num_tasks=num_tasks,
            generator=generator,
        )
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.log_temperature = nn.Parameter(
            torch.full((num_tasks,), math.log(settings.initial_temperature))
        )
        self.register_buffer("reward_scale", torch.ones(num_tasks))
        frame = observation_frame(settings.observation_frame, obs_size)
        self.register_buffer(
            "frame", None if frame is None else torch.from_numpy(frame), persistent=False
        )  # [obs, obs] float64
        self.register_buffer("obs_mean", torch.zeros(num_tasks, obs_size))
        self.register_buffer("obs_spread", torch.ones(num_tasks, obs_size))
        self.to(device)
        self._selected: tuple[list[int], list[Tensor | None]] | None = None
        self.dtype = resolve_precision(config.precision, device)
        self._on_gpu = device.type == "cuda"
        self._critic_objective = Compiled(self.critic_objective, config.compile, self._on_gpu)
        self._actor_objective = Compiled(self.actor_objective, config.compile, self._on_gpu)
        adamw = torch.optim.AdamW
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "actor": adamw(
                self.actor.parameters(),
                lr=settings.actor_lr,
                weight_decay=settings.weight_decay,
                fused=True,
            ),
            "critic": adamw(
                self.critic.parameters(),
                lr=settings.critic_lr,
                weight_decay=settings.weight_decay,
                fused=True,
            ),
            "temperature": adamw(
                [self.log_temperature], lr=settings.temperature_lr, weight_decay=0.0, fused=True
            ),
        }

    def update(self, batch: Batch, noise: Tensor) -> dict[str, Tensor]:
        """One gradient step: critics, actor, temperatures, targets, in the published order.

        Args:
            batch: transitions, `[T, b, ...]` or `[n, ...]` with rows.
            noise: `[2, ..., action]` standard normal, for the next action and the new action.

        Returns:
            Detached tensors: scalar losses, 1 for each optimiser that skipped its step, and per task
            `[T]` the mean Q of the batch, the policy's entropy and the temperature.
        """
        batch = batch._replace(
            obs=self.scaled(batch.obs, batch.rows), next_obs=self.scaled(batch.next_obs, batch.rows)
        )
        if self._on_gpu:
            torch.compiler.cudagraph_mark_step_begin()
        alpha = self.log_temperature.detach().exp()  # [T]
        temperature = _per_sample(alpha, batch.rows)
        inverse = self.settings.actor_task_weights == "inverse_temperature"
        weight = _per_sample(task_weights(alpha, inverse), batch.rows)
        critic_loss, q = self._critic_objective(batch, noise[0], temperature)
        skipped = {"losses/skipped/critic": self._descend("critic", critic_loss)}
        self.critic.requires_grad_(False)  # constants to the actor: no gradient of their weights
        policy_loss, log_prob = self._actor_objective(batch, noise[1], temperature, weight)
        skipped["losses/skipped/actor"] = self._descend("actor", policy_loss)
        self._selected = None
        self.critic.requires_grad_(True)
        alpha_loss = self._temperature_objective(log_prob, batch.rows)
        skipped["losses/skipped/temperature"] = self._descend("temperature", alpha_loss)
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.target_critic.parameters()),
                list(self.critic.parameters()),
                self.settings.target_update_rate,
            )
        return {
            "losses/critic": critic_loss.detach().clone(),  # a CUDA graph overwrites its results
            "losses/actor": policy_loss.detach().clone(),
            "losses/temperature": alpha_loss.detach(),
            **skipped,
            "values/q": _per_task(q.mean(dim=0), batch.rows, len(self.log_temperature)),
            "policy/entropy": _per_task(-log_prob, batch.rows, len(self.log_temperature)),
            "policy/temperature": self.log_temperature.detach().exp(),
        }

    def critic_objective(
        self, batch: Batch, noise: Tensor, temperature: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The critics' loss, scalar, and their Q values without gradient, `[2, ...]`."""
        with torch.no_grad():
            next_action, next_log_prob = self.actor.sample(
                batch.next_obs, noise, batch.rows, self.dtype
            )
            next_q = self.value.mean(
                self.target_critic(batch.next_obs, next_action, batch.rows, self.dtype)
            )
            reward = batch.reward * _per_sample(self.reward_scale, batch.rows)
            target = td_target(reward, batch.discount, next_q, next_log_prob, temperature)
        raw = self.critic(batch.obs, batch.action, batch.rows, self.dtype)  # [2, ..., output]
        loss = self.value.loss(raw, target).mean(dim=tuple(range(1, target.dim() + 1))).sum()
        return loss, self.value.mean(raw.detach())

    def actor_objective(
        self, batch: Batch, noise: Tensor, temperature: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The actor's loss, scalar, and the log-probability of its actions without gradient."""
        action, log_prob = self.actor.sample(batch.obs, noise, batch.rows, self.dtype)
        q = self.value.mean(self.critic(batch.obs, action, batch.rows, self.dtype))  # [2, ...]
        return actor_loss(q, log_prob, temperature, weight), log_prob.detach()

    def _temperature_objective(self, log_prob: Tensor, rows: Tensor | None) -> Tensor:
        log_temperature = _per_sample(self.log_temperature, rows)
        return temperature_loss(log_temperature, log_prob, self.target_entropy)

    def _descend(self, name: str, loss: Tensor) -> Tensor:
        """One step of an optimiser; with a gradient that is not finite none, and 1 instead of 0."""
        parameters: list[nn.Parameter] = self.optimizers[name].param_groups[0]["params"]
        gradients = torch.autograd.grad(loss, parameters)
        total = torch.stack([gradient.sum() for gradient in gradients]).sum()
        skip = 1.0 - total.isfinite().float()
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.contiguous()  # the fused optimiser ignores strides
        optimizer = self.optimizers[name]
        optimizer.found_inf = skip  # type: ignore[attr-defined]  # it then leaves everything as it is
        optimizer.step()
        for parameter in parameters:
            parameter.grad = None
        return skip

    @torch.no_grad()
    def act(self, obs: NDArray[np.float32], noise: Tensor | None) -> NDArray[np.float32]:
        """Actions in [-1, 1] for task-major observations.

        Args:
            obs: `[T, N, obs]`.
            noise: `[T, N, action]` standard normal, or `None` for the policy's mean.

        Returns:
            `[T, N, action]`.
        """
        scaled = self.scaled(torch.from_numpy(obs).to(self.log_temperature.device))
        mean, log_std = self.actor(scaled, selected=self._segments())
        if noise is not None:
            mean = mean + log_std.exp() * noise.to(mean.device)
        return torch.tanh(mean).cpu().numpy()

    def scaled(self, obs: Tensor, rows: Tensor | None = None) -> Tensor:
        """Raw observations `[T, n, obs]`, or `[n, obs]` with `rows`, as the networks see them."""
        if self.frame is not None:
            obs = (obs.double() @ self.frame.double()).to(obs.dtype)
        if self.settings.observation_scaling == "none":
            return obs
        mean, spread = _per_sample(self.obs_mean, rows), _per_sample(self.obs_spread, rows)
        return ((obs - mean) / spread).clamp(-_MAX_SPREADS, _MAX_SPREADS)

    def _segments(self) -> list[Tensor | None]:
        """What the actor's dendrites say to each task, computed once until its weights change.

        `update` forgets it by itself: the fused optimiser does not count up a tensor's version.
        """
        versions = [parameter._version for parameter in self.actor.trunk.parameters()]
        if self._selected is None or self._selected[0] != versions:
            self._selected = (versions, self.actor.trunk.selected_segments())
        return self._selected[1]

    def set_learning_rates(self, progress: float) -> None:
        """Those of actor and critics at a fraction of the run: linear, from 1 to the final one."""
        factor = 1 + progress * (self.settings.final_lr_fraction - 1)
        self.optimizers["actor"].param_groups[0]["lr"] = factor * self.settings.actor_lr
        self.optimizers["critic"].param_groups[0]["lr"] = factor * self.settings.critic_lr

    def set_observation_scale(self, statistics: ObservationScale) -> None:
        """Take over the per-task scale of observations, if this agent scales them at all."""
        if self.settings.observation_scaling == "per_task":
            self.obs_mean.copy_(torch.from_numpy(statistics.mean))
            self.obs_spread.copy_(torch.from_numpy(statistics.spread()))

    def set_reward_scale(self, returns: ReturnScale) -> None:
        """Take over the per-task scale of rewards, if this agent scales them at all."""
        if self.settings.reward_scaling == "per_task_return":
            scale = returns.reward_scale(self.settings.value_range[1])
            self.reward_scale.copy_(torch.from_numpy(scale))


def _per_sample(table: Tensor, rows: Tensor | None) -> Tensor:
    """A per-task table `[T, ...]` for each sample: `[T, 1, ...]` to broadcast, or `[n, ...]`."""
    return table.unsqueeze(1) if rows is None else table.index_select(0, rows)


def _per_task(values: Tensor, rows: Tensor | None, num_tasks: int) -> Tensor:
    """Mean over each task's samples `[T]`; 0 for a task with none."""
    if rows is None:
        return values.mean(dim=-1)
    totals = values.new_zeros(num_tasks).index_add(0, rows, values)
    counts = values.new_zeros(num_tasks).index_add(0, rows, torch.ones_like(values))
    return totals / counts.clamp(min=1)
