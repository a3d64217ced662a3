"""The hidden layers of every network: what a task's context does to them.

Data is task-major wherever possible: `[T, b, features]` with T tasks and b samples of each, and the
task is the position along T. A batch of groups is `[G, b, features]` with `task [G, 1]`, the task of
each group; one in any order is `[n, features]` with `task [n]`, the task index of each sample.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Generator, Tensor, nn

from agent.activations import first_density, of_task, other_winners, winners_density
from agent.task_major import per_sample
from configs.network import NetworkConfig
from dendrites import DendriticLayer, SparseLinear


class Trunk(nn.Module):
    """Hidden layers with a task context, for one network or a stack of E.

    `kind: dendritic` gates units by the context; `kind: mlp` concatenates it to the input. The gates
    depend on the context alone, so they are computed once per task, not once per sample.

    Args:
        input_size: features without the context.
        hidden: units of each layer.
        config: network settings.
        num_tasks: T.
        stack: `None`, or E independent copies.
        product_dtype: of the products of the second and later layers. The first is always float32: at
            0.6 m, bfloat16 tells positions apart that differ by 4 mm, not by 2.
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
        product_dtype: torch.dtype,
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
        auto = config.context_density == "auto"
        features = input_size + (context_size if self.concatenates_context else 0)
        input_density = 1.0
        self.layers = nn.ModuleList()
        for index, units in enumerate(hidden):
            gated = config.kind == "dendritic" and index in config.dendritic_layers
            self.layers.append(
                DendriticLayer(
                    features,
                    units,
                    context_size=context_size if gated else None,
                    num_segments=config.num_segments,
                    gating=config.gating,
                    attention_temperature=config.attention_temperature,
                    winners=winners_density(config, index),
                    activation=other_winners(
                        config, index, units, num_tasks=num_tasks, stack=stack
                    ),
                    layer_norm=config.layer_norm,
                    weight_density=config.weight_density if config.kind == "dendritic" else 1.0,
                    segment_density=config.segment_density,
                    input_density=input_density,
                    context_density=1 / context_size
                    if auto
                    else cast(float, config.context_density),
                    stack=stack,
                    product_dtype=None if index == 0 else product_dtype,
                    generator=generator,
                )
            )
            features, input_density = units, first_density(config, index)

    def extra_repr(self) -> str:
        """How the task comes in, for `print`."""
        how = "concatenated to the input" if self.concatenates_context else "gates the units"
        copies = "" if self.stack is None else f", stack={self.stack}"
        return f"tasks={self.context.shape[-2]}, context={self.context.shape[-1]} ({how}){copies}"

    def gates(self, context: Tensor | None = None) -> list[Tensor | None]:
        """What the dendrites of every layer say to each context; `None` for a layer without any.

        Args:
            context: `[*E, T, C]`, in place of the network's own of its T tasks.

        Returns:
            `[*E, T, units]` for each layer.
        """
        context = self.context if context is None else context
        return [cast(DendriticLayer, layer).gate(context) for layer in self.layers]

    def forward(
        self, x: Tensor, task: Tensor | None = None, context: Tensor | None = None
    ) -> Tensor:
        """Features of the last hidden layer.

        Args:
            x: `[T, b, in]`, `[G, b, in]` with `task [G, 1]`, or `[n, in]` with `task [n]`.
            task: task index of each group or sample, int64.
            context: `[T, C]` (for a stack also `[E, T, C]`): contexts in place of the network's own.

        Returns:
            `[*E, T, b, units]`, or `[*E, n, units]`.
        """
        return self.hidden(x, task, context)[-1]

    def hidden(
        self, x: Tensor, task: Tensor | None = None, context: Tensor | None = None
    ) -> list[Tensor]:
        """What every hidden layer says; arguments and shapes as in `forward`."""
        before = self._preactivations(x, task, context)
        layers = [cast(DendriticLayer, layer) for layer in self.layers]
        return [
            of_task(layer.activation, task)(one) for layer, one in zip(layers, before, strict=True)
        ]

    def into(
        self,
        head: SparseLinear,
        x: Tensor,
        task: Tensor | None = None,
        context: Tensor | None = None,
    ) -> Tensor:
        """`head(self(x, task, context))`, the last activation and the head's product as one."""
        last = cast(DendriticLayer, self.layers[-1])
        after = of_task(last.activation, task)
        outputs: Tensor = head(self._preactivations(x, task, context)[-1], after)
        return outputs

    def _preactivations(
        self, x: Tensor, task: Tensor | None, context: Tensor | None
    ) -> list[Tensor]:
        """What the activation of every layer is given."""
        if context is None:
            context = self.context
        elif self.stack is not None and context.dim() == 2:
            context = context.expand(self.stack, -1, -1)  # [E, T, C]
        gates = self.gates(context)
        if self.stack is not None:
            x = x.expand(self.stack, *x.shape)  # [E, T, b, in]
        if self.concatenates_context:
            own = per_sample(context, task, dim=-2)  # [*E, T, 1, C] or [*E, n, C]
            x = torch.cat([x, own.expand(*x.shape[:-1], -1)], dim=-1)
        found, after = [], None
        for module, gate in zip(self.layers, gates, strict=True):
            layer = cast(DendriticLayer, module)
            own_gate = None if gate is None else per_sample(gate, task, dim=-2)
            x = layer.preactivation(x, own_gate, after)
            found.append(x)
            after = of_task(layer.activation, task)
        return found
