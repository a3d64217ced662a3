"""Dendritic segments against a naive triple loop, in every layout, gating and stack."""

import math

import pytest
import torch
from torch.func import functional_call

from dendrites import GATINGS, DendriticSegments, nonzero_parameters, strongest_segment
from dendrites.segments import select_segment

COMPETING = ("abs_max_signed", "max", "abs_max_unsigned", "additive_bias")
UNITS, SEGMENTS, CONTEXT, TASKS, PER_TASK = 5, 4, 6, 3, 4


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make_layer(gating="abs_max_signed", seed=0, **settings):
    arguments = {"num_segments": SEGMENTS, "generator": seeded(seed), **settings}
    return DendriticSegments(UNITS, CONTEXT, gating=gating, **arguments)


def randn(*shape, seed=1, dtype=torch.float64):
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def naive_choice(activations, gating):
    if gating == "abs_max_signed":
        return max(activations, key=abs)
    if gating == "abs_max_unsigned":
        return max(abs(s) for s in activations)
    if gating in ("max", "additive_bias"):
        return max(activations)
    if gating == "attention":
        scores = [math.exp(abs(s) / 0.1) for s in activations]
        return sum(e * s for e, s in zip(scores, activations, strict=True)) / sum(scores)
    assert gating in ("single_segment", "gate_table"), f"no naive version of {gating}"
    return activations[0]


def naive_layer(weight, x, context, gating):
    """Rows, units, segments: one Python float at a time."""
    out = []
    for row, c in zip(x.tolist(), context.tolist(), strict=True):
        values = []
        for y, segments in zip(row, weight.transpose(0, 1).tolist(), strict=True):
            activations = [sum(v * ck for v, ck in zip(s, c, strict=True)) for s in segments]
            d = naive_choice(activations, gating)
            values.append(y + d if gating == "additive_bias" else y / (1 + math.exp(-d)))
        out.append(values)
    return torch.tensor(out, dtype=torch.float64)


@pytest.mark.parametrize("segment_density", [1.0, 0.5])
@pytest.mark.parametrize("gating", GATINGS)
def test_layer_equals_a_naive_triple_loop(gating, segment_density):
    layer = make_layer(gating, segment_density=segment_density).double()
    x, context = randn(7, UNITS), randn(7, CONTEXT, seed=2)
    expected = naive_layer(layer.weight, x, context, gating)
    torch.testing.assert_close(layer(x, context), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("gating", "expected"),
    [("abs_max_signed", -3.0), ("max", 2.0), ("abs_max_unsigned", 3.0), ("additive_bias", 2.0)],
)
def test_selection_by_hand(gating, expected):
    assert select_segment(torch.tensor([[1.0], [-3.0], [2.0]]), gating).item() == expected


@pytest.mark.parametrize(
    ("gating", "expected"),
    [
        ("abs_max_signed", 1),
        ("max", 2),
        ("abs_max_unsigned", 1),
        ("additive_bias", 2),
        ("attention", 1),
    ],
)
def test_the_strongest_segment_by_hand(gating, expected):
    assert strongest_segment(torch.tensor([[1.0], [-3.0], [2.0]]), gating).item() == expected


@pytest.mark.parametrize("gating", [gating for gating in GATINGS if gating != "abs_max_unsigned"])
def test_the_strongest_segment_is_the_one_that_is_selected(gating):
    activations = randn(
        4, 1 if gating in ("single_segment", "gate_table") else 8, 50
    )  # [4, J, units]
    strongest = strongest_segment(activations, gating).unsqueeze(-2)
    selected = select_segment(activations, gating, temperature=1e-9)
    torch.testing.assert_close(activations.gather(-2, strongest).squeeze(-2), selected)


@pytest.mark.parametrize("gating", ["single_segment", "gate_table"])
def test_a_lone_segment_is_selected_whatever_its_sign(gating):
    assert select_segment(torch.tensor([[-0.5]]), gating).tolist() == [-0.5]


