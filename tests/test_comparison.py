"""Comparisons over seeds: against scipy, by hand, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from docs.build.looks import FIRST_LOOK, FIRST_SEED, LAST_LOOK
from reporting.comparison import LEVEL, MARGIN, bootstrap_interval, compare, holm
from sweeps.definition import read_sweep


def test_holm_by_hand() -> None:
    """0.01 times 3; 0.02 times 2, which is no less than 0.03; 0.9 times 1."""
    assert holm(np.array([0.02, 0.9, 0.01])) == pytest.approx([0.04, 0.9, 0.03])
    assert holm(np.array([0.02, 0.021, 0.5])) == pytest.approx([0.06, 0.06, 0.5])
    assert holm(np.array([0.6, 0.7])) == pytest.approx([1.0, 1.0])
    assert holm(np.array([0.02, 0.01]), number=4) == pytest.approx([0.06, 0.04])  # 3 and 4 times


@given(arrays(np.float64, st.integers(1, 8), elements=st.floats(0, 1)))
def test_holm_lies_between_no_correction_and_bonferroni(p_values: np.ndarray) -> None:
    adjusted = holm(p_values)
    assert (adjusted >= p_values).all()
    assert (adjusted <= np.minimum(1, len(p_values) * p_values) + 1e-12).all()


def test_a_comparison_is_scipys_t_test() -> None:
    values = np.array([0.02, 0.05, -0.01, 0.03, 0.04])
    (found,) = compare({"a": values}).values()
    test = stats.ttest_1samp(values, 0.0)
    assert found.p_different == pytest.approx(test.pvalue)
    assert found.interval == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert found.corrected == pytest.approx(found.interval)  # of one comparison
    above = stats.ttest_1samp(values, -MARGIN, alternative="greater").pvalue
    below = stats.ttest_1samp(values, MARGIN, alternative="less").pvalue
    assert found.p_equal == pytest.approx(max(above, below))
    assert (found.seeds, found.difference) == (5, pytest.approx(0.026))


def test_the_corrected_interval_is_bonferronis() -> None:
    rng = np.random.default_rng(0)
    values = {name: rng.normal(0, 0.1, 6) for name in "abcd"}
    for name, found in compare(values).items():
        test = stats.ttest_1samp(values[name], 0.0)
        assert found.corrected == pytest.approx(tuple(test.confidence_interval(1 - 0.05 / 4)))


def test_comparisons_without_data_yet_count() -> None:
    rng = np.random.default_rng(0)
    values = {name: rng.normal(0.1, 0.1, 6) for name in "abcdef"}
    few = compare({name: values[name] for name in "ab"}, number=6)
    every = compare(values)
    for name, found in few.items():
        assert found.corrected == pytest.approx(every[name].corrected)
        assert found.p_different >= every[name].p_different


@pytest.mark.parametrize("number", [1, 6])
def test_differences_without_spread_are_decided_by_sign_tests(number: int) -> None:
    """All on one side of 0, n times: 2 to the power of 1 - n."""
    assert compare({"a": np.full(3, 0.2)})["a"].p_different == pytest.approx(0.25)
    assert compare({"a": np.zeros(3)})["a"].p_equal == pytest.approx(0.125)
    rounded = np.array([0.9, 0.8, 1.0]) - np.array([0.7, 0.6, 0.8])
    assert np.ptp(rounded) > 0  # in the last bit
    assert compare({"a": rounded})["a"].p_different == pytest.approx(0.25)
    assert compare({"a": rounded}, margin=0.3)["a"].p_equal == pytest.approx(0.125)
    for value, verdict in ((0.2, "more"), (-0.2, "less"), (0.0, "equal")):
        (found,) = compare({"a": np.full(4, value)}, number).values()
        assert found.verdict == "undecided"
        assert found.more_seeds is not None
        for seeds, said in ((found.more_seeds + 4, verdict), (found.more_seeds + 3, "undecided")):
            assert compare({"a": np.full(seeds, value)}, number)["a"].verdict == said


def test_verdicts() -> None:
    spread = np.array([-0.01, 0.01, -0.02, 0.02, 0.0, 0.0])
    found = compare(
        {"more": 0.3 + spread, "less": -0.3 + spread, "equal": spread, "open": 5 * spread + 0.06}
    )
    verdicts = {name: one.verdict for name, one in found.items()}
    assert verdicts == {"more": "more", "less": "less", "equal": "equal", "open": "undecided"}
    assert found["open"].more_seeds is not None
    assert found["more"].more_seeds is None


def test_a_small_and_certain_difference_is_called_by_its_sign() -> None:
    """It is also within the margin; both tests decide."""
    spread = 0.002 * np.array([-1, 1, -2, 2, 0, 0])
    found = compare({"more": 0.02 + spread, "less": -0.02 + spread}, margin=0.05)
    assert {name: one.verdict for name, one in found.items()} == {"more": "more", "less": "less"}
    assert all(one.p_different < LEVEL and one.p_equal < LEVEL / 2 for one in found.values())


def test_one_and_two_seeds_decide_nothing() -> None:
    found = compare({"one": np.array([0.5]), "two": np.array([0.5, 0.5])})
    assert found["one"].interval is None
    assert found["one"].more_seeds is None
    assert found["two"].interval is None  # nor has it a spread to take one from
    assert {one.verdict for one in found.values()} == {"undecided"}


def test_so_many_more_seeds_do_decide_if_nothing_changes() -> None:
    """With mean and spread kept, the interval is off 0 with the seeds asked for, and not with one fewer."""
    values = 0.08 + 0.1 * np.array([-1.5, -0.5, 0.5, 1.5])
    (found,) = compare({"a": values}).values()
    assert found.more_seeds is not None
    spread = values.std(ddof=1)
    for seeds, decided in ((4 + found.more_seeds, True), (3 + found.more_seeds, False)):
        half = stats.t.ppf(0.975, seeds - 1) * spread / np.sqrt(seeds)
        assert bool(half < 0.08) == decided


def test_the_bootstrap_is_that_of_naive_resampling() -> None:
    """Of a symmetric sample BCa is nearly the percentile interval."""
    values = np.linspace(-0.1, 0.1, 15)
    rng = np.random.default_rng(1)
    means = [rng.choice(values, len(values)).mean() for _ in range(20_000)]
    assert bootstrap_interval(values) == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.002)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    (few,), (enough,) = (compare({"a": values[:n]}).values() for n in (9, 10))
    assert few.bootstrap is None
    assert enough.bootstrap is not None


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "covered"), [(2, 0.5), (3, 0.75), (5, 0.84), (12, 0.89)])
def test_the_bootstrap_of_few_seeds_covers_as_little_as_is_said(seeds: int, covered: float) -> None:
    rng, studies = np.random.default_rng(5), 1_000
    intervals = [bootstrap_interval(rng.normal(0, 0.1, seeds)) for _ in range(studies)]
    hits = sum(low < 0 < high for low, high in intervals)
    low, high = stats.binom.ppf([0.0005, 0.9995], studies, covered)
    assert low <= hits <= high


@pytest.mark.slow
def test_corrected_intervals_hold_together_and_null_differences_are_rarely_called() -> None:
    """Three comparisons of nothing, 1,000 times: any wrong call in at most 5 %, any miss in at most 5 %."""
    rng = np.random.default_rng(2)
    studies, called, missed = 1_000, 0, 0
    for _ in range(studies):
        found = compare({name: rng.normal(0, 0.1, 9) for name in "abc"}).values()
        called += any(one.verdict in ("more", "less") for one in found)
        missed += any(not one.corrected[0] < 0 < one.corrected[1] for one in found)
    most = stats.binom.ppf(0.9999, studies, 0.05)
    assert called <= most
    assert missed <= most
    assert called >= stats.binom.ppf(0.0001, studies, 0.04)  # and not for being useless


def test_nine_looks_find_something_in_nothing_in_a_tenth_of_all_studies() -> None:
    """docs/study.md: six arms and the one they share, without a difference, looked at after 12 to 20 seeds."""
    rng = np.random.default_rng(4)
    looks = range(FIRST_LOOK - FIRST_SEED + 1, LAST_LOOK - FIRST_SEED + 2)
    assert (looks[0], looks[-1]) == (12, 20)
    studies, arms = 4_000, len(read_sweep(ROOT / "examples" / "study.yaml").arms) - 1
    rates = rng.normal(0, 1, (studies, arms + 1, looks[-1]))
    differences = rates[:, 1:] - rates[:, :1]  # [studies, arms, seeds]
    found = np.zeros((studies, arms), dtype=bool)
    for seeds in looks:
        so_far = differences[..., :seeds]
        t = so_far.mean(-1) / so_far.std(-1, ddof=1) * np.sqrt(seeds)
        found |= np.abs(t) > stats.t.ppf(1 - LEVEL / 2 / arms, seeds - 1)
        if seeds == looks[0]:
            assert found.any(axis=1).mean() == pytest.approx(0.042, abs=0.01)
    assert found.any(axis=1).mean() == pytest.approx(0.107, abs=0.015)


@pytest.mark.slow
def test_equality_is_rarely_called_at_the_margin() -> None:
    """Where the true difference is five points, in at most 2.5 % of 1,000 studies."""
    rng = np.random.default_rng(3)
    found = [compare({"a": rng.normal(MARGIN, 0.02, 9)})["a"] for _ in range(1_000)]
    equal = sum(one.p_equal < 0.025 for one in found)
    assert equal <= stats.binom.ppf(0.9999, 1_000, 0.025)
    assert equal >= stats.binom.ppf(0.0001, 1_000, 0.02)
