"""k-winners against torch.topk and sorted lists."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.activations import k_winners, winners_count

quick = settings(deadline=None, max_examples=100)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def naive(row, k):
    """Every value equal to the k-th largest is kept."""
    threshold = sorted(row, reverse=True)[k - 1]
    return [value if value >= threshold else 0.0 for value in row]


@quick
@given(lead=st.lists(st.integers(1, 4), max_size=3), units=st.integers(2, 300), data=st.data())
def test_equals_topk_on_random_rows(lead, units, data):
    k = data.draw(st.integers(1, units - 1))
    x = randn(*lead, units, seed=data.draw(st.integers(0, 1000)))
    best = x.topk(k, dim=-1)
    expected = torch.zeros_like(x).scatter(-1, best.indices, best.values)
    assert torch.equal(k_winners(x, k), expected)


@quick
@given(row=st.lists(finite, min_size=1, max_size=40), data=st.data())
def test_equals_a_sorted_list_for_any_finite_floats(row, data):
    # from the smallest subnormal to the largest float, of either sign
    k = data.draw(st.integers(1, len(row)))
    assert k_winners(torch.tensor(row), k).tolist() == naive(row, k)


@quick
@given(row=st.lists(st.integers(-3, 3), min_size=1, max_size=40), data=st.data())
def test_every_value_equal_to_the_kth_largest_is_kept(row, data):
    k = data.draw(st.integers(1, len(row)))
    assert k_winners(torch.tensor(row, dtype=torch.float32), k).tolist() == naive(row, k)


def test_neighbouring_floats_are_told_apart():
    row = [torch.tensor(1.0)]
    for _ in range(20):
        row.append(torch.nextafter(row[-1], torch.tensor(2.0)))
    x = torch.stack(row)[torch.randperm(21, generator=torch.Generator().manual_seed(0))]
    for k in range(1, 21):
        assert k_winners(x, k).tolist() == naive(x.tolist(), k)


def test_ties_by_hand():
    x = torch.tensor([[1.0, 5.0, 5.0, 5.0, 2.0]])
    assert k_winners(x, 2).tolist() == [[0.0, 5.0, 5.0, 5.0, 0.0]]


def test_a_negative_winner_passes():
    x = torch.tensor([-4.0, -1.0, -3.0, -2.0])
    assert k_winners(x, 2).tolist() == [0.0, -1.0, 0.0, -2.0]


@quick
@given(units=st.integers(2, 60), data=st.data())
def test_gradient_is_the_identity_on_winners_and_zero_elsewhere(units, data):
    k = data.draw(st.integers(1, units - 1))
    x = randn(3, units, seed=data.draw(st.integers(0, 1000))).requires_grad_()
    cotangent = randn(3, units, seed=7)
    (gradient,) = torch.autograd.grad(k_winners(x, k), [x], [cotangent])
    wins = torch.zeros_like(x).scatter(-1, x.detach().topk(k).indices, 1.0)
    assert torch.equal(gradient, cotangent * wins)


def test_strided_inputs_and_gradients_are_read_in_their_own_order():
    x = randn(9, 5).T.requires_grad_()  # [5, 9], not contiguous
    cotangent = randn(9, 5, seed=1).T
    out = k_winners(x, 4)
    (gradient,) = torch.autograd.grad(out, [x], [cotangent])
    best = x.detach().topk(4)
    wins = torch.zeros(5, 9).scatter(-1, best.indices, 1.0)
    assert torch.equal(out, x * wins)
    assert torch.equal(gradient, cotangent * wins)


def test_the_input_is_left_alone():
    x = randn(4, 20)
    before = x.clone()
    k_winners(x, 5)
    assert torch.equal(x, before)


@pytest.mark.parametrize("k", [4, 5, 100])
def test_k_of_all_units_or_more_is_the_identity(k):
    x = randn(2, 4).requires_grad_()
    out = k_winners(x, k)
    assert torch.equal(out, x)
    (gradient,) = torch.autograd.grad(out.sum(), [x])
    assert torch.equal(gradient, torch.ones_like(x))


def test_rows_compete_among_themselves_only():
    x = torch.tensor([[1.0, 2.0], [100.0, 200.0]])
    assert k_winners(x, 1).tolist() == [[0.0, 2.0], [0.0, 200.0]]


@pytest.mark.parametrize("fault", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 7, 19])
def test_a_row_with_a_fault_passes_whole_and_the_others_compete(fault, place):
    x = randn(3, 20)
    clean = k_winners(x, 5)
    x[1, place] = fault
    out = k_winners(x, 5)
    torch.testing.assert_close(out[1], x[1], rtol=0, atol=0, equal_nan=True)
    assert torch.equal(out[[0, 2]], clean[[0, 2]])


def run_program(program, *arguments, **environment):
    """Run Python code in a process of its own, in the repository's root."""
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=os.environ | environment,
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )


def test_other_dtypes_are_computed_or_refused_but_never_misread():
    # in a process of its own: misreading one would overwrite foreign memory
    program = """
import torch
from agent.activations import k_winners
for dtype in (torch.float64, torch.float16, torch.bfloat16):
    x = torch.arange(4096).remainder(97).view(64, 64).to(dtype)
    try:
        out = k_winners(x, 16)
    except (TypeError, RuntimeError, NotImplementedError):
        continue
    assert out.dtype == dtype
    assert torch.equal(out, torch.where(x < x.topk(16).values[:, -1:], 0.0, x)), dtype
"""
    done = run_program(program)
    assert done.returncode == 0, done.stderr


def test_without_a_compiler_the_result_is_the_same(tmp_path):
    x = randn(40, 37)
    x[3] = x[3].round()  # ties
    x[5, 2] = float("nan")
    torch.save(x, tmp_path / "x")
    program = (
        "import sys, torch; from agent.activations import k_winners; folder = sys.argv[1];"
        "x = torch.load(folder + '/x').requires_grad_(); out = k_winners(x, 9);"
        "torch.save((out.detach(), *torch.autograd.grad(out.nansum(), [x])), folder + '/out')"
    )
    done = run_program(program, tmp_path, CC="no-such-compiler")
    assert done.returncode == 0, done.stderr
    expected, expected_gradient = torch.load(tmp_path / "out")
    x.requires_grad_()
    out = k_winners(x, 9)
    (gradient,) = torch.autograd.grad(out.nansum(), [x])
    torch.testing.assert_close(out, expected, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("units", "density", "k"),
    [
        (2800, 0.25, 700),  # published MT10 networks
        (2048, 0.05, 102),  # published permutedMNIST networks: 102.4
        (256, 0.25, 64),
        (10, 0.16, 2),
        (10, 0.14, 1),
        (10, 0.25, 2),  # a half goes to the even number, as Python rounds
        (10, 0.35, 4),
        (10, 0.001, 1),  # at least one
        (7, 1.0, 7),
    ],
)
def test_winners_count_rounds(units, density, k):
    assert winners_count(units, density) == k