def test_abs_max_signed_keeps_the_sign_of_the_winner():
    activations = randn(8, 200)
    chosen = select_segment(activations, "abs_max_signed")
    torch.testing.assert_close(chosen.abs(), activations.abs().amax(-2), rtol=0, atol=0)
    assert ((activations == chosen.unsqueeze(-2)).sum(-2) == 1).all()
    assert (chosen < 0).any()
    assert (chosen > 0).any()


@pytest.mark.parametrize("gating", GATINGS)
def test_gate_and_modulation_by_hand(gating):
    layer = make_layer(gating)
    layer.weight.data.fill_(0)[..., 2] = math.log(3)  # sigma(ln 3) = 3/4
    gate = layer.gate(torch.eye(CONTEXT)[2])
    adds = gating == "additive_bias"
    assert gate.tolist() == pytest.approx([math.log(3) if adds else 0.75] * UNITS)
    out = layer.modulate(torch.tensor([4.0, -8.0, 0.0, 1.0, 2.0]), torch.tensor(0.5))
    assert out.tolist() == ([4.5, -7.5, 0.5, 1.5, 2.5] if adds else [2.0, -4.0, 0.0, 0.5, 1.0])


def layouts(layer, x, context, order):
    """The same samples task-major, with a context per row, and in another order."""
    lead, back = x.dim() - 3, order.argsort()
    per_row = context.unsqueeze(lead + 1).expand(*x.shape[:-1], CONTEXT)
    gate = layer.gate(context).index_select(-2, order // PER_TASK)  # each sample's task
    shuffled = layer.modulate(x.flatten(-3, -2).index_select(-2, order), gate)
    return (
        layer(x, context.unsqueeze(-2)),
        layer(x, per_row),
        shuffled.index_select(-2, back).unflatten(-2, (TASKS, PER_TASK)),
    )


@pytest.mark.parametrize("stack", [None, 2])
@pytest.mark.parametrize("gating", GATINGS)
def test_task_major_per_row_and_shuffled_samples_agree_in_values_and_gradients(gating, stack):
    lead = () if stack is None else (stack,)
    layer = make_layer(gating, stack=stack, segment_density=0.7).double()
    x = randn(*lead, TASKS, PER_TASK, UNITS).requires_grad_()
    context = randn(*lead, TASKS, CONTEXT, seed=2).requires_grad_()
    order = torch.randperm(TASKS * PER_TASK, generator=seeded(3))
    cotangent = randn(*lead, TASKS, PER_TASK, UNITS, seed=4)

    outputs = layouts(layer, x, context, order)
    leaves = [layer.weight, x, context]
    gradients = [torch.autograd.grad((out * cotangent).sum(), leaves) for out in outputs]

    for out, gradient in zip(outputs[1:], gradients[1:], strict=True):
        torch.testing.assert_close(out, outputs[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradient, gradients[0], rtol=1e-12, atol=1e-12)
    assert all(gradient.abs().max() > 0 for gradient in gradients[0])


@pytest.mark.parametrize("gating", GATINGS)
def test_a_stack_of_two_equals_two_layers_with_its_weights(gating):
    stack = make_layer(gating, stack=2).double()
    x, context = randn(2, TASKS, PER_TASK, UNITS), randn(2, TASKS, 1, CONTEXT, seed=2)
    out = stack(x, context)
    for copy in range(2):
        single = make_layer(gating, seed=9).double()
        single.weight.data.copy_(stack.weight.data[copy])
        torch.testing.assert_close(single(x[copy], context[copy]), out[copy], rtol=0, atol=1e-14)
    assert not torch.equal(stack.weight[0], stack.weight[1])


def test_a_gate_for_each_copy_of_a_stack_serves_all_its_rows():
    # as many copies as rows: aligned from the right, copy and row would be confused
    layer = make_layer(stack=2).double()
    y, context = randn(2, 2, UNITS), randn(2, CONTEXT, seed=2)
    expected = layer(y, context.unsqueeze(1))
    torch.testing.assert_close(layer(y, context), expected, rtol=0, atol=0)


@pytest.mark.parametrize("gating", COMPETING)
def test_gradient_reaches_the_winning_segment_only(gating):
    layer = make_layer(gating).double()
    context = randn(CONTEXT)
    weight = layer.weight.detach()
    activations = weight @ context  # [segments, units]
    key = activations if gating in ("max", "additive_bias") else activations.abs()
    winner = key.argmax(0)

    (gradient,) = torch.autograd.grad(layer(randn(UNITS, seed=2), context).sum(), [layer.weight])

    touched = gradient.abs().amax(-1) > 0  # [segments, units]
    assert touched.int().argmax(0).tolist() == winner.tolist()
    assert touched.sum().item() == UNITS


@pytest.mark.parametrize("gating", COMPETING)
def test_in_a_tie_abs_max_signed_takes_the_first_and_the_others_share_the_gradient(gating):
    activations = torch.tensor([[1.0], [2.0], [2.0]], requires_grad=True)
    chosen = select_segment(activations, gating)
    (gradient,) = torch.autograd.grad(chosen.sum(), [activations])
    assert chosen.tolist() == [2.0]
    shares = [0.0, 1.0, 0.0] if gating == "abs_max_signed" else [0.0, 0.5, 0.5]
    assert gradient.flatten().tolist() == shares


def test_in_a_tie_of_opposite_signs_abs_max_signed_takes_the_first():
    activations = torch.tensor([[-2.0, 2.0], [2.0, -2.0]]).T
    assert select_segment(activations, "abs_max_signed").tolist() == [-2.0, 2.0]


@pytest.mark.parametrize("gating", GATINGS)
def test_gradients_pass_gradcheck_in_float64(gating):
    layer = make_layer(gating, segment_density=0.7).double()
    activations = layer.activations(randn(2, CONTEXT, seed=2)).detach()
    best = activations.abs().topk(min(2, activations.shape[-2]), dim=-2).values
    assert best.shape[-2] == 1 or (best[..., 0, :] - best[..., 1, :]).min() > 1e-4  # away from ties

    def run(x, context, weight):
        return functional_call(layer, {"weight": weight}, (x, context))

    weight = layer.weight.detach().clone().requires_grad_()
    inputs = (randn(2, UNITS).requires_grad_(), randn(2, CONTEXT, seed=2).requires_grad_(), weight)
    assert torch.autograd.gradcheck(run, inputs, eps=1e-6, atol=1e-7)


@pytest.mark.parametrize("stack", [None, 2])
@pytest.mark.parametrize("segment_density", [1.0, 0.5])
def test_gate_table_starts_with_the_gates_of_an_abs_max_signed_layer(segment_density, stack):
    settings = {"stack": stack, "segment_density": segment_density}
    table = make_layer("gate_table", **settings)
    segments = make_layer("abs_max_signed", **settings)
    lead = () if stack is None else (stack,)
    one_hot = torch.eye(CONTEXT).expand(*lead, -1, -1)  # [*E, C, C]
    ones = torch.ones(*lead, CONTEXT, UNITS)
    torch.testing.assert_close(table(ones, one_hot), segments(ones, one_hot), rtol=0, atol=0)
    assert table.weight.shape == (*lead, 1, UNITS, CONTEXT)


def test_gate_table_is_a_look_up_under_a_one_hot_context():
    table = make_layer("gate_table")
    x = randn(CONTEXT, UNITS, dtype=torch.float32)
    out = table(x, torch.eye(CONTEXT))
    for task in range(CONTEXT):
        for unit in range(UNITS):
            gate = 1 / (1 + math.exp(-table.weight[0, unit, task].item()))
            assert out[task, unit].item() == pytest.approx(x[task, unit].item() * gate, rel=1e-6)
    (gradient,) = torch.autograd.grad(out[2].sum(), [table.weight])
    assert gradient.abs().sum(dim=(0, 1)).count_nonzero() == 1  # one task, one column


@pytest.mark.parametrize(
    ("context_density", "segment_density", "bound"),
    # 1 / sqrt(context_density * segment_density * 10)
    [(1.0, 1.0, 0.316228), (0.1, 1.0, 1.0), (0.1, 0.5, 1.414214)],
)
def test_segments_start_uniform_between_the_bounds(context_density, segment_density, bound):
    layer = DendriticSegments(
        300,
        10,
        context_density=context_density,
        segment_density=segment_density,
        generator=seeded(),
    )
    weight = layer.weight.detach()
    drawn = weight if layer.mask is None else weight[layer.mask]
    assert 0.99 * bound < drawn.max().item() <= bound * (1 + 1e-5)
    assert -bound * (1 + 1e-5) <= drawn.min().item() < -0.99 * bound
    assert drawn.var().item() == pytest.approx(bound**2 / 3, rel=0.03)
    assert drawn.mean().item() == pytest.approx(0, abs=0.02 * bound)


@pytest.mark.parametrize("stack", [None, 2])
@pytest.mark.parametrize(("density", "ones"), [(0.5, 3), (0.3, 2), (0.01, 1)])
def test_every_segment_has_the_exact_density(density, ones, stack):
    layer = make_layer(segment_density=density, stack=stack)
    assert set(layer.mask.sum(-1).flatten().tolist()) == {ones}
    assert torch.equal(layer.weight != 0, layer.mask)
    assert nonzero_parameters(layer) == (stack or 1) * UNITS * SEGMENTS * ones


def test_masked_segment_weights_never_act():
    layer = make_layer(segment_density=0.5)
    layer.weight.data.fill_(1.0)  # as if something had moved the masked ones
    assert layer.activations(torch.ones(CONTEXT)).tolist() == [[3.0] * UNITS] * SEGMENTS


@pytest.mark.parametrize(("gating", "stored"), [("single_segment", 1), ("gate_table", 1)])
def test_single_segment_and_gate_table_store_one_segment_per_unit(gating, stored):
    layer = make_layer(gating)
    assert layer.weight.shape == (stored, UNITS, CONTEXT)
    assert nonzero_parameters(layer) == UNITS * CONTEXT


def test_equal_generators_give_equal_layers():
    one, same, other = (make_layer(segment_density=0.5, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.weight, same.weight)
    assert not torch.equal(one.weight, other.weight)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"gating": "min"}, "gating must be one of abs_max_signed, .*, got 'min'"),
        ({"num_segments": 0}, "num_segments must be at least 1, got 0"),
        ({"segment_density": 0.0}, r"segment_density must be in \(0, 1\], got 0.0"),
        ({"context_density": 2}, r"context_density must be in \(0, 1\], got 2"),
        ({"stack": 0}, "stack must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(wrong, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make_layer(**wrong)


@pytest.mark.parametrize(
    ("stack", "shape", "message"),
    [
        (None, (3, 7), "context must have size 6, got 7"),
        (None, (), "context must have size 6, got 1"),
        (2, (3, 6), r"context of a stack must have shape \[2, ..., 6\], got \[3, 6\]"),
        (2, (6,), r"context of a stack must have shape \[2, ..., 6\], got \[6\]"),
    ],
)
def test_a_context_of_the_wrong_size_is_refused_in_one_line(stack, shape, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make_layer(stack=stack).gate(torch.zeros(shape))


def test_print_shows_sizes_density_and_gating():
    assert str(make_layer("max", segment_density=0.5, stack=2)) == (
        "DendriticSegments(units=5, context_size=6, num_segments=4, gating=max, "
        "segment_density=0.5, stack=2)"
    )
