"""Milliseconds per gradient step: naive, MLP, dendrites, with and without k-winners."""

from __future__ import annotations

import multiprocessing
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from statistics import median
from typing import Literal

import torch
from torch import Generator, Tensor

from agent.devices import configure_cpu, resolve_device
from agent.replay import Batch
from agent.sac import SAC
from benchmarks.costs import measure_rates, update_costs, wait_for
from benchmarks.measuring import Result, Spread, interleave, ratio
from benchmarks.naive import make_naive
from configs import Config, UsageError, load_config
from envs import ACTION_SIZE, OBS_SIZE
from envs.worker_handle import children_skip_main, usable_cores

Kind = Literal["naive", "mlp", "matched mlp", "dendrites relu", "dendrites k-winners"]
FAST: tuple[str, Literal["bfloat16"]] = ("compiled", "bfloat16")
OTHERS: tuple[tuple[str, Literal["float32", "bfloat16"]], ...] = (
    ("eager", "float32"),
    ("eager", "bfloat16"),
    ("compiled", "float32"),
)
RATIOS: dict[str, tuple[Kind, Kind]] = {
    "dendrites_kwinners_over_mlp": ("dendrites k-winners", "mlp"),
    "dendrites_kwinners_over_matched_mlp": ("dendrites k-winners", "matched mlp"),
    "dendrites_relu_over_mlp": ("dendrites relu", "mlp"),
}


@dataclass(frozen=True)
class Variant:
    """One way to compute the update."""

    size: str
    kind: Kind
    mode: str
    precision: Literal["float32", "bfloat16"]

    def __str__(self) -> str:
        return f"{self.size}: {self.kind}, {self.mode} {self.precision}"

    def config(self) -> Config:
        """Its configuration."""
        config = load_config("paper" if self.size == "paper" else "mt10")
        if self.size == "3 x 400":
            hidden = (400, 400, 400)
            config = replace(
                config,
                replay=replace(config.replay, batch_size=1280),
                network=replace(
                    config.network,
                    actor_hidden=hidden,
                    critic_hidden=hidden,
                    dendritic_layers=(0, 1, 2),
                ),
            )
        mlp = self.kind in ("mlp", "matched mlp")
        return replace(
            config,
            compile="auto" if self.mode == "compiled" else "never",
            precision=self.precision,
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


def variants(size: str, quick: bool) -> list[Variant]:
    """What is compared at a size."""
    naive = Variant(size, "naive", "eager", "float32")
    if size == "paper":
        return [naive, Variant(size, "dendrites k-winners", *FAST)]
    if size == "3 x 400" and quick:
        return [Variant(size, kind, *FAST) for kind in ("mlp", "dendrites k-winners")]
    kinds: list[Kind] = ["mlp", "matched mlp", "dendrites relu", "dendrites k-winners"]
    fast = [Variant(size, kind, *FAST) for kind in kinds]
    if quick:
        return [naive, Variant(size, "dendrites k-winners", "eager", "float32"), *fast]
    others = [Variant(size, kind, mode, precision) for kind in kinds for mode, precision in OTHERS]
    return [naive, *others, *fast]


def benchmark_update(quick: bool) -> Result:
    """All sizes, one after the other; the variants of a size take turns."""
    torch.set_num_threads(usable_cores())
    device = resolve_device("auto")
    result, rates = Result(unit="ms per update"), measure_rates(device)
    result.notes["threads"] = torch.get_num_threads()
    result.notes["float32 GFLOP/s of a large product"] = round(rates.float32_flops / 1e9)
    result.notes["bfloat16 GFLOP/s of a large product"] = round(rates.bfloat16_flops / 1e9)
    for size, rounds, updates in (("mt10", 15, 6), ("3 x 400", 10, 4), ("paper", 2, 1)):
        times = _measure(variants(size, quick), rounds if quick else 2 * rounds, updates)
        result.measured |= {str(variant): Spread.of(ms) for variant, ms in times.items()}
        ours = Variant(size, "dendrites k-winners", *FAST)
        suffix = "" if size == "mt10" else f"_{size.replace(' ', '')}"
        for name, kinds in RATIOS.items():
            top, bottom = (replace(ours, kind=kind) for kind in kinds)
            if top in times and bottom in times:
                result.ratios[name + suffix] = ratio(times[top], times[bottom])
        naive = Variant(size, "naive", "eager", "float32")
        if naive in times:
            result.ratios["naive_over_ours" + suffix] = ratio(times[naive], times[ours])
            eager = replace(naive, kind="dendrites k-winners")
            if eager in times:
                result.ratios["naive_over_eager" + suffix] = ratio(times[naive], times[eager])
        ceiling = update_costs(ours.config(), device).ceiling_ms(rates)
        share = ceiling / result.measured[str(ours)].median
        result.notes[f"products alone, {ours}"] = f"{ceiling:.1f} ms, {share:.0%} of the update"
    return result


def _measure(group: list[Variant], rounds: int, updates: int) -> dict[Variant, list[float]]:
    """Milliseconds per update in each round, every variant in a process of its own.

    The compiler's guards look through all compiled versions of a function, so variants that share a
    process slow each other down.
    """
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pipes: dict[Variant, Connection] = {}
        for variant in group:
            pipes[variant], theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, variant), daemon=True)
            with children_skip_main():
                process.start()
            theirs.close()
            stack.callback(process.join)
            stack.callback(pipes[variant].close)  # it ends when it finds no one there
            _receive(variant, pipes[variant])  # one at a time: they compile now

        def run(variant: Variant) -> float:
            pipes[variant].send(updates)
            return _receive(variant, pipes[variant])

        return interleave({variant: partial(run, variant) for variant in group}, rounds)


