"""k-winners and the map after them as one: the numbers, ties, faults, stacks, and where it is used."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._dynamo.backends.common import aot_autograd

from dendrites import KWinners, SparseLinear, k_winners
from dendrites.kernels import load_kernels
from dendrites.winners_product import product_of_winners, skips_losers

with_kernels = pytest.mark.skipif(load_kernels() is None, reason="there is no C compiler")
CPU, FLOAT = torch.device("cpu"), torch.float32


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def dense(z, k, weight):
    """The same in float64, from parts that know nothing of each other."""
    x = k_winners(z, k)
    return (x.unsqueeze(-2) * weight.reshape(*weight.shape[:-2], *lead_of(z, weight))).sum(-1)


def lead_of(z, weight):
    """Ones for the samples' dimensions, between a stack and its weights."""
    samples = z.dim() - 1 - (weight.dim() == 3)
    return (*(1,) * samples, *weight.shape[-2:])


def assert_equals_dense(z, k, weight, cotangent):
    """Product and gradients against float64, to the rounding of float32 sums."""
    z, weight = z.clone().requires_grad_(), weight.clone().requires_grad_()
    y = product_of_winners(z, k, weight)
    gradients = torch.autograd.grad(y, [z, weight], [cotangent])
    exact_z, exact_weight = (one.detach().double().requires_grad_() for one in (z, weight))
    exact = dense(exact_z, k, exact_weight)
    expected = torch.autograd.grad(exact, [exact_z, exact_weight], [cotangent.double()])
    for ours, theirs in zip((y, *gradients), (exact, *expected), strict=True):
        scale = theirs.abs().max().item() + 1e-30
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=2e-6 * scale)
    assert torch.equal(gradients[0] == 0, expected[0] == 0)  # of losers exactly 0


@with_kernels
@settings(deadline=None, max_examples=80)
@given(
    stack=st.sampled_from([None, 1, 2, 3]),
    lead=st.lists(st.integers(1, 7), min_size=1, max_size=2),
    units=st.integers(2, 300),
    outputs=st.integers(1, 150),
    tied=st.booleans(),
    data=st.data(),
)
def test_product_and_gradients_equal_dense_ones_in_float64(stack, lead, units, outputs, tied, data):
    k = data.draw(st.integers(1, units - 1))
    generator = seeded(data.draw(st.integers(0, 1000)))
    e = () if stack is None else (stack,)
    z = torch.randn(*e, *lead, units, generator=generator)
    z = z.mul(2).round() if tied else z  # many winners are equal, and many are 0
    weight = torch.randn(*e, outputs, units, generator=generator)
    cotangent = torch.randn(*e, *lead, outputs, generator=generator)
    assert_equals_dense(z, k, weight, cotangent)


@with_kernels
@pytest.mark.parametrize("value", [0.0, 1.5, -2.0])
def test_in_a_row_of_equal_values_all_win(value):
    z, weight = torch.randn(5, 40, generator=seeded()), torch.randn(20, 40, generator=seeded(1))
    z[2] = value
    assert_equals_dense(z, 10, weight, torch.randn(5, 20, generator=seeded(2)))
    y = product_of_winners(z, 10, weight)
    torch.testing.assert_close(y[2], value * weight.sum(-1), rtol=1e-5, atol=1e-5)


@with_kernels
def test_a_product_by_hand():
    z = torch.tensor([[1.0, 5.0, -3.0, 5.0], [-1.0, -4.0, -2.0, -3.0]], requires_grad=True)
    weight = torch.tensor([[1.0, 10.0, 100.0, 1000.0]], requires_grad=True)
    y = product_of_winners(z, 1, weight)
    assert y.tolist() == [[5050.0], [-1.0]]  # a tie of two; the largest of negative ones
    z_gradient, w_gradient = torch.autograd.grad(y, [z, weight], [torch.tensor([[1.0], [2.0]])])
    assert z_gradient.tolist() == [[0.0, 10.0, 0.0, 1000.0], [2.0, 0.0, 0.0, 0.0]]
    assert w_gradient.tolist() == [[-2.0, 5.0, 0.0, 5.0]]


