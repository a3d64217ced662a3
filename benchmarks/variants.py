"""What the update benchmark compares: sizes of networks, and ways to compute their gradient step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from configs import Config, load_config

Kind = Literal["naive", "mlp", "matched mlp", "dendrites relu", "dendrites k-winners"]
Mode = Literal["eager", "compiled"]
Precision = Literal["float32", "bfloat16"]
KINDS: tuple[Kind, ...] = ("mlp", "matched mlp", "dendrites relu", "dendrites k-winners")


@dataclass(frozen=True)
class Size:
    """Widths and batch of a measurement, and how often it is repeated."""

    name: str
    rounds: int
    """With --quick; twice as many without."""
    updates: int
    """In a round, of each variant."""
    in_quick: bool = True

    @property
    def suffix(self) -> str:
        """Of the names of its ratios."""
        return "" if self.name == "mt10" else f"_{self.name.replace(' ', '')}"

    def config(self) -> Config:
        """The preset, or mt10 with larger layers and batches."""
        if self.name != "3 x 400":
            return load_config(self.name)
        config, hidden = load_config("mt10"), (400, 400, 400)
        return replace(
            config,
            replay=replace(config.replay, batch_size=1280),
            network=replace(
                config.network,
                actor_hidden=hidden,
                critic_hidden=hidden,
                dendritic_layers=(0, 1, 2),
            ),
        )


SIZES = (
    Size("mt10", rounds=15, updates=20),
    Size("3 x 400", rounds=10, updates=8),
    Size("paper", rounds=2, updates=1, in_quick=False),
)


@dataclass(frozen=True)
class Variant:
    """One way to compute the update."""

    size: Size
    kind: Kind
    mode: Mode
    precision: Precision

    def __str__(self) -> str:
        return f"{self.size.name}: {self.kind}, {self.mode} {self.precision}"

    def config(self) -> Config:
        """Its configuration."""
        config = self.size.config()
        mlp = self.kind in ("mlp", "matched mlp")
        return replace(
            config,
            machine=replace(
                config.machine,
                compile="auto" if self.mode == "compiled" else "never",
                precision=self.precision,
            ),
            replay=replace(
                config.replay, sampling="uniform" if self.kind == "naive" else "balanced"
            ),
            network=replace(
                config.network,
                kind="mlp" if mlp else "dendritic",
                match_parameters=self.kind == "matched mlp",
                activation="relu" if mlp or self.kind == "dendrites relu" else "k_winners",
            ),
        )


def naive(size: Size) -> Variant:
    """The published layer as it stands, which the others are to be faster than."""
    return Variant(size, "naive", "eager", "float32")


def eager(size: Size) -> Variant:
    """Our layer without compiler and bfloat16."""
    return Variant(size, "dendrites k-winners", "eager", "float32")


def fast(size: Size, kind: Kind, precision: Precision) -> Variant:
    """As training computes it, in the precision that is fast on this machine."""
    return Variant(size, kind, "compiled", precision)


def variants(size: Size, quick: bool, precision: Precision) -> list[Variant]:
    """What is compared at a size; `precision` is that of the fast ones.

    A precision that is slow on this machine is not tried: without hardware for it, one bfloat16
    update takes as long as a hundred of float32.
    """
    ours = fast(size, "dendrites k-winners", precision)
    if size.name == "paper":
        return [naive(size), ours]
    if size.name == "3 x 400" and quick:
        return [fast(size, "mlp", precision), ours]
    others = [eager(size)]
    if not quick:
        precisions: set[Precision] = {"float32", precision}
        modes: tuple[Mode, ...] = ("eager", "compiled")
        every = [Variant(size, k, m, p) for k in KINDS for m in modes for p in sorted(precisions)]
        others = [variant for variant in every if (variant.mode, variant.precision) != _key(ours)]
    return [naive(size), *others, *(fast(size, kind, precision) for kind in KINDS)]


def _key(variant: Variant) -> tuple[Mode, Precision]:
    return variant.mode, variant.precision
