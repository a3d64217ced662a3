"""The study's looks: each comparison after seed 212 and after each further seed, until its rule stops it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from docs.build.markdown import in_points, table
from docs.build.runs import ROOT, read_csv
from docs.build.sweeps import FOLDER
from reporting.comparison import Verdict, compare, interval_says
from reporting.statistics import Interval
from sweeps.definition import read_sweep

FIRST_SEED, FIRST_LOOK, LAST_LOOK = 201, 212, 220
"""Of docs/study.md: a comparison may stop after each seed from the first look on."""
FOLDERS = {
    FOLDER / "study": range(FIRST_SEED, FIRST_LOOK + 1),
    FOLDER / "study_further": range(FIRST_LOOK + 1, LAST_LOOK + 1),
}
"""Each sweep has seeds of its own."""
_RESULTS: dict[Verdict, str] = {
    "more": "better",
    "less": "worse",
    "equal": "equal within 5 points",
    "undecided": "undecided",
}


@dataclass(frozen=True)
class Look:
    """A comparison after a seed.

    Attributes:
        seed: the last one that counts.
        difference: to the first arm, of the mean over the run.
        corrected: its interval, for all comparisons of the study.
        says: what this interval alone says.
    """

    seed: int
    difference: float
    corrected: Interval
    says: Verdict


def look_tables(folders: Mapping[Path, range] = FOLDERS) -> dict[str, str]:
    """`study-looks`, once the first look is there: a row for each arm."""
    rows = [_row(arm, found) for arm, found in read_looks(folders).items()]
    headers = (
        "arm",
        f"difference after seed {FIRST_LOOK} (corrected interval) [points]",
        "last look, after seed",
        "difference then (corrected interval) [points]",
        "result",
    )
    return {"study-looks": table(headers, rows)} if rows else {}


def draw_looks(out: Path, folders: Mapping[Path, range] = FOLDERS) -> None:
    """A panel for each arm: its difference with the corrected interval, look by look."""
    by_arm = read_looks(folders)
    figure = Figure(figsize=(1.6 * len(by_arm) + 0.8, 3.0), layout="constrained")
    panels = figure.subplots(1, len(by_arm), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (arm, found) in zip(panels, by_arm.items(), strict=True):
        axes.axhline(0, color="0.5", linewidth=0.8)
        axes.axhspan(-5, 5, color="0.5", alpha=0.12, lw=0)
        ends = 100 * np.array([look.corrected for look in found])  # [looks, 2]
        axes.vlines([look.seed for look in found], ends[:, 0], ends[:, 1], color="C0")
        for look in found:
            stops = look.says != "undecided"
            face = "C0" if stops else "white"
            axes.plot(look.seed, 100 * look.difference, "o", color="C0", markerfacecolor=face)
        axes.set_title(arm, fontsize="medium")
        axes.set(xlim=(FIRST_LOOK - 1, LAST_LOOK + 1), xticks=range(FIRST_LOOK, LAST_LOOK + 1, 4))
    panels[0].set_ylabel("mean over the run,\nless that of dendrites [points]")
    figure.supxlabel("after seed", fontsize="medium")
    figure.savefig(out, dpi=150)


def read_looks(folders: Mapping[Path, range]) -> dict[str, list[Look]]:
    """The looks at each arm that has had its first one, from the `runs.csv` of these sweeps.

    Raises:
        ValueError: a sweep has another seed than its own.
    """
    arms = list(read_sweep(ROOT / "examples" / "study.yaml").arms)
    areas: dict[str, dict[int, float]] = defaultdict(dict)
    for folder, seeds in folders.items():
        path = folder / "runs.csv"
        for row in read_csv(path) if path.is_file() else ():
            seed = int(row["seed"])
            if seed not in seeds:
                raise ValueError(f"{path}: seed {seed} is not one of this sweep's")
            areas[row["arm"]][seed] = float(row["area"])
    return {arm: found for arm in arms[1:] if (found := looks(areas, arm, arms))}


def looks(areas: Mapping[str, Mapping[int, float]], arm: str, arms: Sequence[str]) -> list[Look]:
    """At an arm against the first one: until it stops, there are no more runs, or the last look.

    Args:
        areas: arm -> seed -> mean success over the run.
        arm: the one to look at.
        arms: all of the study, the first one being what the others are compared with. How many there are
            says how wide the corrected interval is, also when some have stopped.
    """
    own, first = areas[arm], areas[arms[0]]
    found: list[Look] = []
    for seed in range(FIRST_LOOK, LAST_LOOK + 1):
        seeds = range(FIRST_SEED, seed + 1)
        if not own.keys() & first.keys() >= set(seeds):
            break
        differences = np.array([own[one] - first[one] for one in seeds])
        compared = compare({arm: differences}, len(arms) - 1)[arm]
        assert compared.corrected is not None, f"no spread in {arm}"
        interval = compared.corrected
        decided = (verdict for verdict in _RESULTS if interval_says(interval, verdict))
        says: Verdict = next(decided, "undecided")
        found.append(Look(seed, compared.difference, interval, says))
        if says != "undecided":
            break
    return found


def _row(arm: str, found: Sequence[Look]) -> tuple[str, ...]:
    last = found[-1]
    so_far = last.says == "undecided" and last.seed < LAST_LOOK
    result = _RESULTS[last.says] + (" so far" if so_far else "")
    cells = [in_points(look.difference, look.corrected) for look in (found[0], last)]
    return arm, cells[0], f"{last.seed}", cells[1], result
