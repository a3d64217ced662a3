"""Settings of the networks: widths, gates, winners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen

from configs.ranges import STRICT, Count, Fraction, Hundreds, Units

Activation = Literal[
    "relu",
    "k_winners",
    "annealed_k_winners",
    "boosted_k_winners",
    "soft_winners",
    "threshold_winners",
    "nucleus_winners",
]

Gating = Literal[
    "abs_max_signed",
    "max",
    "abs_max_unsigned",
    "additive_bias",
    "attention",
    "single_segment",
    "gate_table",
    "film",
    "gating_mlp",
]


@dataclass(frozen=True)
class NetworkConfig:
    """Actor and critics: a stack of (dendritic) layers and a plain linear head."""

    __pydantic_config__ = STRICT

    kind: Literal["dendritic", "mlp"] = "dendritic"
    """dendritic: the task context gates the units; mlp: it is concatenated to the input."""
    match_parameters: bool = True
    """mlp, gate_table, single_segment, film: scale the widths to as many parameters as all segments have."""
    parameter_factor: Annotated[float, Gt(0), Le(100)] = 1.0
    """With match_parameters: so many times as many."""
    actor_hidden: Annotated[tuple[Units, ...], MinLen(1), MaxLen(16)] = (256, 256)
    """Units in each hidden layer of the actor."""
    critic_hidden: Annotated[tuple[Units, ...], MinLen(1), MaxLen(16)] = (256, 256)
    """Units in each hidden layer of each of the two critics."""
    dendritic_layers: tuple[Count, ...] = (0, 1)
    """Hidden layers (counted from 0) whose units have dendritic segments."""
    num_segments: Hundreds = 10
    """Dendritic segments per unit."""
    gating: Gating = "abs_max_signed"
    """How the segments act on their unit, or what stands in their place (docs/architecture.md has the
    equations)."""
    attention_temperature: Annotated[float, Ge(1e-6), Le(100)] = 0.1
    """attention: how far it is from letting the strongest segment win."""
    activation: Activation = "k_winners"
    """Hidden activation; k_winners keeps the largest units and has no ReLU. The other kinds of winners are
    in docs/architecture.md."""
    winners_density: Annotated[tuple[Fraction, ...], MinLen(1)] = (0.25,)
    """Fraction of units that k-winners keeps: one value for all hidden layers, or one for each."""
    first_winners_density: Fraction = 0.9
    """annealed_k_winners: the fraction at the start."""
    winners_annealing: Fraction = 0.3
    """annealed_k_winners, boosted_k_winners, soft_winners: the fraction of training after which the density
    has fallen, the boost has faded, the choice is sharp."""
    winners_boost: Annotated[float, Ge(0), Le(100)] = 1.0
    """boosted_k_winners: how much the score of a unit that is never active gains at the start, in standard
    deviations, times the density."""
    winners_mass: Fraction = 0.628
    """nucleus_winners: the share of the softmax that passes; 0.628 of a normal row is a quarter of its units."""
    layer_norm: bool = True
    """LayerNorm between the linear map and the gate of every hidden layer."""
    weight_density: Fraction = 1.0
    """Fraction of non-zero feed-forward weights, per unit; 1 is dense. An mlp is always dense, and is
    matched to the network with dendrites that has this density."""
    segment_density: Fraction = 1.0
    """Fraction of non-zero weights, per dendritic segment; 1 is dense. What stands in the place of
    segments is dense, and is matched to them."""
    context: Literal["one_hot", "embedding"] = "one_hot"
    """What the segments (or the mlp's input) see of the task."""
    embedding_size: Units = 32
    """Width of the learned context when context is embedding."""
    context_density: Fraction | Literal["auto"] = "auto"
    """Context density that the segments' initialisation assumes; the published code's is 1."""


_NOT_DENDRITES: dict[Gating, str] = {
    "film": "FiLM",
    "gating_mlp": "gating MLP",
    "gate_table": "table of gates",
}


def gates_in_words(network: NetworkConfig) -> str:
    """`dendrites`, or what stands in their place: `FiLM`, `gating MLP`, `table of gates`, `MLP`."""
    return "MLP" if network.kind == "mlp" else _NOT_DENDRITES.get(network.gating, "dendrites")
