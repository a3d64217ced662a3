"""The figures and tables of the documents, from the files in docs/results/.

    python -m docs.build

A run's files are its metrics.csv and report.json, copied there as NAME-seedN.csv and .json. A table
stands in a document between `<!-- table NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

from docs.build.comparison import NETWORKS, comparison_tables, read_comparison
from docs.build.failures import failure_tables
from docs.build.figures import draw_comparison, draw_on_published, draw_soak
from docs.build.inside import draw_inside, inside_tables
from docs.build.looks import draw_looks, look_tables
from docs.build.markdown import insert_tables
from docs.build.one_by_one import FOLDER, alone_table, draw_matrices, one_by_one_table
from docs.build.permuted import PUBLISHED, draw_permuted, permuted_tables, read_reports
from docs.build.published import read_published
from docs.build.reliability import read_soak, reliability_tables
from docs.build.run_tables import run_tables, shipped_table, tuning_tables
from docs.build.runs import ROOT, read_runs, run_names
from docs.build.sensitivity import sensitivity_tables
from docs.build.study import short_study_table
from docs.build.sweeps import draw_sweeps, sweep_tables
from pages.svg import STYLE

DOCUMENTS = (
    "README.md",
    "docs/analysis.md",
    "docs/results.md",
    "docs/reliability.md",
    "docs/continual.md",
    "docs/sweeps.md",
    "docs/study.md",
)


def make_tables() -> dict[str, str]:
    """Every table, by the name in its marker."""
    tables = tuning_tables() | reliability_tables() | comparison_tables(read_comparison())
    tables["shipped-report"] = shipped_table()
    tables |= permuted_tables()
    tables |= inside_tables()
    tables |= sweep_tables()
    tables |= failure_tables()
    tables |= look_tables()
    tables |= short_study_table()
    tables |= sensitivity_tables()
    if FOLDER.exists():
        tables |= {"one_by_one": one_by_one_table(), "one_by_one-alone": alone_table()}
    for name in run_names():
        tables |= run_tables(name)
    return tables


def draw_figures() -> None:
    """Every picture, into docs/images, in the colours of the pages."""
    with matplotlib.rc_context({"axes.prop_cycle": STYLE["axes.prop_cycle"]}):
        _draw(ROOT / "docs" / "images")


def _draw(images: Path) -> None:
    for name in run_names():
        draw_on_published(name, read_runs(name), read_published(), images / f"{name}.png")
    comparison = {NETWORKS[network]: runs for network, runs in read_comparison().items()}
    draw_comparison(comparison, images / "comparison.png")
    draw_soak(read_soak(), images / "soak.png")
    draw_inside(images / "silencing.png")
    for base, methods in PUBLISHED.items():
        if any(read_reports(base + ending) for ending in methods):
            draw_permuted(base, images / f"{base}.png")
    if FOLDER.exists():
        draw_matrices(images / "one_by_one.png")
    draw_sweeps(images)
    draw_looks(images / "study-looks.png")


def main() -> None:
    """Write the figures, and the tables into the documents."""
    draw_figures()
    tables = make_tables()
    for name in DOCUMENTS:
        path = ROOT / name
        path.write_text(insert_tables(path.read_text(encoding="utf-8"), tables), encoding="utf-8")
        print(name)


if __name__ == "__main__":
    main()
