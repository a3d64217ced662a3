"""Actor and twin critics on a shared trunk design (`agent/trunk.py`)."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from agent.activations import first_density, winners_density
from agent.trunk import Trunk
from configs.network import NetworkConfig
from dendrites import DendriticSegments, FiLM, SparseLinear, skips_losers, winners_count


class _Network(nn.Module):
    """Trunk and a plain linear head, never gated (arXiv 2201.00042)."""

    def __init__(
        self,
        input_size: int,
        output_size: int,
        hidden: tuple[int, ...],
        config: NetworkConfig,
        *,
        num_tasks: int,
        stack: int | None,
        product_dtype: torch.dtype,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.trunk = Trunk(
            input_size,
            hidden,
            config,
            num_tasks=num_tasks,
            stack=stack,
            product_dtype=product_dtype,
            generator=generator,
        )
        self.head = SparseLinear(
            hidden[-1],
            output_size,
            weight_density=config.weight_density if config.kind == "dendritic" else 1.0,
            input_density=first_density(config, len(hidden) - 1),
            stack=stack,
            generator=generator,
        )

    def shared_parameters(self) -> list[nn.Parameter]:
        """What all tasks share: linear maps, norms, the head and gating MLPs.

        Without segments, FiLM's scales and shifts, and contexts: those are each task's own with one-hot contexts.
        """
        own = {
            id(parameter)
            for module in self.modules()
            if isinstance(module, DendriticSegments | FiLM)
            for parameter in module.parameters()
        }
        return [
            parameter
            for name, parameter in self.named_parameters()
            if id(parameter) not in own and name != "trunk.context"
        ]


class Actor(_Network):
    """Squashed-Gaussian policy (Haarnoja et al. 2018, arXiv 1812.05905, appendix C)."""

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        config: NetworkConfig,
        *,
        num_tasks: int,
        log_std_bounds: tuple[float, float],
        product_dtype: torch.dtype = torch.float32,
        generator: Generator,
    ) -> None:
        super().__init__(
            obs_size,
            2 * action_size,
            config.actor_hidden,
            config,
            num_tasks=num_tasks,
            stack=None,
            product_dtype=product_dtype,
            generator=generator,
        )
        self.log_std_bounds = log_std_bounds

    def forward(
        self, obs: Tensor, task: Tensor | None = None, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation before squashing, each `[..., action]`, float32.

        `obs`, `task` and `context` as in `Trunk.forward`.
        """
        mean, log_std = self.trunk.into(self.head, obs, task, context).chunk(2, dim=-1)
        return mean, log_std.clamp(*self.log_std_bounds)

    def sample(
        self, obs: Tensor, noise: Tensor, task: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Reparameterised action in (-1, 1) `[..., action]` and its log-probability `[...]`.

        `noise [..., action]` is standard normal.
        """
        mean, log_std = self(obs, task)
        pre_tanh = mean + log_std.exp() * noise
        return torch.tanh(pre_tanh), squashed_log_prob(pre_tanh, noise, log_std)


class TwinCritic(_Network):
    """Two Q networks as one stacked module; the leading dimension 2 tells them apart."""

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        output_size: int,
        config: NetworkConfig,
        *,
        num_tasks: int,
        product_dtype: torch.dtype = torch.float32,
        generator: Generator,
    ) -> None:
        super().__init__(
            obs_size + action_size,
            output_size,
            config.critic_hidden,
            config,
            num_tasks=num_tasks,
            stack=2,
            product_dtype=product_dtype,
            generator=generator,
        )

    def forward(
        self,
        obs: Tensor,
        action: Tensor,
        task: Tensor | None = None,
        context: Tensor | None = None,
    ) -> Tensor:
        """Raw head outputs `[2, ..., output_size]`; `agent/value_heads.py` turns them into Q values."""
        return self.trunk.into(self.head, torch.cat([obs, action], dim=-1), task, context)


def squashed_log_prob(pre_tanh: Tensor, noise: Tensor, log_std: Tensor) -> Tensor:
    """Log pi(a | s) of a = tanh(u), u = mean + std * noise (arXiv 1812.05905, eq. 26).

    The Jacobian is exact: log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u)).

    Args:
        pre_tanh, noise, log_std: u, the standard normal behind it, and log std, `[..., action]`.

    Returns:
        `[...]`, summed over action dimensions [nats].
    """
    log_normal = -0.5 * (noise.square() + math.log(2 * math.pi)) - log_std
    log_jacobian = 2 * (math.log(2.0) - pre_tanh - nn.functional.softplus(-2 * pre_tanh))
    return (log_normal - log_jacobian).sum(dim=-1)


def describe_products(
    network: NetworkConfig,
    outputs: tuple[int, int],
    precision: torch.dtype,
    device: torch.device,
) -> str:
    """One line: how many of the maps after k-winners leave the losers out, and how many do not.

    `outputs` are those of the actor's head and of a critic's; heads are always float32.
    """
    if network.activation != "k_winners":
        return "no k-winners: dense products"
    leaves_out = []
    for hidden, size in zip((network.actor_hidden, network.critic_hidden), outputs, strict=True):
        for index, units in enumerate(hidden):
            last = index == len(hidden) - 1
            dtype = torch.float32 if last else precision
            out = size if last else hidden[index + 1]
            winners = winners_count(units, winners_density(network, index) or 1.0)
            leaves_out.append(skips_losers(units, winners, out, dtype, device))
    return f"k-winners: {sum(leaves_out)} of the {len(leaves_out)} maps after them leave the losers out"
