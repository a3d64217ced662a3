"""What docs/study.md says of pairing, power and repeated looks, against formulas and simulations."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from docs.build.sensitivity import (
    corrected_for_looks,
    detectable,
    read_areas,
    read_values,
    sensitivity_tables,
    unpaired_interval,
)
from docs.build.sweeps import FOLDER


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


def test_of_the_same_run_in_two_sweeps_the_later_sweeps_counts(tmp_path: Path) -> None:
    for name, lines in {"one": ["a,1,0.5", "a,2,0.25"], "two": ["a,2,0.75"]}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "runs.csv").write_text("\n".join(["arm,seed,area", *lines, ""]))
    assert read_areas(tmp_path / "one", tmp_path / "two") == {("a", 1): 0.5, ("a", 2): 0.75}
    assert read_areas(tmp_path / "two", tmp_path / "one", tmp_path / "none")["a", 2] == 0.25


def test_the_seed_of_two_processors_by_hand() -> None:
    area: dict[str, dict[int, float]] = {"dendrites": {}, "film": {}}
    for name in ("study", "study_further"):
        with (FOLDER / name / "runs.csv").open() as file:
            for row in csv.DictReader(file):
                area.setdefault(row["arm"], {})[int(row["seed"])] = float(row["area"])
    differences = {seed: film - area["dendrites"][seed] for seed, film in area["film"].items()}
    with (FOLDER / "study_processor" / "runs.csv").open() as file:
        again = {row["arm"]: float(row["area"]) for row in csv.DictReader(file)}
    assert again["film"] == area["film"][219]  # the same run, copied
    other = differences | {219: again["film"] - again["dendrites"]}
    without = {seed: value for seed, value in differences.items() if seed != 219}
    rows = sensitivity_tables()["study-processor"].splitlines()[2:]
    assert len(rows) == 3
    for row, found in zip(rows, (differences, other, without), strict=True):
        values = 100 * np.array(list(found.values()))
        half = stats.t.ppf(1 - 0.05 / 12, len(values) - 1) * stats.sem(values)
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[1] == (f"{100 * found[219]:+.1f}" if 219 in found else "")
        assert cells[2] == f"{len(values)}"
        low, high = values.mean() - half, values.mean() + half
        assert cells[3] == f"{values.mean():+.1f} ({low:+.1f} to {high:+.1f})"
