"""Multi-task Soft Actor-Critic: actor, twin critics, one temperature per task, their optimisers."""

from __future__ import annotations

import copy
import math

import torch
from torch import Generator, Tensor, nn

from agent.activations import following, unchanged, winners_of
from agent.batch import Batch
from agent.descent import Descent, descend
from agent.losses import actor_loss, task_weights, td_target, temperature_loss
from agent.networks import Actor, TwinCritic
from agent.observations import ObservationNormalizer
from agent.plan import Plan
from agent.policy import Policy
from agent.rewards import RewardNormalizer
from agent.task_major import TASKS_PRESENT, per_sample, per_task, tasks_present
from agent.value_heads import make_value_head
from configs.protection import ProtectionConfig
from continual.synaptic_intelligence import SynapticIntelligence
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
        if settings.neutral_start:
            for parameter in self.actor.head.parameters():
                nn.init.zeros_(parameter)
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
        self._winners = winners_of(self)
        self.to(plan.device)
        self.policy = Policy(self.observations, self.actor)
        self._on_gpu = plan.device.type == "cuda"
        mode = config.machine.compile
        self._critic_objective = Compiled(self.critic_objective, mode, self._on_gpu)
        self._actor_objective = Compiled(self.actor_objective, mode, self._on_gpu)
        self._forgets_moments = config.training.reset_optimizer
        temperature = [self.log_temperature]
        self.descents = {
            "actor": self._descent(self.actor, settings.actor_lr, config.protection),
            "critic": self._descent(
                self.critic,
                settings.critic_lr,
                config.protection if settings.protects == "actor_and_critics" else None,
            ),
            "temperature": Descent(temperature, settings.temperature_lr, weight_decay=0.0),
        }

    def update(self, batch: Batch, noise: Tensor) -> dict[str, Tensor]:
        """One gradient step: critics, actor, temperatures, targets, in the published order.

        Args:
            batch: transitions, in any of its layouts.
            noise: `[2, ..., action]` standard normal, for the next action and the new action.

        Returns:
            Detached tensors: scalar losses, 1 for each optimiser that skipped its step, L2 norms of the
            gradients, and per task `[T]` the mean Q of the batch, the policy's entropy and the temperature.
            Q and entropy are 0 for a task without a sample; `TASKS_PRESENT` is 1 for the others.
        """
        if self._on_gpu:
            torch.compiler.cudagraph_mark_step_begin()
        actor, critic, temperature = self.descents.values()
        with following(self._winners):
            critic_loss, q = self._critic_objective(batch, noise[0])
            (of_critic,) = descend(critic_loss, critic)
            # Constants to the actor: no gradient of their weights.
            self.critic.requires_grad_(False)
            policy_loss, alpha_loss, entropy = self._actor_objective(batch, noise[1])
            of_actor, of_temperature = descend(policy_loss + alpha_loss, actor, temperature)
            self.critic.requires_grad_(True)
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.target_critic.parameters()),
                critic.parameters,
                self.settings.target_update_rate,
            )
        return {
            "losses/critic": critic_loss.detach().clone(),  # a CUDA graph overwrites its results
            "losses/actor": policy_loss.detach().clone(),
            "losses/temperature": alpha_loss.detach().clone(),
            "losses/skipped/critic": of_critic.skipped,
            "losses/skipped/actor": of_actor.skipped,
            "losses/skipped/temperature": of_temperature.skipped,
            "gradients/critic": of_critic.gradient_norm,
            "gradients/actor": of_actor.gradient_norm,
            "values/q": q.clone(),
            "policy/entropy": entropy.clone(),
            "policy/temperature": self.log_temperature.detach().exp(),
            TASKS_PRESENT: tasks_present(batch.task, self.log_temperature.detach()),
        }

    def warm_up(self, batch: Batch, noise: Tensor) -> None:
        """Compile what `update` needs for such a batch, if it is compiled; nothing is learned."""
        with unchanged(self._winners), following(self._winners):
            self._critic_objective.prepare(batch, noise[0])
            self.critic.requires_grad_(False)
            self._actor_objective.prepare(batch, noise[1])
            self.critic.requires_grad_(True)

    def critic_objective(self, batch: Batch, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The critics' loss, scalar, and their mean Q of each task's samples `[T]`."""
        task = batch.task
        obs = self.observations(batch.obs, task)
        with torch.no_grad():
            next_obs = self.observations(batch.next_obs, task)
            next_action, next_log_prob = self.actor.sample(next_obs, noise, task)
            next_q = self.value.mean(self.target_critic(next_obs, next_action, task))
            reward = self.rewards(batch.reward, task)
            temperature = per_sample(self.log_temperature.exp(), task)
            target = td_target(reward, batch.discount, next_q, next_log_prob, temperature)
        raw = self.critic(obs, batch.action, task)  # [2, ..., output]
        loss = self.value.loss(raw, target).mean(dim=tuple(range(1, target.dim() + 1))).sum()
        q = self.value.mean(raw.detach()).mean(dim=0)
        return loss, per_task(q, task, len(self.log_temperature))

    def actor_objective(self, batch: Batch, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The losses of actor and temperatures, scalars, and each task's entropy `[T]` of the policy."""
        task, alpha = batch.task, self.log_temperature.detach().exp()  # [T]
        inverse = self.settings.actor_task_weights == "inverse_temperature"
        weight = per_sample(task_weights(alpha, inverse), task)
        obs = self.observations(batch.obs, task)
        action, log_prob = self.actor.sample(obs, noise, task)
        q = self.value.mean(self.critic(obs, action, task))  # [2, ...]
        policy_loss = actor_loss(q, log_prob, per_sample(alpha, task), weight)
        log_prob, log_temperature = log_prob.detach(), per_sample(self.log_temperature, task)
        alpha_loss = temperature_loss(log_temperature, log_prob, self.target_entropy)
        return policy_loss, alpha_loss, per_task(-log_prob, task, len(alpha))

    def end_task(self) -> None:
        """A task is learned, and the next batch is another's: for tasks one after the other.

        A second call before the next gradient step changes nothing.
        """
        for descent in self.descents.values():
            descent.end_task(self._forgets_moments)

    def set_progress(self, fraction: float) -> None:
        """Learning rates and winners at a fraction of a phase; the rates fall linearly to the final ones."""
        for winners in self._winners:
            winners.set_progress(fraction)
        factor = 1 + fraction * (self.settings.final_lr_fraction - 1)
        self.descents["actor"].lr = factor * self.settings.actor_lr
        self.descents["critic"].lr = factor * self.settings.critic_lr

    def _descent(
        self, network: Actor | TwinCritic, lr: float, protection: ProtectionConfig | None
    ) -> Descent:
        """The optimiser of a network, and what holds the weights that its tasks share.

        Segments and contexts are not held, as in the publication: with one-hot contexts, no other
        task's gradient reaches those of a task that was learned.
        """
        held = None
        if protection is not None and protection.strength > 0:
            held = SynapticIntelligence(
                network.shared_parameters(), protection.strength, protection.damping
            )
        return Descent(network.parameters(), lr, self.settings.weight_decay, held)
