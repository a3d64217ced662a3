"""The whole layer, as a stranger uses it: against its definition in numpy, and by itself."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dendrites import GATINGS, DendriticLayer, nonzero_parameters
from dendrites.other_winners import NucleusWinners
from examples.dendritic_layer import main

INPUTS, UNITS, CONTEXT, TASKS, PER_TASK = 6, 12, 5, 3, 4


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make_layer(seed=0, **settings):
    arguments = {"context_size": CONTEXT, "num_segments": 4, "winners": 0.25} | settings
    return DendriticLayer(INPUTS, UNITS, generator=seeded(seed), **arguments)


def randn(*shape, seed=1, dtype=torch.float64):
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def by_definition(layer, x, context, gating, winners):
    """One sample in numpy: linear, norm, gate, winners; every step as its definition says it."""
    value = {name: tensor.numpy() for name, tensor in layer.state_dict().items()}
    y = value["linear.weight"] @ x + value["linear.bias"]
    if "norm.weight" in value:
        y = (y - y.mean()) / np.sqrt(y.var() + 1e-5) * value["norm.weight"] + value["norm.bias"]
    if context is not None:
        s = value["dendrites.weight"] @ context  # [J, units]
        signed = [column[np.abs(column).argmax()] for column in s.T]
        d = {
            **dict.fromkeys(("abs_max_signed", "single_segment", "gate_table"), np.array(signed)),
            **dict.fromkeys(("max", "additive_bias"), s.max(0)),
            "abs_max_unsigned": np.abs(signed),
            "attention": (np.exp(np.abs(s) / 0.1) * s).sum(0) / np.exp(np.abs(s) / 0.1).sum(0),
        }
        chosen = d[gating]
        y = y + chosen if gating == "additive_bias" else y / (1 + np.exp(-chosen))
    if winners is None:
        return np.maximum(y, 0)
    return np.where(y >= np.sort(y)[-round(winners * len(y))], y, 0)


@settings(deadline=None, max_examples=80)
@given(
    gating=st.sampled_from(GATINGS),
    winners=st.sampled_from([None, 0.25, 1.0]),
    layer_norm=st.booleans(),
    context_size=st.sampled_from([None, CONTEXT]),
    density=st.sampled_from([0.5, 1.0]),
    seed=st.integers(0, 100),
)
def test_layer_equals_its_definition(gating, winners, layer_norm, context_size, density, seed):
    layer = make_layer(
        seed,
        gating=gating,
        winners=winners,
        layer_norm=layer_norm,
        context_size=context_size,
        weight_density=density,
        segment_density=density,
    ).double()
    if layer_norm:
        layer.norm.weight.data, layer.norm.bias.data = randn(UNITS, seed=3), randn(UNITS, seed=4)
    x, context = randn(7, INPUTS), None if context_size is None else randn(7, CONTEXT, seed=2)
    rows = zip(x.numpy(), [None] * 7 if context is None else context.numpy(), strict=True)
    expected = np.stack([by_definition(layer, *row, gating, winners) for row in rows])
    np.testing.assert_allclose(layer(x, context).detach(), expected, rtol=1e-10, atol=1e-12)


def test_one_context_for_all_rows_equals_that_context_in_every_row():
    layer = make_layer().double()
    x, context = randn(PER_TASK, INPUTS), randn(CONTEXT, seed=2)
    torch.testing.assert_close(
        layer(x, context), layer(x, context.expand(PER_TASK, -1)), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("stack", [None, 2])
@pytest.mark.parametrize("gating", ["abs_max_signed", "additive_bias"])
def test_a_gate_computed_once_per_task_serves_all_its_samples(gating, stack):
    lead = () if stack is None else (stack,)
    layer = make_layer(gating=gating, stack=stack, layer_norm=True).double()
    x, context = randn(*lead, TASKS, PER_TASK, INPUTS), randn(*lead, TASKS, 1, CONTEXT, seed=2)
    gate = layer.gate(context)
    assert gate.shape == (*lead, TASKS, 1, UNITS)
    out = layer.gated(x, gate)
    assert torch.equal(out, layer(x, context))
    per_row = context.expand(*lead, TASKS, PER_TASK, CONTEXT)
    torch.testing.assert_close(out, layer(x, per_row), rtol=1e-12, atol=1e-12)


def test_a_stack_equals_layers_with_its_weights():
    stack = make_layer(stack=2, layer_norm=True, weight_density=0.5, segment_density=0.5).double()
    stack.norm.weight.data, stack.norm.bias.data = randn(2, UNITS, seed=3), randn(2, UNITS, seed=4)
    x, context = randn(2, PER_TASK, INPUTS), randn(2, CONTEXT, seed=2)
    out = stack(x, context)
    for index in range(2):
        single = make_layer(9, layer_norm=True, weight_density=0.5, segment_density=0.5).double()
        single.load_state_dict({name: t[index] for name, t in stack.state_dict().items()})
        torch.testing.assert_close(single(x[index], context[index]), out[index])


def test_one_generator_gives_the_weights_in_a_fixed_order():
    # a run's seed gives the same network in every version: weight, bias, mask, segments, their mask
    densities = {"weight_density": 0.5, "input_density": 0.4}
    densities |= {"segment_density": 0.6, "context_density": 0.2}
    layer = make_layer(layer_norm=True, **densities)
    generator = seeded()

    def uniform(*shape, fan_in):
        bound = fan_in**-0.5
        return torch.empty(shape).uniform_(-bound, bound, generator=generator)

    def mask(*shape, ones):
        return torch.rand(shape, generator=generator).argsort(-1) < ones

    weight = uniform(UNITS, INPUTS, fan_in=0.4 * 0.5 * INPUTS)
    expected = {
        "linear.weight": weight,
        "linear.bias": uniform(UNITS, fan_in=INPUTS),
        "linear.mask": mask(UNITS, INPUTS, ones=3).float(),
        "norm.weight": torch.ones(UNITS),
        "norm.bias": torch.zeros(UNITS),
        "dendrites.weight": uniform(4, UNITS, CONTEXT, fan_in=0.2 * 0.6 * CONTEXT),
        "dendrites.mask": mask(4, UNITS, CONTEXT, ones=3),
    }
    for part in ("linear", "dendrites"):
        expected[f"{part}.weight"] *= expected[f"{part}.mask"]
    torch.testing.assert_close(dict(layer.state_dict()), expected, rtol=1e-6, atol=0)


def test_without_a_generator_torchs_own_is_used():
    torch.manual_seed(3)
    one = DendriticLayer(INPUTS, UNITS, context_size=CONTEXT, weight_density=0.5)
    torch.manual_seed(3)
    same = DendriticLayer(INPUTS, UNITS, context_size=CONTEXT, weight_density=0.5)
    other = DendriticLayer(INPUTS, UNITS, context_size=CONTEXT, weight_density=0.5)
    assert all(torch.equal(t, same.state_dict()[name]) for name, t in one.state_dict().items())
    assert not torch.equal(one.linear.weight, other.linear.weight)


def test_without_a_context_size_there_are_no_dendrites():
    layer = make_layer(context_size=None)
    x = randn(3, INPUTS, dtype=torch.float32)
    assert layer.dendrites is None
    assert layer.gate(None) is None
    assert layer.gate(torch.ones(99)) is None
    assert torch.equal(layer(x), layer.gated(x, None))
    assert ((layer(x) != 0).sum(-1) == 3).all()  # a quarter of twelve


def test_the_dtype_of_the_product_can_be_changed_and_is_the_only_one_that_changes():
    layer = make_layer(layer_norm=True, product_dtype=torch.bfloat16, winners=None)
    assert layer.product_dtype == layer.linear.product_dtype == torch.bfloat16
    x, context = randn(20, INPUTS).float(), randn(CONTEXT, seed=2).float()
    rounded, gate = layer(x, context), layer.gate(context)
    layer.product_dtype = None
    exact = layer(x, context)
    assert rounded.dtype == exact.dtype == torch.float32
    assert 0 < (rounded - exact).abs().max() < 0.05
    assert torch.equal(gate, layer.gate(context))


@pytest.mark.parametrize(
    ("winners", "count"), [(0.05, "1 of 12 win"), (1.0, "12 of 12 win"), (None, None)]
)
def test_print_shows_what_the_layer_is_made_of(winners, count):
    lines = str(make_layer(winners=winners, layer_norm=True, weight_density=0.5)).splitlines()
    active = "relu" if winners is None else f"{winners:.3g} of units win"
    assert [line.strip() for line in lines] == [
        "DendriticLayer(",
        f"6 -> 12, gated by abs_max_signed, {active}",
        "(linear): SparseLinear(in_features=6, out_features=12, weight_density=0.5)",
        "(norm): StackedLayerNorm(units=12)",
        "(dendrites): DendriticSegments(units=12, context_size=5, num_segments=4, "
        "gating=abs_max_signed, segment_density=1.0)",
        f"(activation): {'ReLU()' if winners is None else f'KWinners({count})'}",
        ")",
    ]
    assert "6 -> 12, no dendrites" in str(make_layer(context_size=None))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"winners": 0.0}, r"winners must be in \(0, 1\], got 0.0"),
        ({"winners": 5}, r"winners must be in \(0, 1\], got 5"),
        ({"gating": "abs_max"}, "gating must be one of abs_max_signed, .* got 'abs_max'"),
        ({"context_size": 0}, "context_size must be at least 1, got 0"),
        (
            {"activation": NucleusWinners(UNITS + 1, 0.25)},
            f"activation must be of {UNITS} units, is of {UNITS + 1}",
        ),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(wrong, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make_layer(**wrong)


def test_a_missing_or_wrong_context_or_gate_is_refused_in_one_line():
    layer, plain, x = make_layer(), make_layer(context_size=None), torch.ones(INPUTS)
    with pytest.raises(ValueError, match=r"^context is missing: .* expects one of size 5$"):
        layer(x)
    with pytest.raises(ValueError, match=r"^context must have size 5, got 4$"):
        layer(x, torch.ones(4))
    with pytest.raises(ValueError, match=r"^gate is missing: this layer has dendrites$"):
        layer.gated(x, None)
    with pytest.raises(ValueError, match=r"^gate must be None: this layer has no dendrites$"):
        plain.gated(x, torch.ones(UNITS))


def test_nonzero_parameters_of_a_network_counts_what_its_masks_leave():
    layer = make_layer(weight_density=0.5, segment_density=0.6, layer_norm=True)
    head = torch.nn.Linear(UNITS, 2)
    network = torch.nn.ModuleDict({"layer": layer, "head": head})
    of_layer = UNITS * (3 + 1) + 2 * UNITS + 4 * UNITS * 3
    assert nonzero_parameters(layer) == of_layer
    assert nonzero_parameters(network) == of_layer + 2 * (UNITS + 1)
    assert nonzero_parameters(copy.deepcopy(network).requires_grad_(False)) == of_layer + 26
    network["again"] = layer  # shared: counted once
    assert nonzero_parameters(network) == of_layer + 26


def test_the_example_learns_with_the_context_what_it_cannot_without(capsys):
    accuracy = main()
    assert accuracy["with context"] > 0.93
    assert accuracy["without context"] < accuracy["best without context"] + 0.01 < 0.8
    printed = capsys.readouterr().out
    assert printed.startswith("DendriticLayer(\n  8 -> 64, gated by abs_max_signed")
    assert printed.count("gates of eight units") == 4
    assert main() == accuracy  # nothing is left to chance