def _receive(variant: Variant, pipe: Connection) -> float:
    """The next answer of a variant's process."""
    try:
        milliseconds: float = pipe.recv()
    except EOFError:
        raise UsageError(f"{variant}: its process died; out of memory?") from None
    return milliseconds


def _serve(pipe: Connection, variant: Variant) -> None:
    """The process of one variant: so many updates, median milliseconds, until told to stop."""
    if variant.kind == "naive":
        torch.set_num_threads(usable_cores())
    else:
        configure_cpu(usable_cores())
    config, generator = variant.config(), Generator().manual_seed(0)
    device = resolve_device("auto")
    agent = SAC(config, OBS_SIZE, ACTION_SIZE, device, generator)
    if variant.kind == "naive":
        make_naive(agent)
    batches = [random_batch(config, generator, device) for _ in range(4)]
    agent.update(*batches[0])
    pipe.send(0.0)
    while True:
        try:
            updates = pipe.recv()
        except EOFError:
            return
        milliseconds = []
        for index in range(updates):
            start = time.perf_counter()
            agent.update(*batches[index % len(batches)])
            wait_for(device)
            milliseconds.append(1e3 * (time.perf_counter() - start))
        pipe.send(median(milliseconds))


def random_batch(
    config: Config, generator: Generator, device: torch.device
) -> tuple[Batch, Tensor]:
    """A batch as the replay buffer would draw it for this configuration, and the update's noise."""
    tasks, n = len(config.env.tasks), config.replay.batch_size
    uniform = config.replay.sampling == "uniform"
    shape = (n,) if uniform else (tasks, n // tasks)

    def uniformly(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator).to(device)

    batch = Batch(
        obs=uniformly(*shape, OBS_SIZE),
        action=2 * uniformly(*shape, ACTION_SIZE) - 1,
        reward=uniformly(*shape),
        next_obs=uniformly(*shape, OBS_SIZE),
        discount=0.99 * (uniformly(*shape) > 0.2),
        rows=(torch.arange(n) % tasks).to(device) if uniform else None,
    )
    return batch, torch.randn(2, *shape, ACTION_SIZE, generator=generator).to(device)
