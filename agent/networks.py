"""Actor and twin critics on a shared trunk design.

Data is task-major wherever possible: `[T, b, features]` with T tasks and b samples of each, and the
task identity is the position along T. Batches in another order are `[n, features]` with `rows [n]`,
the task index of each sample.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Generator, Tensor, nn

from agent.dendrites import DendriticSegments
from agent.layers import HiddenLayer, StackedLayerNorm, layer_density
from agent.sparse_linear import SparseLinear
from configs.schema import NetworkConfig


class Trunk(nn.Module):
    """Hidden layers with a task context, for one network or a stack of E.

    `kind: dendritic` gates units by the context; `kind: mlp` concatenates it to the input.

    Args:
        input_size: features without the context.
        hidden: units of each layer.
        config: network settings.
        num_tasks: T.
        stack: `None`, or E independent copies.
        generator: source of all randomness.
    """

    def __init__(
        self,
        input_size: int,
        hidden: tuple[int, ...],
        config: NetworkConfig,
        *,
        num_tasks: int,
        stack: int | None,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.stack = stack
        self.context: Tensor
        self.concatenates_context = config.kind == "mlp"
        lead = () if stack is None else (stack,)
        if config.context == "one_hot":
            context = torch.eye(num_tasks).expand(*lead, -1, -1).contiguous()
            self.register_buffer("context", context, persistent=False)  # [*E, T, T]
        else:
            table = torch.randn(*lead, num_tasks, config.embedding_size, generator=generator)
            self.context = nn.Parameter(nn.functional.normalize(table, dim=-1))  # [*E, T, d]
        context_size = self.context.shape[-1]
        density = 1 / context_size if config.context_density == "auto" else config.context_density

        features = input_size + (context_size if self.concatenates_context else 0)
        self.layers = nn.ModuleList()
        input_density = 1.0
        for index, units in enumerate(hidden):
            layer = HiddenLayer(
                features,
                units,
                config,
                index=index,
                input_density=input_density,
                context_size=context_size,
                context_density=density,
                stack=stack,
                generator=generator,
            )
            self.layers.append(layer)
            features, input_density = units, layer_density(config, index)

    def selected_segments(self) -> list[Tensor | None]:
        """What every layer's dendrites say to each task, `[*E, T, 1, units]`; `None` without any."""
        context = self.context.unsqueeze(-2)  # [*E, T, 1, C]
        dendrites = [cast(HiddenLayer, layer).dendrites for layer in self.layers]
        return [None if segments is None else segments.selected(context) for segments in dendrites]

    def forward(
        self,
        x: Tensor,
        rows: Tensor | None = None,
        dtype: torch.dtype | None = None,
        selected: list[Tensor | None] | None = None,
    ) -> Tensor:
        """Features of the last hidden layer.

        Args:
            x: `[T, b, in]`, or `[n, in]` with `rows [n]`.
            rows: task index of each sample, int64.
            dtype: of the products of the second and later layers, if not float32. The first is always
                float32: at 0.6 m, bfloat16 tells positions apart that differ by 4 mm, not by 2.
            selected: `self.selected_segments()`, if they are known already; for task-major `x`.

        Returns:
            `[*E, T, b, units]`, or `[*E, n, units]`.
        """
        context = (
            self.context if rows is not None else self.context.unsqueeze(-2)
        )  # [*E, T(, 1), C]
        if self.stack is not None:
            x = x.expand(self.stack, *x.shape)  # [E, T, b, in]
        if self.concatenates_context:
            task = context if rows is None else context.index_select(-2, rows)
            x = torch.cat([x, task.expand(*x.shape[:-1], -1)], dim=-1)
        for index, layer in enumerate(self.layers):
            own = None if selected is None else selected[index]
            x = layer(x, context, rows, None if index == 0 else dtype, own)
        return x


class _Network(nn.Module):
    """Trunk and a plain linear head, never gated (spec, 1.1)."""

    def __init__(
        self,
        input_size: int,
        output_size: int,
        hidden: tuple[int, ...],
        config: NetworkConfig,
        *,
        num_tasks: int,
        stack: int | None,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.trunk = Trunk(
            input_size, hidden, config, num_tasks=num_tasks, stack=stack, generator=generator
        )
        self.head = SparseLinear(
            hidden[-1],
            output_size,
            weight_density=config.weight_density if config.kind == "dendritic" else 1.0,
            input_density=layer_density(config, len(hidden) - 1),
            stack=stack,
            generator=generator,
        )


class Actor(_Network):
    """Squashed-Gaussian policy (Haarnoja et al. 2018, arXiv 1812.05905, appendix C)."""

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        hidden: tuple[int, ...],
        config: NetworkConfig,
        *,
        num_tasks: int,
        log_std_bounds: tuple[float, float],
        generator: Generator,
    ) -> None:
        super().__init__(
            obs_size,
            2 * action_size,
            hidden,
            config,
            num_tasks=num_tasks,
            stack=None,
            generator=generator,
        )
        self.log_std_bounds = log_std_bounds

    def forward(
        self,
        obs: Tensor,
        rows: Tensor | None = None,
        dtype: torch.dtype | None = None,
        selected: list[Tensor | None] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation before squashing, each `[..., action]`, float32.

        `dtype`, here and below, is that of the products between hidden layers, `selected` what the
        dendrites say (`Trunk.forward`).
        """
        mean, log_std = self.head(self.trunk(obs, rows, dtype, selected)).chunk(2, dim=-1)
        return mean, log_std.clamp(*self.log_std_bounds)

    def sample(
        self,
        obs: Tensor,
        noise: Tensor,
        rows: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Reparameterised action in (-1, 1) `[..., action]` and its log-probability `[...]`.

        `noise [..., action]` is standard normal.
        """
        mean, log_std = self(obs, rows, dtype)
        pre_tanh = mean + log_std.exp() * noise
        return torch.tanh(pre_tanh), squashed_log_prob(pre_tanh, noise, log_std)


class TwinCritic(_Network):
    """Two Q networks as one stacked module; the leading dimension 2 tells them apart."""

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        output_size: int,
        hidden: tuple[int, ...],
        config: NetworkConfig,
        *,
        num_tasks: int,
        generator: Generator,
    ) -> None:
        super().__init__(
            obs_size + action_size,
            output_size,
            hidden,
            config,
            num_tasks=num_tasks,
            stack=2,
            generator=generator,
        )

    def forward(
        self,
        obs: Tensor,
        action: Tensor,
        rows: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Raw head outputs `[2, ..., output_size]`; `agent/values.py` turns them into Q values."""
        return self.head(self.trunk(torch.cat([obs, action], dim=-1), rows, dtype))


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


def nonzero_parameters(module: nn.Module) -> int:
    """Trainable parameters of a network that its masks leave."""
    total = 0
    for part in module.modules():
        if isinstance(part, (SparseLinear, DendriticSegments, StackedLayerNorm)):
            total += part.nonzero_parameters()
        elif isinstance(part, Trunk) and isinstance(part.context, nn.Parameter):
            total += part.context.numel()
    return total
