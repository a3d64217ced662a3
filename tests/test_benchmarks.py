"""The benchmarks measure what they say: the naive update is the same update, costs are counted."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import ROOT, run_python
from pretended_gpu import GPU, pretended_gpu
from torch.utils.flop_counter import FlopCounterMode

from agent.first_update import blank_batch
from agent.plan import resolve
from agent.sac import SAC
from benchmarks.costs import ceiling_ms, count_flop
from benchmarks.gpu import Report, compare, compare_updates
from benchmarks.loop import LOG_INTERVAL, read_times, training_arguments
from benchmarks.measuring import Result, Spread, interleave, ratio
from benchmarks.naive import make_naive
from benchmarks.peers import TRANSITIONS, Peer, _ours, _stable_baselines, require_peers
from benchmarks.permuted import GateOfEachSample
from benchmarks.random_batch import random_batch
from benchmarks.update import describe_precision, ratios
from benchmarks.variants import SIZES, Size, fast, variants
from configs import Config, UsageError, load_config
from configs.command_line import parse_train_command
from configs.permuted_mnist import parse_permuted_command
from dendrites import leaves_out_silent
from dendrites.kernels import load_kernels
from permuted_mnist.network import PermutedNetwork

CPU = torch.device("cpu")
TASKS, SAMPLES = 3, 24
PARTS = ("update", "batch")
UNITS = {"actor_hidden": (20, 24), "critic_hidden": (28, 16), "match_parameters": False}


WITHOUT_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


def small(preset: str = "mt10", precision: str = "float32", **network: object) -> Config:
    base = load_config(preset)
    return replace(
        base,
        machine=replace(base.machine, compile="never", precision=precision),
        env=replace(base.env, tasks=base.env.task_names[:TASKS]),
        replay=replace(base.replay, batch_size=SAMPLES, sampling="uniform"),
        network=replace(base.network, **(UNITS | network)),
    )


def updated(config: Config, naive: bool = False) -> tuple[SAC, dict[str, torch.Tensor]]:
    plan, generator = resolve(config, CPU), torch.Generator().manual_seed(1)
    agent = SAC(plan, generator)
    if naive:
        make_naive(agent)
    return agent, agent.update(*random_batch(plan, generator))


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


def test_the_naive_update_computes_every_trunk_its_own_way() -> None:
    ours, naive = updated(small())[0], updated(small(), naive=True)[0]
    kinds = [type(network.trunk).__name__ for network in (naive.actor, naive.critic)]
    assert kinds == ["NaiveTrunk", "NaiveTrunk"]
    assert type(naive.target_critic.trunk).__name__ == "NaiveTrunk"
    assert type(ours.actor.trunk).__name__ == "Trunk"


@pytest.mark.parametrize("preset", ["mt10", "paper"])
def test_as_many_products_are_counted_as_by_torch(preset: str) -> None:
    config = small(preset, activation="relu")
    with FlopCounterMode(display=False) as counter:
        updated(config)
    assert sum(count_flop(config, CPU).values()) == counter.get_total_flops()


def test_products_of_winners_by_hand() -> None:
    """Those that torch's counter does not know: a quarter of the units of every map behind k-winners."""
    config = small()
    with FlopCounterMode(display=False) as counter:
        updated(config)
    of_winners = sum(count_flop(config, CPU).values()) - counter.get_total_flops()
    (a, b), (c, d) = UNITS["actor_hidden"], UNITS["critic_hidden"]
    actor = 4 * (a // 4 * b + b // 4 * 8)
    critic = 6 * (c // 4 * d + d // 4 * config.agent.value_bins)
    assert of_winners == 2 * SAMPLES * (actor + 2 * critic)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_products_of_an_mlp_by_hand(precision: str) -> None:
    """The actor: forward for the next action; forward and backward, to the weights and to the inputs.
    A critic: forward as target; forward and backward for its loss; forward and to its inputs for the
    actor's. The first layers need no gradient of their inputs, but for the actor's loss.
    """
    config = small(precision=precision, kind="mlp", activation="relu")
    frame = replace(config.normalization, observation_frame="world")  # a product of float64
    flop = count_flop(replace(config, normalization=frame), CPU)
    actor = 39 + TASKS, *UNITS["actor_hidden"], 8
    critic = 39 + 4 + TASKS, *UNITS["critic_hidden"], config.agent.value_bins
    first = 3 * actor[0] * actor[1] + 2 * 5 * critic[0] * critic[1]
    hidden = 4 * actor[1] * actor[2] + 2 * 6 * critic[1] * critic[2]
    head = 4 * actor[2] * actor[3] + 2 * 6 * critic[2] * critic[3]
    factor = 2 * SAMPLES
    if precision == "float32":
        assert flop == {torch.float32: factor * (first + hidden + head)}
    else:
        assert flop == {torch.float32: factor * (first + head), torch.bfloat16: factor * hidden}


def test_ceiling_by_hand() -> None:
    flop = {torch.float32: 2e9, torch.bfloat16: 6e9, torch.float64: 1e9}
    rates = {torch.float32: 1e12, torch.bfloat16: 3e12}
    assert ceiling_ms(flop, rates) == pytest.approx(5.0)


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_a_machine_without_bfloat16_is_not_asked_for_it(size: Size, quick: bool) -> None:
    plain, low = (variants(size, quick, precision) for precision in ("float32", "bfloat16"))
    assert {variant.precision for variant in plain} == {"float32"}
    assert "bfloat16" in {variant.precision for variant in low}
    for group in (plain, low):
        assert len(group) == len(set(group)) == len({str(variant) for variant in group})
    times = {variant: [1.0] for variant in plain}
    names = ratios(size, "float32", times)
    assert names.keys() == ratios(size, "bfloat16", {variant: [1.0] for variant in low}).keys()
    assert names


def test_a_variant_is_computed_as_its_name_says() -> None:
    matched = resolve(fast(SIZES[0], "matched mlp", "float32").config(), CPU)
    assert matched.precision == torch.float32
    assert matched.network.actor_hidden > (256, 256)
    wide = resolve(fast(SIZES[1], "dendrites k-winners", "bfloat16").config(), CPU)
    assert wide.precision == torch.bfloat16
    assert (wide.network.actor_hidden, wide.network.kind) == ((400, 400, 400), "dendritic")
    naive = variants(SIZES[2], True, "float32")[0].config()
    assert (naive.replay.sampling, naive.machine.compile) == ("uniform", "never")


@pytest.mark.parametrize(
    ("native", "choice", "said"),
    [
        (True, "auto", "bfloat16, which this machine multiplies natively"),
        (False, "auto", "float32; bfloat16 is not native on this machine"),
        (True, "float32", "float32, as asked for; auto is bfloat16 on this machine"),
        (False, "float32", "float32, as asked for; auto is float32 too on this machine"),
    ],
)
def test_the_precision_is_explained(
    native: bool, choice: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert describe_precision(choice, CPU) == said


# --- peers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["update", "batch"])
def test_our_side_draws_from_a_full_buffer_and_learns_as_mt10_does(part: str) -> None:
    config = replace(small(), replay=replace(load_config("mt10").replay, capacity=600))
    plan = resolve(config, CPU)
    made = _ours(plan, Peer("ours", torch.get_num_threads(), "float32", part))()
    if part == "update":
        assert made["losses/critic"].isfinite()
        return
    assert made.obs.shape == blank_batch(plan)[0].obs.shape  # groups, of which tasks have shares
    assert made.task is not None
    assert len(made.reward.unique()) > 300  # not the same transition again and again
    # n steps ahead, but for the newest transitions
    gamma, n = config.agent.discount, config.agent.n_step
    assert made.discount.isclose(torch.tensor(gamma**n)).float().mean() > 0.9


def test_the_peers_are_told_apart_and_our_side_is_the_preset() -> None:
    peers = [Peer(s, n, "auto", p) for s in ("ours", "sb3") for n in (1, 2) for p in PARTS]
    assert len({str(peer) for peer in peers}) == len(peers)
    config = peers[0].config()
    preset = load_config("mt10")
    assert replace(config, replay=preset.replay) == preset
    assert config.replay == replace(preset.replay, capacity=TRANSITIONS)


def test_without_stable_baselines_one_line_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_peers()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"'\.\[peers\]'"):
        require_peers()


def test_stable_baselines_gets_the_same_widths_batch_and_inputs() -> None:
    plan = resolve(Peer("sb3", 1, "float32").config(), CPU)
    train = _stable_baselines(plan, Peer("sb3", torch.get_num_threads(), "float32"))
    model = train.func.__self__
    shapes = [tuple(weight.shape) for weight in model.actor.latent_pi.parameters()]
    assert shapes == [(256, 39 + 10), (256,), (256, 256), (256,)]
    assert (model.critic.n_critics, model.batch_size) == (2, 500)
    before = model.actor.mu.weight.detach().clone()
    train()
    assert not torch.equal(model.actor.mu.weight, before)


# --- gpu ---------------------------------------------------------------------------------------


def test_the_updates_of_a_gpu_are_compared_with_those_of_the_cpu() -> None:
    with pretended_gpu():
        agreement = compare_updates(small(), GPU)
    assert agreement.holds
    assert agreement.losses < 1e-5  # the CPU leaves the losers out of its sums
    assert agreement.parameters == 1


@pytest.mark.parametrize("wrong", ["weight", "learning rate", "scale"])
def test_other_updates_are_no_agreement(wrong: str) -> None:
    plan = resolve(small(), CPU)
    here, there = (SAC(plan, torch.Generator().manual_seed(0)) for _ in range(2))
    draw = torch.Generator().manual_seed(1)
    batches = [random_batch(plan, draw) for _ in range(5)]
    if wrong == "weight":
        there.critic.trunk.layers[1].linear.weight.data[0, 3, 2] += 1
    elif wrong == "learning rate":
        there.descents["actor"].lr *= 2
    else:
        there.rewards.scale[1] *= 1.01
    assert not compare(there, here, [(batch, batch) for batch in batches]).holds


def test_numbers_that_are_not_finite_are_no_agreement() -> None:
    agent, _ = updated(small())
    plan = resolve(small(), CPU)
    batch, noise = random_batch(plan, torch.Generator())
    nothing = batch._replace(reward=batch.reward * torch.nan)
    other = SAC(plan, torch.Generator().manual_seed(1))
    assert not compare(other, agent, [((nothing, noise), (batch, noise))]).holds


def test_what_to_report_stands_between_two_lines() -> None:
    report = Report("ms", {"x": Spread(1, 1, 1, 1)}, notes={"gpu": "none"})
    first, *_, last = report.table().splitlines()
    assert "send us" in first
    assert "until here" in last
    assert "gpu: none" in report.table()


# --- measuring ---------------------------------------------------------------------------------


def test_jobs_take_turns_and_ratios_are_within_rounds() -> None:
    calls: list[str] = []
    jobs = {name: lambda name=name: calls.append(name) or float(len(calls)) for name in "ab"}
    measured = interleave(jobs, rounds=3)
    assert calls == list("ab" * 4)  # the first round is not measured
    assert measured == {"a": [3.0, 5.0, 7.0], "b": [4.0, 6.0, 8.0]}
    assert ratio([2.0, 9.0, 4.0], [1.0, 3.0, 4.0], factor=0.5) == Spread(1.0, 0.75, 1.25, 3)


def test_a_slow_machine_gets_fewer_rounds() -> None:
    job = {"a": lambda: 0.0}
    assert len(interleave(job, rounds=9, limit_s=0.0)["a"]) == 3
    assert len(interleave(job, rounds=2, limit_s=0.0)["a"]) == 2
    assert len(interleave(job, rounds=9)["a"]) == 9


def test_json_has_ratios_machine_and_command(tmp_path: Path) -> None:
    result = Result("ms", {"x": Spread(1, 1, 1, 1)}, {"x_over_y": Spread(2.0, 1.5, 2.5, 9)})
    result.write(tmp_path / "out.json", "python -m benchmarks update")
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["ratios"] == {"x_over_y": 2.0}
    assert content["spread"]["x_over_y"]["n"] == 9
    assert content["machine"]["torch"] == torch.__version__.split("+")[0]
    assert "x_over_y" in result.table()


def test_the_loop_trains_with_settings_that_there_are(tmp_path: Path) -> None:
    command = parse_train_command(training_arguments(tmp_path / "run", (), rows=3))
    assert command.settings.total_env_steps == 5 * LOG_INTERVAL


def test_the_loop_is_read_after_its_first_two_rows(tmp_path: Path) -> None:
    rows = [(0.1, 900), (0.2, 800), ("", ""), (0.3, 5), (0.4, 9), (0.5, 6)]
    lines = [
        f"7,{hours},{learn}" for hours, learn in rows
    ]  # the one without a time is an evaluation's
    (tmp_path / "metrics.csv").write_text(
        "\n".join(["env_steps,time/elapsed_hours,time/fraction_learn", *lines, ""])
    )
    times = read_times(tmp_path / "metrics.csv")
    assert times == {"time/elapsed_hours": 0.4, "time/fraction_learn": 6}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("nonsense",), "nonsense"),
        (("envs", "--json", "no/such/folder/x.json"), "--json"),
        (("envs", "--precision", "float32"), "--precision"),
        (("update", "--precision", "bfloat16"), "--precision"),
        (("loop", "--json", "docs"), "--json"),
        (("loop", "--json", "/proc/none.json"), "--json"),
        pytest.param(("gpu",), "no GPU", marks=WITHOUT_CUDA),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], named: str) -> None:
    done = run_python("-m", "benchmarks", *arguments)
    assert done.returncode == 2
    assert named in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(load_kernels() is None, reason="there is no C compiler")
