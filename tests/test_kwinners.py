"""k-winners against torch.topk and sorted lists."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.kwinners import k_winners, winners_count

quick = settings(deadline=None, max_examples=80)


def randn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@quick
@given(
    lead=st.lists(st.integers(1, 4), max_size=3),
    units=st.integers(2, 50),
    data=st.data(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_equals_topk_on_random_rows(lead, units, data, dtype):
    k = data.draw(st.integers(1, units - 1))
    x = randn(*lead, units, seed=data.draw(st.integers(0, 1000)), dtype=dtype)
    best = x.topk(k, dim=-1)
    expected = torch.zeros_like(x).scatter(-1, best.indices, best.values)
    out = k_winners(x, k)
    assert out.dtype == dtype
    assert torch.equal(out, expected)


@quick
@given(row=st.lists(st.integers(-3, 3), min_size=1, max_size=12), data=st.data())
def test_every_value_equal_to_the_kth_largest_is_kept(row, data):
    k = data.draw(st.integers(1, len(row)))
    threshold = sorted(row, reverse=True)[k - 1]
    expected = [float(v) if v >= threshold else 0.0 for v in row]
    assert k_winners(torch.tensor(row, dtype=torch.float32), k).tolist() == expected


def test_ties_by_hand():
    x = torch.tensor([[1.0, 5.0, 5.0, 5.0, 2.0]])
    assert k_winners(x, 2).tolist() == [[0.0, 5.0, 5.0, 5.0, 0.0]]


def test_a_negative_winner_passes():
    x = torch.tensor([-4.0, -1.0, -3.0, -2.0])
    assert k_winners(x, 2).tolist() == [0.0, -1.0, 0.0, -2.0]


@quick
@given(units=st.integers(2, 30), data=st.data())
def test_gradient_is_the_identity_on_winners_and_zero_elsewhere(units, data):
    k = data.draw(st.integers(1, units - 1))
    x = randn(3, units, seed=data.draw(st.integers(0, 1000))).requires_grad_()
    cotangent = randn(3, units, seed=7)
    (gradient,) = torch.autograd.grad(k_winners(x, k), [x], [cotangent])
    wins = torch.zeros_like(x).scatter(-1, x.detach().topk(k).indices, 1.0)
    assert torch.equal(gradient, cotangent * wins)


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


@pytest.mark.parametrize("row", [[1.0, float("nan"), 3.0, 2.0], [float("nan")] * 4])
def test_nan_is_passed_on_and_not_silenced(row):
    assert k_winners(torch.tensor(row), 2).isnan().any()


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
