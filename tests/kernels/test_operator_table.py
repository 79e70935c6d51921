"""The table of operators, its modules, their kernels and the page that lists them go together."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import edgegen
from edgegen.export.c.operators import OPERATORS
from support.mcu_host import INCLUDE

PACKAGE = Path(edgegen.__file__).parent
MODULES = PACKAGE / "export" / "c" / "operators"


def test_every_kind_has_a_reference_and_a_lowering() -> None:
    for kind, module in OPERATORS.items():
        loaded = importlib.import_module(f"edgegen.export.c.operators.{module}")
        assert callable(loaded.reference), kind
        assert callable(loaded.lower), kind


def test_every_module_of_operators_is_in_the_table() -> None:
    assert {path.stem for path in MODULES.glob("*.py")} - {"__init__"} == set(OPERATORS.values())


def test_the_page_names_every_kind_in_a_row() -> None:
    page = (PACKAGE / "docs" / "mcu-operators.md").read_text(encoding="utf-8")
    named = {
        kind for row in page.splitlines() if row.startswith("| `") for kind in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    assert named == set(OPERATORS)


def test_every_kernel_is_called_by_an_operator() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (PACKAGE / "export" / "c").rglob("*.py"))
    for path in INCLUDE.glob("eg_*.h"):
        if f"struct {path.stem}_params {{" in path.read_text(encoding="ascii"):
            typed = re.sub(r"_s(8|16)$", "", path.stem)  # elementwise operators add the ending
            assert f'"{path.stem}"' in sources or f'kernel="{typed}"' in sources, path.name
