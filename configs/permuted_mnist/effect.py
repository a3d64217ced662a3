"""Which settings of train_permuted_mnist.py do something only with certain values of others; see configs/effect.py."""

from __future__ import annotations

from configs.effect import PROTECTION, Effect, Effects, with_winners
from configs.permuted_mnist.schema import PermutedConfig

_PIXELS = {"digits": 64, "mnist": 784}
"""Of an image, by `data.name`."""


def _clusters(config: PermutedConfig) -> bool:
    return config.context.kind == "clustering"


def _of_kind(kind: str) -> Effect:
    return Effect(("network.kind",), lambda config: config.network.kind == kind)


PERMUTED_EFFECTS: Effects = {
    "context.kind": Effect(  # told the task, a network without gates can do nothing with it
        ("network.kind",),
        lambda config: config.network.kind != "plain" or config.context.kind != "one_hot",
    ),
    "context.cluster_pixels": Effect(
        ("context.kind", "data.name"),
        lambda config: (
            _clusters(config) and config.context.cluster_pixels < _PIXELS[config.data.name]
        ),
    ),
    "context.cluster_exemplars": Effect(("context.kind",), _clusters),
    "context.cluster_p_value": Effect(("context.kind",), _clusters),
    "network.winners_density": with_winners("k_winners"),
    "network.num_segments": _of_kind("dendritic"),
    "network.context_density": _of_kind("dendritic"),
    "network.gated_off": _of_kind("xdg"),
    "learning.segment_epsilon": _of_kind("dendritic"),
    "protection.damping": PROTECTION,
}
