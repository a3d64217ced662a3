"""Layers with active dendrites, for PyTorch: a context decides which units take part.

Source: Iyer et al. 2022 (arXiv 2201.00042). The package stands alone: it needs torch and numpy only.

    from dendrites import DendriticLayer

    layer = DendriticLayer(784, 2048, context_size=784, num_segments=10, winners=0.05)
    y = layer(x, context)        # x [b, 784]; context [784] or [b, 784]

`layer.gate(context)` and `layer.gated(x, gate)` are its two halves: what the dendrites say, to look
at or to compute once per task, and the rest.
"""

from __future__ import annotations

from dendrites.active_product import leaves_out_silent, product_of_active
from dendrites.layer import LAYER_GATINGS, DendriticLayer, LayerGating
from dendrites.norm import StackedLayerNorm
from dendrites.other_gates import FiLM, GatingMLP, gating_mlp_width
from dendrites.other_winners import (
    AnnealedKWinners,
    BoostedKWinners,
    NucleusWinners,
    OtherWinners,
    SoftWinners,
    ThresholdWinners,
)
from dendrites.parameters import nonzero_parameters
from dendrites.segments import GATINGS, DendriticSegments, Gating, strongest_segment
from dendrites.sparse_linear import SparseLinear, nonzeros_per_row
from dendrites.winners import KWinners, k_winners, winners_count
from dendrites.winners_product import product_of_winners, skips_losers

__all__ = [
    "GATINGS",
    "LAYER_GATINGS",
    "AnnealedKWinners",
    "BoostedKWinners",
    "DendriticLayer",
    "DendriticSegments",
    "FiLM",
    "Gating",
    "GatingMLP",
    "KWinners",
    "LayerGating",
    "NucleusWinners",
    "OtherWinners",
    "SoftWinners",
    "SparseLinear",
    "StackedLayerNorm",
    "ThresholdWinners",
    "gating_mlp_width",
    "k_winners",
    "leaves_out_silent",
    "nonzero_parameters",
    "nonzeros_per_row",
    "product_of_active",
    "product_of_winners",
    "skips_losers",
    "strongest_segment",
    "winners_count",
]
