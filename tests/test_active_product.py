"""Products between units of which most are silent: the numbers, what is left out, and where it is used."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dendrites import DendriticLayer, k_winners, leaves_out_silent, product_of_active
from dendrites.active_product import FEWEST_WEIGHTS
from dendrites.kernels import load_kernels

with_kernels = pytest.mark.skipif(load_kernels() is None, reason="there is no C compiler")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def silenced(shape, share, generator):
    """Random numbers, with so large a share of the columns set to 0, and some zeros elsewhere."""
    columns = torch.rand(shape[1], generator=generator) >= share
    some = torch.rand(shape, generator=generator) < 0.7
    return torch.randn(shape, generator=generator) * columns * some


@with_kernels
@settings(deadline=None, max_examples=80)
@given(
    n=st.integers(0, 40),
    units=st.integers(1, 300),
    outputs=st.integers(1, 150),
    silent_in=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    silent_out=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    masked=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_product_and_gradients_equal_dense_ones_in_float64(
    n, units, outputs, silent_in, silent_out, masked, seed
):
    generator = seeded(seed)
    x = silenced((n, units), silent_in, generator).requires_grad_()
    weight = torch.randn(outputs, units, generator=generator).requires_grad_()
    mask = (torch.rand(outputs, units, generator=generator) < 0.5).float() if masked else None
    cotangent = silenced((n, outputs), silent_out, generator)
    y = product_of_active(x, weight, mask)
    gradients = torch.autograd.grad(y, [x, weight], [cotangent])
    exact_x, exact_weight = (one.detach().double().requires_grad_() for one in (x, weight))
    exact = exact_x @ (exact_weight if mask is None else exact_weight * mask.double()).T
    expected = torch.autograd.grad(exact, [exact_x, exact_weight], [cotangent.double()])
    heard = (x != 0).any(dim=0)  # the gradient of silent units is left out
    for ours, theirs in zip(
        (y, gradients[0][:, heard], gradients[1]),
        (exact, expected[0][:, heard], expected[1]),
        strict=True,
    ):
        scale = theirs.abs().max().item() + 1e-30 if theirs.numel() else 1.0
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=2e-6 * scale)
    if mask is not None:
        assert not gradients[1][mask == 0].any()


@with_kernels
def test_bfloat16_rounds_as_torch_does():
    generator = seeded()
    odd = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8, -0.0, 3.38e38, -1 - 2**-8])  # ties, extremes
    x = torch.cat([torch.eye(70), torch.zeros(70, 30)], dim=1)
    weight = torch.randn(90, 100, generator=generator)
    weight[: len(odd), 0] = odd
    y = product_of_active(x, weight, None, torch.bfloat16)
    assert torch.equal(y, weight[:, :70].T.bfloat16().float())  # each output is one weight, rounded


@with_kernels
@pytest.mark.parametrize("product_dtype", [torch.float32, torch.bfloat16])
def test_a_fault_in_the_input_shows_in_its_row(product_dtype):
    x, weight = torch.randn(5, 80, generator=seeded()), torch.randn(9, 80, generator=seeded(1))
    x[3, 40] = float("nan")
    y = product_of_active(x, weight, None, product_dtype)
    assert y[3].isnan().all()
    assert y[[0, 1, 2, 4]].isfinite().all()


@with_kernels
def test_strided_arguments_are_read_in_their_own_order():
    x = torch.randn(80, 6, generator=seeded()).T.requires_grad_()  # [6, 80]
    weight = torch.randn(80, 9, generator=seeded(1)).T.requires_grad_()  # [9, 80]
    cotangent = torch.randn(9, 6, generator=seeded(2)).T
    ours = torch.autograd.grad(product_of_active(x, weight, None), [x, weight], [cotangent])
    theirs = torch.autograd.grad(x @ weight.T, [x, weight], [cotangent])
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@with_kernels
@pytest.mark.parametrize("product_dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_layers_of_one_context_equal_those_with_a_gate_for_each_sample(product_dtype, layer_norm):
    """Two layers as a network chains them, with the gate once or repeated, which is the dense way."""
    options = {"context_size": 8, "weight_density": 0.5, "generator": seeded(), "winners": 0.05}
    options |= {"product_dtype": product_dtype, "layer_norm": layer_norm}
    first = DendriticLayer(512, 640, **options)
    second = DendriticLayer(640, 512, **options)
    x, context = torch.randn(32, 512, generator=seeded(1)), torch.randn(8, generator=seeded(2))
    parameters = [*first.parameters(), *second.parameters()]
    cotangent = torch.randn(32, 512, generator=seeded(3))

    def run(repeat):
        gates = [layer.gate(context) for layer in (first, second)]
        if repeat:
            gates = [gate.expand(32, -1) for gate in gates]
        out = second.activation(
            second.preactivation(first.preactivation(x, gates[0]), gates[1], first.activation)
        )
        return out, *torch.autograd.grad(out, parameters, [cotangent])

    tolerance = 1e-5 if product_dtype is None else 0.02
    ours, dense = run(repeat=False), run(repeat=True)
    same = (ours[0] != 0) == (dense[0] != 0)
    assert same.float().mean() > (0.9999 if product_dtype is None else 0.999)
    for one, other in zip(ours, dense, strict=True):
        scale = other.abs().max().item()
        distance = (one - other).abs().mean().item()
        assert distance <= tolerance * scale


@with_kernels
def test_an_input_that_learns_gets_its_gradient_where_it_is_zero_too():
    layer = DendriticLayer(512, 640, context_size=8, winners=0.05, generator=seeded())
    x, context = torch.zeros(32, 512), torch.randn(8, generator=seeded(2))
    x[:, :100] = torch.randn(32, 100, generator=seeded(1))  # the others are silent in all samples
    x.requires_grad_()
    gate = layer.gate(context)
    cotangent = torch.randn(32, 640, generator=seeded(3))
    (ours,) = torch.autograd.grad(layer.gated(x, gate), [x], [cotangent], retain_graph=True)
    (dense,) = torch.autograd.grad(layer.gated(x, gate.expand(32, -1)), [x], [cotangent])
    torch.testing.assert_close(ours, dense, rtol=1e-4, atol=1e-5)
    assert (ours[:, 100:] != 0).any(dim=0).all()


@with_kernels
def test_torchs_default_dtype_does_not_matter():
    x, weight = torch.randn(6, 80, generator=seeded()), torch.randn(9, 80, generator=seeded(1))

    def both():
        leaf = weight.clone().requires_grad_()
        y = product_of_active(x, leaf, None)
        return y, *torch.autograd.grad(y.square().sum(), [leaf])

    expected = both()
    torch.set_default_dtype(torch.float64)
    try:
        found = both()
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


@with_kernels
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"x": torch.ones(4, 6)},
            r"x, weight, mask must have shapes .* got \[\[4, 6\], \[3, 5\], None\]",
        ),
        ({"x": torch.ones(5)}, r"x, weight, mask must have shapes .*"),
        ({"mask": torch.ones(3, 4)}, r"x, weight, mask must have shapes .*"),
        (
            {"mask": torch.ones(3, 5, dtype=torch.bool)},
            r"mask must be float32 on the CPU, got torch\.bool on cpu",
        ),
        (
            {"weight": torch.ones(3, 5).double()},
            r"weight must be float32 on the CPU, got torch\.float64 on cpu",
        ),
        (
            {"product_dtype": torch.float16},
            r"product_dtype must be float32 or bfloat16, got torch\.float16",
        ),
    ],
)
def test_what_the_c_code_would_misread_is_refused_in_one_line(wrong, message):
    arguments = {"x": torch.ones(4, 5), "weight": torch.ones(3, 5), "mask": None} | wrong
    with pytest.raises(ValueError, match=f"^{message}$"):
        product_of_active(**arguments)


@with_kernels
def test_compiled_it_is_the_same():
    layer = DendriticLayer(512, 640, context_size=8, winners=0.05, generator=seeded())
    x, context = torch.randn(32, 512, generator=seeded(1)), torch.randn(8, generator=seeded(2))

    def loss(x, gate):
        return layer.gated(x, gate).square().sum()

    gradients = []
    for function in (loss, torch.compile(loss, backend="aot_eager", fullgraph=True)):
        (gradient,) = torch.autograd.grad(function(x, layer.gate(context)), [layer.linear.weight])
        gradients.append(gradient)
    assert torch.equal(*gradients)


def test_small_maps_other_dtypes_and_stacks_stay_dense():
    x, large = torch.zeros(4, 512), torch.zeros(512, FEWEST_WEIGHTS // 512)
    assert leaves_out_silent(x, large, torch.bfloat16) == (load_kernels() is not None)
    assert not leaves_out_silent(x, large[:-1], torch.bfloat16)
    assert not leaves_out_silent(x, large, torch.float16)
    assert not leaves_out_silent(x.double(), large.double(), torch.float64)
    assert not leaves_out_silent(x.expand(2, 4, 512), large.expand(2, -1, -1), torch.float32)


@with_kernels
def test_silent_units_get_no_gradient_and_winners_theirs():
    """By hand: of three units one wins in both samples."""
    z = torch.tensor([[3.0, 1.0, 2.0], [5.0, 2.0, 4.0]], requires_grad=True)
    weight = torch.tensor([[1.0, 10.0, 100.0]], requires_grad=True)
    y = product_of_active(k_winners(z, 1), weight, None)
    assert y.tolist() == [[3.0], [5.0]]
    of_z, of_weight = torch.autograd.grad(y, [z, weight], [torch.tensor([[1.0], [2.0]])])
    assert of_z.tolist() == [[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]
    assert of_weight.tolist() == [[13.0, 0.0, 0.0]]
