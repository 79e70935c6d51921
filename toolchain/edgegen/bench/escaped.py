"""Foreign text as text: names of models, operators and reasons within Markdown, XML and OpenMetrics."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def markdown_row(cells: Sequence[str]) -> str:
    """One row of a table."""
    return "| " + " | ".join(markdown_text(cell) for cell in cells) + " |"


def markdown_text(value: str) -> str:
    """One line, nothing that Markdown or HTML would act on."""
    folded = " ".join(str(value).split())
    escaped = re.sub(r"([\\`*_\[\]|~#])", r"\\\1", folded)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def xml_text(text: str) -> str:
    """The text without characters that XML 1.0 has not; what XML acts on is left to its writer."""
    return _NOT_XML.sub("�", text)


def label_value(text: str) -> str:
    """A label's value as OpenMetrics 1.0 spells it, without the quotes."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
