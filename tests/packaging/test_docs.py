"""The pages that ship: current, and linking to what is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from edgegen.cli.main import COMMANDS
from edgegen.core.project import find_project
from edgegen.pipeline.reference import CHECK_FILE, PAGE_FILE, SCHEMA_FILE, check_page, full_schema, page

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "toolchain" / "edgegen" / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def test_project_reference_is_current() -> None:
    again = "python -m edgegen.pipeline.reference toolchain/edgegen/docs"
    assert (DOCS / PAGE_FILE).read_text() == page(), again
    assert (DOCS / CHECK_FILE).read_text() == check_page(), again
    assert json.loads((DOCS / SCHEMA_FILE).read_text()) == full_schema(), again


def test_schema_accepts_the_checkouts_own_project_and_refuses_a_slip() -> None:
    import tomllib

    project = tomllib.loads(find_project(ROOT).read_text())["tool"]["edgegen"]
    jsonschema.Draft202012Validator.check_schema(full_schema())
    jsonschema.validate(project, full_schema())
    project["budgets"]["sise"] = {"max_bytes": 1}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(project, full_schema())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_page_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
        assert link.startswith("http") or (path.parent / link).exists(), link


def test_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text()
    for name in COMMANDS:
        assert f"edgegen {name}" in text
