"""The benchmarks measure what they say: the naive update is the same update, costs are counted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import ROOT, run_python
from torch.utils.flop_counter import FlopCounterMode

from agent.sac import SAC
from benchmarks.costs import Costs, Rates, update_costs
from benchmarks.measuring import Result, Spread, interleave, ratio
from benchmarks.naive import make_naive
from benchmarks.update import random_batch
from configs import Config, load_config
from envs import ACTION_SIZE, OBS_SIZE

TASKS, SAMPLES = 3, 24


def small(preset: str = "mt10", **network: object) -> Config:
    base = load_config(preset)
    sizes = {"actor_hidden": (20, 24), "critic_hidden": (28, 16), "match_parameters": False}
    return replace(
        base,
        compile="never",
        precision="float32",
        env=replace(base.env, tasks=base.env.tasks[:TASKS]),
        replay=replace(base.replay, batch_size=SAMPLES, sampling="uniform"),
        network=replace(base.network, **(sizes | network)),
    )


def updated(config: Config, naive: bool = False) -> tuple[SAC, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    agent = SAC(config, OBS_SIZE, ACTION_SIZE, torch.device("cpu"), generator)
    if naive:
        make_naive(agent)
    return agent, agent.update(*random_batch(config, generator, torch.device("cpu")))


@pytest.mark.parametrize("activation", ["k_winners", "relu"])
@pytest.mark.parametrize("preset", ["mt10", "paper"])
def test_the_naive_update_is_the_same_update(preset: str, activation: str) -> None:
    config = small(preset, activation=activation)
    (ours, metrics), (naive, naive_metrics) = updated(config), updated(config, naive=True)
    for key, value in metrics.items():
        torch.testing.assert_close(naive_metrics[key], value, rtol=1e-4, atol=1e-5, msg=key)
    for mine, theirs in zip(ours.parameters(), naive.parameters(), strict=True):
        close = (mine - theirs).abs() < 1e-4  # Adam's first step is the gradient's sign
        assert close.float().mean() > 0.98


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_costs_count_the_products_that_torch_counts(precision: str) -> None:
    config = replace(small(kind="mlp", activation="relu"), precision=precision)
    config = replace(config, agent=replace(config.agent, observation_frame="world"))  # not counted
    with FlopCounterMode(display=False) as counter:
        updated(config)
    costs = update_costs(config, torch.device("cpu"))
    assert costs.float32_flop + costs.bfloat16_flop == counter.get_total_flops()
    assert (costs.bfloat16_flop > 0) == (precision == "bfloat16")


def test_ceiling_by_hand() -> None:
    costs = Costs(2e9, 6e9, activation_bytes=0, parameter_bytes=0)
    assert costs.ceiling_ms(Rates(1e12, 3e12)) == pytest.approx(4.0)


def test_jobs_take_turns_and_ratios_are_within_rounds() -> None:
    calls: list[str] = []
    jobs = {name: lambda name=name: calls.append(name) or float(len(calls)) for name in "ab"}
    measured = interleave(jobs, rounds=3)
    assert calls == list("ab" * 4)  # the first round is not measured
    assert measured == {"a": [3.0, 5.0, 7.0], "b": [4.0, 6.0, 8.0]}
    assert ratio([2.0, 9.0, 4.0], [1.0, 3.0, 4.0], factor=0.5) == Spread(1.0, 0.75, 1.25, 3)


def test_json_has_ratios_machine_and_command(tmp_path: Path) -> None:
    result = Result("ms", {"x": Spread(1, 1, 1, 1)}, {"x_over_y": Spread(2.0, 1.5, 2.5, 9)})
    result.write(tmp_path / "out.json", "python -m benchmarks update")
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["ratios"] == {"x_over_y": 2.0}
    assert content["spread"]["x_over_y"]["n"] == 9
    assert content["machine"]["torch"] == torch.__version__.split("+")[0]
    assert "x_over_y" in result.table()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("nonsense",), "nonsense"), (("envs", "--json", "no/such/folder/x.json"), "--json")],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], named: str) -> None:
    done = run_python("-m", "benchmarks", *arguments)
    assert done.returncode == 2
    assert named in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_committed_results_are_in_the_documentation() -> None:
    """Every ratio of docs/results/benchmark-*.json stands in docs/performance.md, as rounded there."""
    text = (ROOT / "docs/performance.md").read_text()
    results = sorted((ROOT / "docs/results").glob("benchmark-*.json"))
    assert len(results) == 3
    for path in results:
        for name, value in json.loads(path.read_text())["ratios"].items():
            assert any(
                f"`{name}`" in line and f" {value:.3g} (" in line for line in text.splitlines()
            ), name
