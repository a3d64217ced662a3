"""What docs/study.md says of pairing, power and repeated looks, against formulas and simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from docs.build.sensitivity import corrected_for_looks, detectable, read_values, unpaired_interval


def test_an_unpaired_interval_by_its_formula() -> None:
    ours, theirs = np.array([0.5, 0.7, 0.6, 0.9]), np.array([0.4, 0.45, 0.5])
    parts = [one.var(ddof=1) / len(one) for one in (ours, theirs)]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 2)  # Welch and Satterthwaite
    half = stats.t.ppf(0.995, freedom) * math.sqrt(sum(parts))
    mean = ours.mean() - theirs.mean()
    assert unpaired_interval(ours, theirs, 0.99) == pytest.approx((mean - half, mean + half))


def test_what_is_found_in_four_of_five_studies_is() -> None:
    rng, level, seeds, spread = np.random.default_rng(1), 0.05 / 6, 12, 0.07
    true = detectable(spread, seeds, level)
    studies = rng.normal(true, spread, (20_000, seeds))
    t = studies.mean(1) / studies.std(1, ddof=1) * math.sqrt(seeds)
    found = (t > stats.t.ppf(1 - level / 2, seeds - 1)).mean()
    assert found == pytest.approx(0.8, abs=0.01)


def test_one_arm_and_one_look_need_no_correction_and_more_need_more() -> None:
    assert corrected_for_looks(0.05, 1, 12, 12) == pytest.approx(0.05, abs=0.004)
    six = corrected_for_looks(0.05 / 6, 6, 12, 12)
    assert six == pytest.approx(0.042, abs=0.005)  # below 0.05: arms share the first
    assert corrected_for_looks(0.05 / 6, 6, 12, 20) == pytest.approx(0.11, abs=0.01)


def test_values_are_in_the_order_of_the_seeds() -> None:
    area = read_values("area")
    assert {len(values) for values in area.values()} == {12}
    assert area["dendrites"].mean() == pytest.approx(0.644, abs=5e-4)