@with_kernels
@pytest.mark.parametrize("fault", [float("nan"), float("inf"), -float("inf")])
def test_a_fault_shows_in_its_row_and_its_gradients_and_nowhere_else(fault):
    z, weight = torch.randn(4, 40, generator=seeded()), torch.randn(9, 40, generator=seeded(1))
    clean = product_of_winners(z, 10, weight)
    z[1, 7] = fault
    z, weight = z.requires_grad_(), weight.requires_grad_()
    y = product_of_winners(z, 10, weight)
    assert not y[1].isfinite().any()
    assert torch.equal(y[[0, 2, 3]], clean[[0, 2, 3]])
    z_gradient, w_gradient = torch.autograd.grad(y.sum(), [z, weight])
    torch.testing.assert_close(z_gradient[1], weight.detach().sum(0))  # all of its units passed
    assert not w_gradient[:, 7].isfinite().any()
    assert w_gradient[:, torch.arange(40) != 7].isfinite().all()


@with_kernels
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_row_is_the_same_wherever_it_stands_and_however_many_threads(threads):
    z, weight = torch.randn(301, 96, generator=seeded()), torch.randn(70, 96, generator=seeded(1))
    cotangent = torch.randn(301, 70, generator=seeded(2))

    def compute(order):
        ours, w = z[order].requires_grad_(), weight.clone().requires_grad_()
        y = product_of_winners(ours, 24, w)
        return y.detach(), *torch.autograd.grad(y, [ours, w], [cotangent[order]])

    before = torch.get_num_threads()
    alone = compute(torch.arange(301))
    try:
        torch.set_num_threads(threads)
        again, order = compute(torch.arange(301)), torch.randperm(301, generator=seeded(3))
        shuffled = compute(order)
    finally:
        torch.set_num_threads(before)
    for one, other in zip(alone, again, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(alone[0][order], shuffled[0])
    assert torch.equal(alone[1][order], shuffled[1])


@with_kernels
def test_strided_arguments_are_read_in_their_own_order():
    z = torch.randn(40, 6, generator=seeded()).T  # [6, 40]
    weight = torch.randn(40, 11, generator=seeded(1)).T  # [11, 40]
    cotangent = torch.randn(11, 6, generator=seeded(2)).T
    assert_equals_dense(z, 10, weight, cotangent)


@with_kernels
def test_an_empty_batch_is_empty():
    z, weight = torch.zeros(0, 40, requires_grad=True), torch.ones(9, 40, requires_grad=True)
    y = product_of_winners(z, 10, weight)
    z_gradient, w_gradient = torch.autograd.grad(y.sum(), [z, weight])
    assert (y.shape, z_gradient.shape) == ((0, 9), (0, 40))
    assert torch.equal(w_gradient, torch.zeros(9, 40))


@pytest.mark.parametrize("product_dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("weight_density", [1.0, 0.5])
@pytest.mark.parametrize("stack", [None, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_map_after_an_activation_is_the_map_of_its_output(
    dtype, stack, weight_density, product_dtype
):
    options = {"weight_density": weight_density, "stack": stack, "product_dtype": product_dtype}
    layer = SparseLinear(32, 12, generator=seeded(), **options).to(dtype)
    after = KWinners(32, 0.25)
    z = torch.randn(*(() if stack is None else (2,)), 3, 5, 32, generator=seeded(1), dtype=dtype)
    z.requires_grad_()
    results = []
    for out in (layer(z, after), layer(after(z))):
        cotangent = torch.randn(out.shape, generator=seeded(2), dtype=dtype)
        results.append((out, *torch.autograd.grad(out, [z, *layer.parameters()], [cotangent])))
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def test_the_gradient_of_a_map_after_an_activation_is_that_of_finite_differences():
    layer = SparseLinear(12, 9, weight_density=0.5, stack=2, generator=seeded()).double()
    z = torch.randn(2, 4, 12, generator=seeded(1), dtype=torch.float64, requires_grad=True)
    after = KWinners(12, 0.25)

    def run(z, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (z, after))

    assert torch.autograd.gradcheck(run, (z, layer.weight, layer.bias))


@with_kernels
def test_hooks_on_the_activation_see_its_output():
    layer, after, seen = SparseLinear(32, 12, generator=seeded()), KWinners(32, 0.25), []
    z = torch.randn(5, 32, generator=seeded(1))
    expected = layer(z, after)
    hook = after.register_forward_hook(lambda _own, _inputs, output: seen.append(output))
    torch.testing.assert_close(layer(z, after), expected)
    hook.remove()
    assert torch.equal(seen[0], k_winners(z, 8))
    before = after.register_forward_pre_hook(lambda _own, inputs: seen.append(inputs[0]))
    layer(z, after)
    before.remove()
    assert torch.equal(seen[1], z)


@with_kernels
@pytest.mark.parametrize(
    ("z", "k", "weight", "message"),
    [
        ((4, 6), 2, (3, 5), r"z must have size 5, got 6"),
        (
            (3, 4, 5),
            2,
            (2, 3, 5),
            r"z of a stack must have shape \[2, \.\.\., 5\], got \[3, 4, 5\]",
        ),
        ((4, 5), 0, (3, 5), r"k must be at least 1, got 0"),
        ((4, 5), 2, (5,), r"weight must be \[out, in\] or \[E, out, in\], got \[5\]"),
    ],
)
def test_what_the_c_code_would_misread_is_refused_in_one_line(z, k, weight, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        product_of_winners(torch.ones(z), k, torch.ones(weight))


@with_kernels
def test_other_dtypes_are_refused_in_one_line():
    with pytest.raises(
        ValueError, match=r"^z must be float32 on the CPU, got torch\.float64 on cpu$"
    ):
        product_of_winners(torch.ones(4, 5).double(), 2, torch.ones(3, 5))


class Graphs:
    """Counts the operators in what the compiler is given, and runs it as it is."""

    def __init__(self):
        self.operators = []

    def __call__(self, graph, _inputs):
        self.operators += [str(node.target) for node in graph.graph.nodes]
        return graph


@with_kernels
@pytest.mark.parametrize("stack", [None, 2])
@pytest.mark.parametrize("constant_weights", [False, True])
def test_it_is_part_of_a_compiled_graph(stack, constant_weights):
    layer = SparseLinear(32, 12, stack=stack, generator=seeded())
    layer.requires_grad_(not constant_weights)
    after = KWinners(32, 0.25)
    z = torch.randn(*(() if stack is None else (2,)), 5, 32, generator=seeded(1))
    wanted = [z.requires_grad_(), *(() if constant_weights else layer.parameters())]
    forward, backward = Graphs(), Graphs()
    backend = aot_autograd(fw_compiler=forward, bw_compiler=backward)
    compiled = torch.compile(layer, backend=backend, fullgraph=True, dynamic=False)
    results = []
    for run in (layer, compiled):
        out = run(z, after).square()
        results.append((out, *torch.autograd.grad(out.sum(), wanted)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
    assert "dendrites.winners_product.default" in forward.operators
    assert "dendrites.winners_input_gradient.default" in backward.operators
    computes_weights = "dendrites.winners_weight_gradient.default" in backward.operators
    assert computes_weights is not constant_weights
    torch.compiler.reset()


@with_kernels
@pytest.mark.parametrize("stack", [None, 2])
def test_the_operators_keep_what_they_promise_to_the_compiler(stack):
    e = () if stack is None else (2,)
    z, weight = torch.randn(*e, 5, 32), torch.randn(*e, 12, 32)
    y, lists, spans = torch.ops.dendrites.winners_product(z, weight, 8)
    checks = ("test_schema", "test_faketensor")
    # the lists have room for more than is written, so their values differ from run to run
    operators = torch.ops.dendrites
    torch.library.opcheck(
        operators.winners_input_gradient, (y, weight, lists, spans), test_utils=checks
    )
    torch.library.opcheck(
        operators.winners_weight_gradient, (y, weight, lists, spans), test_utils=checks
    )
    torch.library.opcheck(
        operators.winners_product, (z, weight, 8), test_utils=("test_faketensor",)
    )


@with_kernels
@pytest.mark.parametrize(
    ("units", "winners", "outputs", "dtype", "device", "expected"),
    [
        (256, 64, 256, FLOAT, CPU, True),
        (400, 100, 61, FLOAT, CPU, True),
        (256, 85, 256, FLOAT, CPU, True),  # a third
        (256, 86, 256, FLOAT, CPU, False),
        (256, 64, 1, FLOAT, CPU, False),
        (2800, 700, 2800, FLOAT, CPU, False),
        (256, 64, 256, torch.bfloat16, CPU, False),
        (256, 64, 256, torch.float64, CPU, False),
        (256, 64, 256, FLOAT, torch.device("cuda"), False),
    ],
)
def test_the_rule(units, winners, outputs, dtype, device, expected):
    assert skips_losers(units, winners, outputs, dtype, device) is expected
