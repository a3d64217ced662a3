"""How the study's answer after twelve seeds depends on choices: pairing, seeds, looks; and what it could have found."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from docs.build.looks import FIRST_LOOK, FIRST_SEED, FOLDERS, LAST_LOOK, read_looks
from docs.build.markdown import in_points, table
from docs.build.runs import ROOT, read_csv
from docs.build.sweeps import FOLDER
from reporting.comparison import LEVEL
from reporting.statistics import Interval, mean_interval
from sweeps.definition import read_sweep
from sweeps.results import MEASURES

Values = Mapping[str, NDArray[np.float64]]
_OTHER_COMMIT = 2
"""So many of the first seeds were run at another commit."""
_CONTRASTS = (("relu", "mlp"), ("gate_table", "mlp"))
_STUDIES = 40_000
_OTHER_PROCESSOR = FOLDER / "study_processor"
"""The one seed of which two arms were made on different processors: here, both are of one."""


def sensitivity_tables() -> dict[str, str]:
    """`study-sensitivity`, `study-contrasts`, `study-repeated-looks` and `study-processor`."""
    area, final = (read_values(measure) for measure in MEASURES)
    return {
        "study-sensitivity": _sensitivity(area),
        "study-contrasts": _contrasts({"area": area, "final": final}),
        "study-repeated-looks": _repeated_looks(),
        "study-processor": _processor(),
    }


def read_values(measure: str) -> dict[str, NDArray[np.float64]]:
    """Of the first twelve seeds of the study, in their order: arm -> `[12]`."""
    rows = sorted(read_csv(FOLDER / "study" / "runs.csv"), key=lambda row: int(row["seed"]))
    arms = list(read_sweep(ROOT / "examples" / "study.yaml").arms)
    return {
        arm: np.array([float(row[measure]) for row in rows if row["arm"] == arm]) for arm in arms
    }


def read_areas(*folders: Path) -> dict[tuple[str, int], float]:
    """(arm, seed) -> mean success over the run, from the `runs.csv` of these sweeps; of a run in two of them the later one counts."""
    return {
        (row["arm"], int(row["seed"])): float(row["area"])
        for folder in folders
        if (folder / "runs.csv").is_file()
        for row in read_csv(folder / "runs.csv")
    }


def unpaired_interval(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], level: float
) -> Interval:
    """Of the difference of two means, without pairing (Welch 1947)."""
    found = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(level)
    return float(found.low), float(found.high)


def detectable(spread: float, seeds: int, level: float, power: float = 0.8) -> float:
    """The true difference that a paired t test at a two-sided level finds in this fraction of studies.

    Args:
        spread: standard deviation of the differences.
        seeds: n.
        level: of the test, such as 0.05 / 6.
        power: how often it is found, on its own side.
    """
    limit = stats.t.ppf(1 - level / 2, seeds - 1)

    def lacks(shift: float) -> float:
        return float(stats.nct.sf(limit, seeds - 1, shift)) - power

    return float(optimize.brentq(lacks, 0, 50)) * spread / seeds**0.5


def corrected_for_looks(p_value: float, arms: int, first: int, last: int) -> float:
    """How often studies without any difference have a p value as low, in some arm at some look.

    By simulation: arms share the one that they are compared with, and looks come after `first` to `last` seeds.
    """
    return float((_lowest_p(arms, first, last) <= p_value).mean())


@cache
def _lowest_p(arms: int, first: int, last: int) -> NDArray[np.float64]:
    """Of every study without a difference, `[studies]`."""
    rates = np.random.default_rng(0).normal(0, 1, (_STUDIES, arms + 1, last))
    differences = rates[:, 1:] - rates[:, :1]  # [studies, arms, seeds]
    lowest = np.ones(_STUDIES)
    for seeds in range(first, last + 1):
        so_far = differences[..., :seeds]
        t = np.abs(so_far.mean(-1)) / so_far.std(-1, ddof=1) * seeds**0.5
        lowest = np.minimum(lowest, 2 * stats.t.sf(t.max(axis=1), seeds - 1))
    return lowest


def _sensitivity(area: Values) -> str:
    first, *others = area
    level = LEVEL / len(others)
    rows = []
    for arm in others:
        differences = area[arm] - area[first]
        later = differences[_OTHER_COMMIT:]
        spread = float(differences.std(ddof=1))
        found = [100 * detectable(spread, seeds, level) for seeds in (12, 20)]
        mean = float(differences.mean())
        rows.append(
            (
                arm,
                in_points(mean, mean_interval(differences, 1 - level)),
                in_points(mean, unpaired_interval(area[arm], area[first], 1 - level)),
                in_points(float(later.mean()), mean_interval(later, 1 - level)),
                f"{np.corrcoef(area[arm], area[first])[0, 1]:+.2f}",
                f"{found[0]:.1f} ({found[1]:.1f})",
            )
        )
    headers = (
        "arm",
        "as planned",
        "unpaired (Welch)",
        f"without seeds {FIRST_SEED} and {FIRST_SEED + 1}",
        "correlation over seeds",
        "found in 80 % with 12 (20) seeds",
    )
    return table(headers, rows)


def _contrasts(values: Mapping[str, Values]) -> str:
    rows = []
    for one, other in _CONTRASTS:
        cells = []
        for of_measure in values.values():
            differences = of_measure[one] - of_measure[other]
            cells.append(in_points(float(differences.mean()), mean_interval(differences)))
        rows.append((f"{one} against {other}", *cells))
    return table(("arms", *MEASURES.values()), rows)


def _repeated_looks() -> str:
    """Of the comparisons that a look has stopped, with the p value of that look."""
    area = read_areas(*FOLDERS)
    first, *others = read_sweep(ROOT / "examples" / "study.yaml").arms
    rows = []
    for arm, looks in read_looks(FOLDERS).items():
        last = looks[-1]
        if last.says == "undecided":
            continue
        seeds = range(FIRST_SEED, last.seed + 1)
        differences = np.array([area[arm, seed] - area[first, seed] for seed in seeds])
        p_value = float(stats.ttest_1samp(differences, 0.0).pvalue)
        counts = FIRST_LOOK - FIRST_SEED + 1, LAST_LOOK - FIRST_SEED + 1
        corrected = corrected_for_looks(p_value, len(others), *counts)
        rows.append((arm, f"{last.seed}", f"{p_value:.4f}", f"{corrected:.2f}"))
    headers = ("arm", "stopped after seed", "p value then", "corrected for six arms and nine looks")
    return table(headers, rows)


def _processor() -> str:
    """Of the arm whose pair in one seed is of two processors: its last look, and what it would be otherwise."""
    sweep = read_sweep(_OTHER_PROCESSOR / "sweep.yaml")
    first, arm = sweep.arms
    (seed,) = sweep.seeds
    last = read_looks(FOLDERS)[arm][-1]
    level = LEVEL / (len(read_sweep(ROOT / "examples" / "study.yaml").arms) - 1)
    seeds = range(FIRST_SEED, last.seed + 1)
    variants = (
        ("as planned", read_areas(*FOLDERS), seeds),
        ("both of one processor", read_areas(*FOLDERS, _OTHER_PROCESSOR), seeds),
        ("without this seed", read_areas(*FOLDERS), [one for one in seeds if one != seed]),
    )
    rows = []
    for name, area, counted in variants:
        differences = np.array([area[arm, one] - area[first, one] for one in counted])
        of_seed = f"{100 * (area[arm, seed] - area[first, seed]):+.1f}" if seed in counted else ""
        interval = mean_interval(differences, 1 - level)
        in_all = in_points(float(differences.mean()), interval)
        rows.append((f"{arm}, {name}", of_seed, f"{len(differences)}", in_all))
    headers = (
        "arm, and which runs count",
        f"difference in seed {seed}",
        "n",
        "difference (corrected interval) [points]",
    )
    return table(headers, rows)
