"""The network of train_permuted_mnist.py: hidden layers that a context may gate, and one head."""

from __future__ import annotations

from typing import cast

import torch
from torch import Generator, Tensor, nn

from configs.permuted_mnist.schema import NetworkConfig
from dendrites import DendriticLayer, SparseLinear

CLASSES = 10
Gates = list[Tensor | None]
"""One for each hidden layer; `None` where nothing gates it."""


class PermutedNetwork(nn.Module):
    """(Dendritic) hidden layers and a linear head of ten classes.

    Args:
        config: network settings.
        pixels: of an image.
        context_size: C.
        product_dtype: of the hidden layers' products, `None` for float32.
        generator: source of all randomness.
    """

    def __init__(
        self,
        config: NetworkConfig,
        *,
        pixels: int,
        context_size: int,
        product_dtype: torch.dtype | None,
        generator: Generator,
    ) -> None:
        super().__init__()
        winners = config.winners_density if config.activation == "k_winners" else None
        features, density = pixels, 1.0
        self.layers = nn.ModuleList()
        self.open_units = nn.ParameterList()  # xdg: [C, units] of 0 and 1, never trained
        for units in config.hidden:
            self.layers.append(
                DendriticLayer(
                    features,
                    units,
                    context_size=context_size if config.kind == "dendritic" else None,
                    num_segments=config.num_segments,
                    winners=winners,
                    weight_density=config.weight_density,
                    input_density=density,
                    context_density=config.context_density,
                    product_dtype=product_dtype,
                    generator=generator,
                )
            )
            if config.kind == "xdg":
                self.open_units.append(_open_units(context_size, units, config, generator))
            features, density = units, winners or 1.0
        self.head = SparseLinear(
            features,
            CLASSES,
            weight_density=config.weight_density,
            input_density=density,
            generator=generator,
        )

    def gates(self, contexts: Tensor) -> Gates:
        """What each hidden layer does with some contexts: `[K, C] -> [K, units]` for each layer."""
        if len(self.open_units):
            return [contexts @ table for table in self.open_units]
        return [cast(DendriticLayer, layer).gate(contexts) for layer in self.layers]

    def forward(self, images: Tensor, gates: Gates) -> Tensor:
        """Logits: `images [n, pixels]`, gates `[n, units]` or `[units]` -> `[n, 10]`."""
        x, after = images, None
        for module, gate in zip(self.layers, gates, strict=True):
            layer = cast(DendriticLayer, module)
            if layer.dendrites is None and gate is not None:
                x = layer.preactivation(x, None, after) * gate
            else:
                x = layer.preactivation(x, gate, after)
            after = layer.activation
        logits: Tensor = self.head(x, after)
        return logits

    def feed_forward(self) -> list[nn.Parameter]:
        """Weights and biases, those of the dendritic segments left out."""
        linear = [cast(DendriticLayer, layer).linear for layer in self.layers]
        return [parameter for part in (*linear, self.head) for parameter in part.parameters()]


def _open_units(
    tasks: int, units: int, config: NetworkConfig, generator: Generator
) -> nn.Parameter:
    """Which units each task has `[tasks, units]`: equally many in each, drawn at random."""
    off = min(round(config.gated_off * units), units - 1)  # at least one stays
    rank = torch.rand(tasks, units, generator=generator).argsort(dim=1).argsort(dim=1)
    return nn.Parameter((rank >= off).float(), requires_grad=False)