def test_both_ways_to_learn_permuted_images_compute_the_same() -> None:
    config = parse_permuted_command(["--network.hidden", "512"]).settings.network
    images, contexts = (
        torch.randn(32, 784, generator=torch.Generator().manual_seed(0)),
        torch.eye(3),
    )
    gradients = []
    for kind in (PermutedNetwork, GateOfEachSample):
        generator = torch.Generator().manual_seed(1)
        network = kind(config, pixels=784, context_size=3, product_dtype=None, generator=generator)
        weight = network.layers[0].linear.weight
        assert leaves_out_silent(images, weight, torch.float32)  # else the two ways are one
        gates = [gate[0] for gate in network.gates(contexts)]
        gradients.append(torch.autograd.grad(network(images, gates).square().sum(), weight)[0])
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


def test_committed_results_are_in_the_documentation() -> None:
    """Every ratio of docs/results/benchmark-*.json stands in docs/performance.md, with its quartiles, as rounded there."""
    text = (ROOT / "docs/performance.md").read_text()
    results = sorted((ROOT / "docs/results").glob("benchmark-*.json"))
    assert len(results) >= 3
    for path in results:
        for name, found in json.loads(path.read_text())["spread"].items():
            said = f" {found['median']:.3g} ({found['low']:.3g} to {found['high']:.3g})"
            assert any(f"`{name}`" in line and said in line for line in text.splitlines()), (
                path.name,
                name,
                said,
            )
