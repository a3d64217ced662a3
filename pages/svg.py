"""Figures as SVG inside the page: text in the page's font, black in the colour of the page's text."""

from __future__ import annotations

import io
import re
from html import escape
from typing import Any

import matplotlib
from cycler import cycler
from matplotlib.figure import Figure

_TEXT = "#010203"
"""A black that no figure uses: replaced by the colour of the page's text, dark or light."""
STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a dollar in a run's name is a dollar
    "font.size": 9,
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": _TEXT,
    "axes.titlecolor": _TEXT,
    "axes.titlesize": 10,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "axes.prop_cycle": cycler(
        # Okabe & Ito's colours, which the colour-blind can tell apart, on dark and on light
        color=["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#999999"]
    ),
}
"""matplotlib's settings for figures of the page: `matplotlib.rc_context(STYLE)` around drawing."""


def inline_svg(figure: Figure, name: str, text: str) -> str:
    """The figure as an element of the page.

    Args:
        figure: drawn in `STYLE`.
        name: a prefix of its identifiers, which no other figure of the page has.
        text: what is to be seen, for those who can't see it.
    """
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    out = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(out, format="svg", metadata={"Date": None}, bbox_inches="tight")
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = svg.replace(_TEXT, "currentColor")
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert size is not None
    head = (
        f'<svg role="img" aria-label="{escape(text, quote=True)}" viewBox="{size[0][9:-1]}" '
        f'style="max-width:{1.6 * float(size[1]):.0f}px" xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1)
