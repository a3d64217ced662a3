"""The study's tables: looks at comparisons made by hand, against scipy's interval; the answer in short."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy import stats

from docs.build.looks import (
    FIRST_LOOK,
    FIRST_SEED,
    FOLDERS,
    LAST_LOOK,
    Look,
    draw_looks,
    look_tables,
    looks,
    read_looks,
)
from docs.build.runs import ROOT
from docs.build.study import short_study_table
from sweeps.definition import config_of, read_sweep

SEEDS = range(FIRST_SEED, LAST_LOOK + 1)
ARMS = ["dendrites", "relu", "gate_table", "mlp", "mlp_4x", "film", "attention"]
NOISE = dict(
    zip(SEEDS, np.random.default_rng(0).normal(0.0, 0.04, len(SEEDS)).tolist(), strict=True)
)


def areas(difference: dict[int, float]) -> dict[str, dict[int, float]]:
    first = {seed: 0.6 + 0.001 * (seed % 7) for seed in SEEDS}
    own = {seed: first[seed] + value for seed, value in difference.items()}
    return {"dendrites": first, "relu": own}


def interval_by_hand(values: list[float]) -> tuple[float, float]:
    """Of six comparisons: each one has a sixth of the 5 %."""
    half = float(stats.t.ppf(1 - 0.05 / 12, len(values) - 1))
    half *= float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return float(np.mean(values)) - half, float(np.mean(values)) + half


def test_a_clear_difference_stops_at_the_first_look() -> None:
    values = {seed: noise - 0.2 for seed, noise in NOISE.items()}
    (look,) = looks(areas(values), "relu", ARMS)
    assert (look.seed, look.says) == (FIRST_LOOK, "less")
    expected = interval_by_hand([values[seed] for seed in range(FIRST_SEED, FIRST_LOOK + 1)])
    np.testing.assert_allclose(look.corrected, expected)


def test_each_look_has_one_seed_more_and_the_last_ones_interval_stops_it() -> None:
    values = {seed: noise + 0.025 for seed, noise in NOISE.items()}
    found = looks(areas(values), "relu", ARMS)
    assert [look.seed for look in found] == list(range(FIRST_LOOK, found[-1].seed + 1))
    for look in found:
        low, high = interval_by_hand([values[seed] for seed in range(FIRST_SEED, look.seed + 1)])
        np.testing.assert_allclose(look.corrected, (low, high))
        stops = low > 0 or high < 0 or (low > -0.05 and high < 0.05)
        assert stops == (look.says != "undecided")
        assert stops <= (look is found[-1])
    assert len(found) > 1
    assert found[-1].seed < LAST_LOOK


def test_equal_is_within_five_points() -> None:
    (look,) = looks(areas({seed: noise / 4 for seed, noise in NOISE.items()}), "relu", ARMS)
    assert look.says == "equal"


def test_a_seed_that_is_not_there_ends_the_looks() -> None:
    wide = {seed: 10 * noise for seed, noise in NOISE.items()}
    assert [look.seed for look in looks(areas(wide), "relu", ARMS)][-1] == LAST_LOOK
    without = {seed: value for seed, value in wide.items() if seed != FIRST_LOOK + 2}
    assert [look.seed for look in looks(areas(without), "relu", ARMS)] == [
        FIRST_LOOK,
        FIRST_LOOK + 1,
    ]
    del without[FIRST_SEED]
    assert looks(areas(without), "relu", ARMS) == []


def write_runs(folder: Path, found: dict[str, dict[int, float]], seeds: range) -> Path:
    folder.mkdir()
    lines = [f"{arm},{seed},{found[arm][seed]!r}" for arm in found for seed in seeds]
    (folder / "runs.csv").write_text("\n".join(["arm,seed,area", *lines, ""]))
    return folder


def test_the_table_goes_on_with_the_second_folder(tmp_path: Path) -> None:
    found = areas({seed: 10 * noise for seed, noise in NOISE.items()})
    first = write_runs(tmp_path / "study", found, range(FIRST_SEED, FIRST_LOOK + 1))
    further = write_runs(tmp_path / "further", found, range(FIRST_LOOK + 1, FIRST_LOOK + 3))
    folders = {first: range(FIRST_SEED, FIRST_LOOK + 1)}
    (row,) = look_tables(folders)["study-looks"].splitlines()[2:]
    assert row.split("|")[3].strip() == f"{FIRST_LOOK}"
    folders[further] = range(FIRST_LOOK + 1, LAST_LOOK + 1)
    (row,) = look_tables(folders)["study-looks"].splitlines()[2:]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    early, *_, late = looks(found, "relu", ARMS)[:3]
    assert cells == ["relu", in_points(early), "214", in_points(late), "undecided so far"]


def test_the_figure_has_each_look_and_fills_the_one_that_decides(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    found = areas({seed: noise + 0.025 for seed, noise in NOISE.items()})
    folder = write_runs(tmp_path / "study", found, SEEDS)
    draw_looks(tmp_path / "looks.png", {folder: SEEDS})
    (axes,) = drawn[0].axes
    expected = looks(found, "relu", ARMS)
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in points] == [look.seed for look in expected]
    assert [line.get_ydata()[0] for line in points] == pytest.approx(
        [100 * look.difference for look in expected]
    )
    filled = [line.get_markerfacecolor() != "white" for line in points]
    assert filled == [False] * (len(expected) - 1) + [True]
    (bars,) = (one for one in axes.collections if isinstance(one, LineCollection))
    drawn_ends = [(low[1], high[1]) for low, high in bars.get_segments()]
    np.testing.assert_allclose(drawn_ends, [100 * np.array(look.corrected) for look in expected])


def test_no_table_before_the_first_look(tmp_path: Path) -> None:
    found = areas({seed: 0.0 for seed in SEEDS})
    folder = write_runs(tmp_path / "study", found, range(FIRST_SEED, FIRST_LOOK))
    assert look_tables({folder: SEEDS, tmp_path / "none": SEEDS}) == {}


def test_a_sweep_has_no_seeds_but_its_own(tmp_path: Path) -> None:
    found = areas({seed: 0.0 for seed in SEEDS})
    folder = write_runs(tmp_path / "further", found, range(FIRST_LOOK, LAST_LOOK + 1))
    with pytest.raises(ValueError, match=r"further/runs\.csv: seed 212 is not one of this sweep's"):
        read_looks({folder: range(FIRST_LOOK + 1, LAST_LOOK + 1)})


def test_the_further_seeds_are_of_the_same_runs() -> None:
    first, further = (
        read_sweep(ROOT / "examples" / f"{name}.yaml") for name in ("study", "study_further")
    )
    assert (first.seeds, further.seeds) == tuple(list(seeds) for seeds in FOLDERS.values())
    assert next(iter(further.arms)) == next(iter(first.arms))
    for arm in further.arms:
        assert config_of(further, arm, "") == config_of(first, arm, "")


def test_the_short_table_is_bold_where_an_interval_decides(tmp_path: Path) -> None:
    fields = "arm,against,measure,difference,corrected_low,corrected_high,verdict"
    arms = ("mlp", "mlp_4x", "gate_table", "film", "relu", "attention")
    lines = [
        f"{arm},dendrites,{measure},0.03,-0.01,0.07,undecided"
        for arm in arms
        for measure in ("area", "final")
    ]
    lines[0] = "mlp,dendrites,area,-0.08,-0.12,-0.04,less"
    lines[1] = "mlp,dendrites,final,-0.08,-0.16,0.0006,less"
    (tmp_path / "comparisons.csv").write_text("\n".join([fields, *lines, ""]))
    rows = short_study_table(tmp_path)["study-short"].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert cells[0] == ["MLP of equal size", "**-8.0 (-12.0 to -4.0)**", "-8.0 (-16.0 to +0.06) *"]
    assert cells[1:] == [[row[0], *["+3.0 (-1.0 to +7.0)"] * 2] for row in cells[1:]]
    assert len(cells) == len(arms)


def in_points(look: Look) -> str:
    low, high = look.corrected
    return f"{100 * look.difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
