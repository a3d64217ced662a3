"""Multi-task Soft Actor-Critic: actor, twin critics, one temperature per task, their optimisers."""

from __future__ import annotations

import copy
import math

import torch
from torch import Generator, Tensor, nn

from agent.losses import actor_loss, task_weights, td_target, temperature_loss
from agent.networks import Actor, TwinCritic
from agent.observations import ObservationNormalizer
from agent.plan import Plan
from agent.policy import Policy
from agent.replay import Batch
from agent.rewards import RewardNormalizer
from agent.task_major import per_sample, per_task
from agent.value_heads import make_value_head
from machine.compilation import Compiled


class SAC(nn.Module):
    """The agent. `update` is one gradient step, tensors in, tensors out; `policy` acts.

    Args:
        plan: sizes, settings, device and precision.
        generator: CPU generator for the initial weights.
    """

    def __init__(self, plan: Plan, generator: Generator) -> None:
        super().__init__()
        config, settings, num_tasks = plan.config, plan.config.agent, len(plan.tasks)
        self.settings, self.target_entropy = settings, plan.target_entropy
        self.observations = ObservationNormalizer(config.normalization, num_tasks, plan.obs_size)
        self.rewards = RewardNormalizer(config)
        self.value = make_value_head(settings)
        self.actor = Actor(
            plan.obs_size,
            plan.action_size,
            plan.network,
            num_tasks=num_tasks,
            log_std_bounds=settings.log_std_bounds,
            product_dtype=plan.precision,
            generator=generator,
        )
        self.critic = TwinCritic(
            plan.obs_size,
            plan.action_size,
            plan.value_outputs,
            plan.network,
            num_tasks=num_tasks,
            product_dtype=plan.precision,
            generator=generator,
        )
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.log_temperature = nn.Parameter(
            torch.full((num_tasks,), math.log(settings.initial_temperature))
        )
        self.to(plan.device)
        self.policy = Policy(self.observations, self.actor)
        self._on_gpu = plan.device.type == "cuda"
        mode = config.machine.compile
        self._critic_objective = Compiled(self.critic_objective, mode, self._on_gpu)
        self._actor_objective = Compiled(self.actor_objective, mode, self._on_gpu)
        self.optimizers = self._make_optimizers()

    def _make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        settings, adamw = self.settings, torch.optim.AdamW
        decay = settings.weight_decay
        actor, critic = self.actor.parameters(), self.critic.parameters()
        temperature, rate = [self.log_temperature], settings.temperature_lr
        return {
            "actor": adamw(actor, lr=settings.actor_lr, weight_decay=decay, fused=True),
            "critic": adamw(critic, lr=settings.critic_lr, weight_decay=decay, fused=True),
            "temperature": adamw(temperature, lr=rate, weight_decay=0.0, fused=True),
        }

    def update(self, batch: Batch, noise: Tensor) -> dict[str, Tensor]:
        """One gradient step: critics, actor, temperatures, targets, in the published order.

        Args:
            batch: transitions, `[T, b, ...]`, or `[n, ...]` with `task`.
            noise: `[2, ..., action]` standard normal, for the next action and the new action.

        Returns:
            Detached tensors: scalar losses, 1 for each optimiser that skipped its step, and per task
            `[T]` the mean Q of the batch, the policy's entropy and the temperature.
        """
        task, num_tasks = batch.task, len(self.log_temperature)
        batch = batch._replace(
            obs=self.observations(batch.obs, task),
            next_obs=self.observations(batch.next_obs, task),
        )
        if self._on_gpu:
            torch.compiler.cudagraph_mark_step_begin()
        alpha = self.log_temperature.detach().exp()  # [T]
        temperature = per_sample(alpha, task)
        inverse = self.settings.actor_task_weights == "inverse_temperature"
        weight = per_sample(task_weights(alpha, inverse), task)
        critic_loss, q = self._critic_objective(batch, noise[0], temperature)
        skipped = {"losses/skipped/critic": self._descend("critic", critic_loss)}
        self.critic.requires_grad_(False)  # constants to the actor: no gradient of their weights
        policy_loss, log_prob = self._actor_objective(batch, noise[1], temperature, weight)
        skipped["losses/skipped/actor"] = self._descend("actor", policy_loss)
        self.critic.requires_grad_(True)
        log_temperature = per_sample(self.log_temperature, task)
        alpha_loss = temperature_loss(log_temperature, log_prob, self.target_entropy)
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
            "values/q": per_task(q.mean(dim=0), task, num_tasks),
            "policy/entropy": per_task(-log_prob, task, num_tasks),
            "policy/temperature": self.log_temperature.detach().exp(),
        }

    def critic_objective(
        self, batch: Batch, noise: Tensor, temperature: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The critics' loss, scalar, and their Q values without gradient, `[2, ...]`."""
        task = batch.task
        with torch.no_grad():
            next_action, next_log_prob = self.actor.sample(batch.next_obs, noise, task)
            next_q = self.value.mean(self.target_critic(batch.next_obs, next_action, task))
            reward = self.rewards(batch.reward, task)
            target = td_target(reward, batch.discount, next_q, next_log_prob, temperature)
        raw = self.critic(batch.obs, batch.action, task)  # [2, ..., output]
        loss = self.value.loss(raw, target).mean(dim=tuple(range(1, target.dim() + 1))).sum()
        return loss, self.value.mean(raw.detach())

    def actor_objective(
        self, batch: Batch, noise: Tensor, temperature: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The actor's loss, scalar, and the log-probability of its actions without gradient."""
        action, log_prob = self.actor.sample(batch.obs, noise, batch.task)
        q = self.value.mean(self.critic(batch.obs, action, batch.task))  # [2, ...]
        return actor_loss(q, log_prob, temperature, weight), log_prob.detach()

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

    def set_progress(self, fraction: float) -> None:
        """Learning rates at a fraction of the run: linear, from the first to the final ones."""
        factor = 1 + fraction * (self.settings.final_lr_fraction - 1)
        self.optimizers["actor"].param_groups[0]["lr"] = factor * self.settings.actor_lr
        self.optimizers["critic"].param_groups[0]["lr"] = factor * self.settings.critic_lr
