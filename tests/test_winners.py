"""k-winners against torch.topk and sorted lists; every way to compute them gives the same."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dendrites import KWinners, k_winners, winners_count
from dendrites.kernels import load_kernels
from dendrites.winners import relu, winners_by_c, winners_by_partition, winners_by_topk

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
from dendrites.winners import k_winners
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


def test_without_a_compiler_the_result_is_the_same_and_one_line_says_so(tmp_path):
    x = randn(40, 37)
    x[3] = x[3].round()  # ties
    x[5, 2] = float("nan")
    torch.save(x, tmp_path / "x")
    program = (
        "import sys, torch; from dendrites import k_winners; folder = sys.argv[1];"
        "x = torch.load(folder + '/x').requires_grad_(); out = k_winners(x, 9); k_winners(x, 3);"
        "torch.save((out.detach(), *torch.autograd.grad(out.nansum(), [x])), folder + '/out')"
    )
    done = run_program(program, tmp_path, CC="no-such-compiler")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "k-winners: no C compiler ('no-such-compiler' not found), so numpy is used instead: "
        "slower, same winners, sums in another order"
    ]
    expected, expected_gradient = torch.load(tmp_path / "out")
    x.requires_grad_()
    out = k_winners(x, 9)
    (gradient,) = torch.autograd.grad(out.nansum(), [x])
    torch.testing.assert_close(out, expected, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=0)


build = load_kernels.__wrapped__  # as in a new process: without the memory of the first call


@pytest.mark.skipif(load_kernels() is None, reason="there is no C compiler")
def test_the_library_is_kept_and_a_cache_that_fails_is_done_without(tmp_path, monkeypatch, caplog):
    good, damaged = tmp_path / "good/active-dendrites", tmp_path / "damaged/active-dendrites"
    x, expected = torch.tensor([[1.0, 3.0, 2.0]]), [[0.0, 3.0, 2.0]]
    monkeypatch.setenv("XDG_CACHE_HOME", str(good.parent))
    assert winners_by_c(x, 2, build()).tolist() == expected
    (kept,) = good.iterdir()
    inode = kept.stat().st_ino
    build()
    assert kept.stat().st_ino == inode  # not built again
    damaged.mkdir(parents=True)
    (damaged / kept.name).write_bytes(b"damaged")
    for cache in (damaged.parent, kept):  # kept: a file, so nobody can make a folder in it
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
        assert winners_by_c(x, 2, build()).tolist() == expected
    assert not caplog.records


@pytest.mark.parametrize("compiler", [" ", 'cc "', "cc -O2"])
def test_an_odd_cc_is_no_reason_to_fail(tmp_path, monkeypatch, compiler):
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert build() is not None


def test_a_compiler_that_fails_is_quoted(tmp_path, monkeypatch, caplog):
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'error: no such flag' >&2\necho more >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert build() is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"k-winners: '{compiler}' does not compile it (error: no such flag), "
        "so numpy is used instead: slower, same winners, sums in another order"
    )


@quick
@given(
    rows=st.integers(1, 4).flatmap(
        lambda count: st.lists(
            st.lists(st.floats(width=32), min_size=6, max_size=6), min_size=count, max_size=count
        )
    ),
    tied=st.booleans(),
    k=st.integers(1, 5),
)
def test_c_partition_and_topk_give_the_same(rows, tied, k):
    x = torch.tensor(rows)  # NaN and infinities among them
    x = x.clamp(-2, 2).round() if tied else x
    by_topk = winners_by_topk(x, k)
    same = {"rtol": 0, "atol": 0, "equal_nan": True}
    torch.testing.assert_close(winners_by_partition(x, k), by_topk, **same)
    kernels = load_kernels()
    if kernels is not None:
        torch.testing.assert_close(winners_by_c(x, k, kernels), by_topk, **same)


def test_relu_and_its_gradient():
    x = torch.tensor([-2.0, -0.0, 0.0, 3.0, float("nan")], requires_grad=True)
    out = relu(x)
    torch.testing.assert_close(out, torch.relu(x), rtol=0, atol=0, equal_nan=True)
    (gradient,) = torch.autograd.grad(out, [x], [torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])])
    assert gradient.tolist() == [0.0, 0.0, 0.0, 4.0, 5.0]


def test_the_module_keeps_the_fraction_of_its_units():
    module = KWinners(20, density=0.25)
    x = randn(3, 20)
    assert torch.equal(module(x), k_winners(x, 5))
    assert str(module) == "KWinners(5 of 20 win)"


@pytest.mark.parametrize("density", [0, -0.1, 1.01, float("nan")])
def test_a_fraction_outside_the_range_is_refused(density):
    with pytest.raises(ValueError, match=r"^density must be in \(0, 1\], got "):
        KWinners(20, density)


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("k", [0, -1])
def test_fewer_than_one_winner_is_refused(k, dtype):
    with pytest.raises(ValueError, match=f"^k must be at least 1, got {k}$"):
        k_winners(torch.ones(3, 6, dtype=dtype), k)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_operators_keep_the_strides_that_they_promise_to_the_compiler(dtype):
    checks = ("test_schema", "test_faketensor")
    strided = randn(6, 5).to(dtype).T  # [5, 6]
    operators = torch.ops.dendrites
    torch.library.opcheck(operators.k_winners, (strided, 2), test_utils=checks)
    torch.library.opcheck(operators.gradient_of_active, (strided, strided), test_utils=checks)
    torch.library.opcheck(
        operators.keep_largest, (strided, strided, torch.tensor(2.0)), test_utils=checks
    )
