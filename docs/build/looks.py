"""The study's looks: each comparison after seed 212 and after each further seed, until its rule stops it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from docs.build.markdown import table
from docs.build.runs import ROOT, read_csv
from docs.build.sweeps import FOLDER
from reporting.comparison import Verdict, compare, interval_says
from reporting.statistics import Interval
from sweeps.definition import read_sweep

FIRST_SEED, FIRST_LOOK, LAST_LOOK = 201, 212, 220
"""Of docs/study.md: a comparison may stop after each seed from the first look on."""
_RESULTS: dict[Verdict, str] = {
    "more": "better",
    "less": "worse",
    "equal": "equal within 5 points",
    "undecided": "not decided",
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


def look_tables(
    folders: Sequence[Path] = (FOLDER / "study", FOLDER / "study_further"),
) -> dict[str, str]:
    """`study-looks`, once the first look is there: a row for each arm."""
    arms = list(read_sweep(ROOT / "examples" / "study.yaml").arms)
    areas: dict[str, dict[int, float]] = defaultdict(dict)
    for path in (folder / "runs.csv" for folder in folders):
        for row in read_csv(path) if path.is_file() else ():
            areas[row["arm"]][int(row["seed"])] = float(row["area"])
    rows = [_row(arm, found) for arm in arms[1:] if (found := looks(areas, arm, arms))]
    headers = (
        "arm",
        f"after seed {FIRST_LOOK} [points]",
        "last look, after seed",
        "there [points]",
        "result",
    )
    return {"study-looks": table(headers, rows)} if rows else {}


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
    goes_on = last.says == "undecided" and last.seed < LAST_LOOK
    result = _RESULTS[last.says] + (", goes on" if goes_on else "")
    return arm, _points(found[0]), f"{last.seed}", _points(last), result


def _points(look: Look) -> str:
    low, high = (100 * end for end in look.corrected)
    return f"{100 * look.difference:+.1f} ({low:+.1f} to {high:+.1f})"
