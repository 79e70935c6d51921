"""Self-contained pages of the templates beside this file: one stylesheet, no script, no request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_TEMPLATES = Path(__file__).with_name("templates")


def render_page(template: str, filters: Mapping[str, Callable[..., Any]] | None = None, **shown: Any) -> str:
    """The page of ``template`` with ``shown``, which is escaped; a name that is not given is an error."""
    import jinja2
    import markupsafe

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= dict(filters or {})
    css = markupsafe.Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(css=css, **shown)
