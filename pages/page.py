"""Write report.html: one file that shows everything, without a network."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from pages.charts import Curve
from pages.contents import EvaluatedRun, Film, Picture, Section
from pages.sections import sections_of
from pages.svg import STYLE, inline_svg


@dataclass
class _Names:
    """A new prefix for each figure of the page."""

    number: int = 0

    def new(self) -> str:
        self.number += 1
        return f"f{self.number}"


def write_page(
    runs: Sequence[EvaluatedRun], out: Path, published: Mapping[str, Sequence[Curve]] | None = None
) -> None:
    """Write the page of one run, or of several beside each other.

    Args:
        runs: evaluated.
        out: file to write.
        published: curves to draw behind ours (`pages.charts.read_published`).
    """
    write_sections(_title(runs), lambda: sections_of(runs, published or {}), out)


def write_sections(title: str, make: Callable[[], Sequence[Section]], out: Path) -> None:
    """Write a page of sections, which are drawn in its style.

    Args:
        title: of the page.
        make: draws the sections.
        out: file to write.
    """
    with matplotlib.rc_context(STYLE):
        html = _render(title, make())
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(html, encoding="utf-8")


def _render(title: str, sections: Sequence[Section]) -> str:
    loader = PackageLoader("pages", ".")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    names = _Names()

    def svg(picture: Picture) -> Markup:
        return Markup(inline_svg(picture.figure, names.new(), picture.text))

    def embedded(film: Film) -> str:
        return f"data:video/mp4;base64,{b64encode(film.path.read_bytes()).decode()}"

    template = environment.get_template("report.html.j2")
    return template.render(title=title, sections=sections, svg=svg, embedded=embedded)


def _title(runs: Sequence[EvaluatedRun]) -> str:
    return (
        runs[0].name if len(runs) == 1 else f"{len(runs)} runs: " + ", ".join(r.name for r in runs)
    )
