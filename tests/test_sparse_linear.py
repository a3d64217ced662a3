"""Sparse linear maps: exact density, initial bounds, masks that survive training, stacks."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dendrites import KWinners, SparseLinear, nonzero_parameters, nonzeros_per_row
from dendrites.sparse_linear import exact_density_mask, stacked_linear
from dendrites.winners import ReLU


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make_linear(in_features=12, out_features=7, seed=0, **settings):
    return SparseLinear(in_features, out_features, generator=seeded(seed), **settings)


@pytest.mark.parametrize(
    ("columns", "density", "expected"),
    # the published networks' rows (spec, section 1.6), then the floor of one
    [(39, 0.9, 35), (43, 0.9, 39), (2800, 0.9, 2520), (10, 0.01, 1), (10, 1.0, 10)],
)
def test_nonzeros_per_row_by_hand(columns, density, expected):
    assert nonzeros_per_row(columns, density) == expected


@settings(deadline=None, max_examples=60)
@given(
    lead=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    columns=st.integers(1, 40),
    density=st.floats(0.01, 1.0),
    seed=st.integers(0, 1000),
)
def test_mask_has_exactly_the_density_in_every_row(lead, columns, density, seed):
    mask = exact_density_mask((*lead, columns), density, seeded(seed))
    ones = max(1, round(density * columns))
    if ones == columns:
        assert mask is None
    else:
        assert mask.shape == (*lead, columns)
        assert set(mask.sum(-1).flatten().tolist()) == {ones}


def test_mask_chooses_every_column_equally_often():
    chosen = exact_density_mask((4000, 10), 0.3, seeded()).sum(0)
    # hypergeometric: mean 1200, standard deviation sqrt(4000 * 0.3 * 0.7) = 29
    assert (chosen - 1200).abs().max() < 5 * 29


@pytest.mark.parametrize("stack", [None, 2, 3])
@pytest.mark.parametrize("density", [0.25, 0.5, 0.9])
def test_layer_has_exactly_the_density_in_every_row(density, stack):
    layer = make_linear(weight_density=density, stack=stack)
    assert set((layer.weight != 0).sum(-1).flatten().tolist()) == {round(density * 12)}


def test_stacked_copies_have_their_own_weights_and_masks():
    layer = make_linear(weight_density=0.5, stack=2)
    assert not torch.equal(layer.weight[0], layer.weight[1])
    assert not torch.equal(layer.mask[0], layer.mask[1])
    assert not torch.equal(layer.bias[0], layer.bias[1])


@pytest.mark.parametrize("stack", [None, 2])
def test_masked_weights_stay_zero_through_adamw_with_weight_decay(stack):
    layer = make_linear(weight_density=0.5, stack=stack)
    before = layer.weight.detach().clone()
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-2, weight_decay=0.1, fused=True)
    lead = () if stack is None else (stack,)
    generator = seeded(1)
    for _ in range(100):
        x = torch.randn(*lead, 8, 12, generator=generator)
        layer(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    assert torch.equal(layer.weight != 0, layer.mask.bool())
    assert (layer.weight != before)[layer.mask.bool()].all()


def test_masked_weights_never_act_and_get_no_gradient():
    layer = make_linear(weight_density=0.5)
    layer.weight.data.fill_(1.0)
    layer.bias.data.zero_()
    out = layer(torch.ones(1, 12))
    assert out.tolist() == [[6.0] * 7]
    (gradient,) = torch.autograd.grad(out.sum(), [layer.weight])
    assert torch.equal(gradient, layer.mask)


@pytest.mark.parametrize(
    ("in_features", "input_density", "weight_density", "bound"),
    # the published initial bounds (spec, section 1.4)
    [(39, 1.0, 0.9, 0.1688), (43, 1.0, 0.9, 0.1607), (2800, 0.25, 0.9, 0.0398)],
)
def test_weights_start_uniform_between_the_published_bounds(
    in_features, input_density, weight_density, bound
):
    layer = make_linear(
        in_features, 400, weight_density=weight_density, input_density=input_density
    )
    drawn = layer.weight.detach()[layer.mask.bool()]
    exact = 1 / math.sqrt(input_density * weight_density * in_features)
    assert exact == pytest.approx(bound, abs=5e-5)
    assert 0.99 * exact < drawn.max().item() <= exact * (1 + 1e-5)
    assert -exact * (1 + 1e-5) <= drawn.min().item() < -0.99 * exact
    assert drawn.var().item() == pytest.approx(exact**2 / 3, rel=0.05)


def test_biases_start_uniform_between_one_over_the_root_of_the_inputs():
    # neither density enters: the bound is 1 / sqrt(16)
    bias = make_linear(16, 2000, weight_density=0.5, input_density=0.25).bias.detach()
    assert 0.245 < bias.max().item() <= 0.25
    assert -0.25 <= bias.min().item() < -0.245


@pytest.mark.parametrize("lead", [(), (5,), (2, 5)])
def test_one_map_equals_a_naive_loop(lead):
    layer = make_linear(4, 3, weight_density=0.5).double()
    x = torch.randn(*lead, 4, generator=seeded(1), dtype=torch.float64)
    expected = [
        [
            sum(w * v for w, v in zip(row, sample, strict=True)) + bias
            for row, bias in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
        ]
        for sample in x.reshape(-1, 4).tolist()
    ]
    out = layer(x)
    assert out.shape == (*lead, 3)
    assert out.reshape(-1, 3).tolist() == [pytest.approx(row, rel=1e-12) for row in expected]


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("lead", [(), (6,), (2, 3), (2, 3, 2)], ids=str)
def test_a_stack_equals_a_loop_over_its_maps(lead, with_bias):
    generator = seeded(2)
    x = torch.randn(3, *lead, 5, generator=generator, dtype=torch.float64)
    weight = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
    bias = torch.randn(3, 4, generator=generator, dtype=torch.float64) if with_bias else None
    out = stacked_linear(x, weight, bias)
    assert out.shape == (3, *lead, 4)
    for e in range(3):
        expected = x[e] @ weight[e].T + (0 if bias is None else bias[e])
        torch.testing.assert_close(out[e], expected, rtol=1e-12, atol=1e-12)


def test_a_stacked_layer_equals_single_layers_with_its_weights_and_masks():
    stack = make_linear(weight_density=0.5, stack=2).double()
    x = torch.randn(2, 3, 5, 12, generator=seeded(1), dtype=torch.float64)
    out = stack(x)
    for e in range(2):
        single = make_linear(weight_density=0.5, seed=9).double()
        for name in ("weight", "bias", "mask"):
            getattr(single, name).data.copy_(getattr(stack, name).data[e])
        torch.testing.assert_close(single(x[e]), out[e], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stack", [None, 2])
@pytest.mark.parametrize("density", [0.3, 1.0])
def test_nonzero_parameters_counts_what_is_not_zero(density, stack):
    layer = make_linear(weight_density=density, stack=stack)
    nonzero = (layer.weight != 0).sum() + layer.bias.numel()
    assert nonzero_parameters(layer) == nonzero.item()
    assert nonzero_parameters(layer) == (stack or 1) * 7 * (round(density * 12) + 1)


@pytest.mark.parametrize("stack", [None, 2])
def test_the_product_may_be_rounded_to_bfloat16(stack):
    layer = make_linear(weight_density=0.5, stack=stack)
    x = torch.randn(*(() if stack is None else (stack,)), 5, 12, generator=seeded(1))
    exact = layer(x)
    layer.product_dtype = torch.bfloat16
    rounded = layer(x)
    assert rounded.dtype == torch.float32
    products = rounded - layer.bias.unsqueeze(-2)
    # bfloat16 numbers, but for the float32 rounding of adding and removing the bias
    torch.testing.assert_close(products, products.bfloat16().float(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(rounded, exact, rtol=0.01, atol=0.02)
    assert not torch.equal(rounded, exact)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"in_features": 0}, "in_features must be at least 1, got 0"),
        ({"out_features": -1}, "out_features must be at least 1, got -1"),
        ({"weight_density": 0.0}, r"weight_density must be in \(0, 1\], got 0.0"),
        ({"input_density": 1.5}, r"input_density must be in \(0, 1\], got 1.5"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(wrong, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make_linear(**wrong)


def test_print_shows_sizes_density_and_stack():
    assert str(make_linear(weight_density=0.5, stack=2)) == (
        "SparseLinear(in_features=12, out_features=7, weight_density=0.5, stack=2)"
    )


@pytest.mark.parametrize("after", [None, KWinners(512, 0.05), ReLU()])
@pytest.mark.parametrize("one_context", [False, True])
@pytest.mark.parametrize("outputs", [16, 1024])
@pytest.mark.parametrize("features", [1, 511, 513, 2048])
def test_an_input_of_another_size_is_refused_whatever_computes_the_product(
    after, one_context, outputs, features
):
    """The C code reads by the sizes that it is told: another one would be misread."""
    layer = SparseLinear(512, outputs, generator=seeded())
    with pytest.raises(ValueError, match=f"^input must have size 512, got {features}$"):
        layer(torch.randn(4, features), after, one_context)


@pytest.mark.parametrize("after", [None, KWinners(12, 0.25)])
@pytest.mark.parametrize("shape", [(3, 4, 12), (1, 4, 12), (12,)])
def test_an_input_of_another_stack_is_refused(after, shape):
    with pytest.raises(ValueError, match=r"^input of a stack must have shape \[2, \.\.\., 12\]"):
        make_linear(stack=2)(torch.ones(shape), after)


@pytest.mark.parametrize("stack", [None, 2])
def test_an_empty_batch_is_empty(stack):
    lead = () if stack is None else (stack,)
    assert make_linear(stack=stack)(torch.ones(*lead, 0, 12)).shape == (*lead, 0, 7)
