"""How every plot of a page looks: the page's own colours and font, as inline SVG that follows light, dark and print.

Importing this module imports matplotlib; pages do so when they are rendered.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

# Stand-ins that are replaced by the page's CSS variables in the finished SVG.
INK, MUTED, LINE, GOOD, BAD, PLAIN = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
CARD = "#070707"
_VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", GOOD: "good", BAD: "bad", PLAIN: "plain", CARD: "card"}
COLOURS = (PLAIN, GOOD, BAD, MUTED, INK)
"""Lines of one plot, in this order."""


@contextmanager
def drawing(salt: str, font_size: float) -> Iterator[None]:
    """matplotlib's settings while a plot is drawn; plots of one page need salts of their own for their ids."""
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": f"edgegen-{salt}",
        "font.family": "sans-serif",
        "font.size": font_size,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": LINE,
        "axes.labelcolor": MUTED,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
    }
    with mpl.rc_context(settings):
        yield


def inline_svg(figure: Figure, description: str) -> str:
    """The SVG element alone, sized by the page, coloured by its variables."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = buffer.getvalue().decode("utf-8")
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', rf'\1 role="img" aria-label="{html.escape(description)}"', svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg.strip()
