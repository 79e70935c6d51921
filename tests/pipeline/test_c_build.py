"""``edgegen build`` for a microcontroller: C sources of integers, judged beside the float model that ran here."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.cache import Cache
from edgegen.core.errors import BudgetError, ExitCode
from edgegen.core.models import FILES_BESIDE
from edgegen.pipeline.build import build
from support.c_device import write_small_board
from support.projects import PROJECT, write_project

TEXT = PROJECT.replace(
    '["float32", "weight-int8", "static-int8"]', '["float32", "weight-int8", "static-int8"]'
).replace("min = 20", "min = 5")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("c-build") / "cache")


@pytest.fixture(scope="module")
def built(host_c: None, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = write_project(tmp_path_factory.mktemp("c-build") / "project", TEXT)
    made = build(folder, target="nucleo-l4r5zi", device="host-c:", cache=cache)
    return folder, dict(made.document)


def test_build_for_a_microcontroller_makes_c_of_what_is_quantized(built: tuple[Path, dict[str, Any]]) -> None:
    _, document = built
    found = {item["name"]: item for item in document["candidates"]}
    assert set(found) == {"float32@c", "weight-int8@c", "static-int8@c"}
    assert found["static-int8@c"]["status"] == "chosen"
    for name in ("float32@c", "weight-int8@c"):
        assert found[name]["status"] == "not built"
        assert "integer kernels alone" in found[name]["why_rejected"]
    assert document["exit_code"] == 0


def test_build_for_a_microcontroller_compares_with_the_float_model_of_this_host(
    built: tuple[Path, dict[str, Any]],
) -> None:
    _, document = built
    (made,) = (item for item in document["candidates"] if item["name"] == "static-int8@c")
    assert made["quality"]["paired"]["psnr_db_mean"] > 15
    # What the compiled C gave is the reference's, byte for byte.
    assert made["quality"]["cross_isa"]["max_abs_difference"] == 0
    (compiled,) = (item for item in made["passes"] if item["step"] == "to c")
    assert compiled["figures"]["arena_bytes"] <= 1.1 * compiled["figures"]["arena_lower_bound_bytes"]
    assert compiled["figures"]["constant_bytes"] < compiled["before"]["bytes"]
    assert made["size_bytes"] == compiled["figures"]["constant_bytes"]


def test_bundle_of_c_holds_sources_that_compile_alone(built: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, document = built
    files = folder / "build" / "nucleo-l4r5zi" / "files"
    assert {"model.c", *FILES_BESIDE["c"]} <= {path.name for path in files.iterdir()}
    golden = json.loads((files / "golden.json").read_text())
    assert {item["absolute"] for item in golden["tolerances"].values()} == {0.0}
    with zipfile.ZipFile(files / "c-library.zip") as archive:
        assert archive.read("edgegen_model/src/model.c") == (files / "model.c").read_bytes()
        # What a device tests itself with: the bundle's own golden vectors.
        assert "EG_MODEL_GOLDEN_VECTORS 8\n" in archive.read("edgegen_model/src/golden.h").decode()
    assert {"model.c", *FILES_BESIDE["c"]} <= {item["path"] for item in document["chosen"]["files"]}


def test_report_shows_the_arena(built: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = built
    page = (folder / "build" / "nucleo-l4r5zi" / "report.html").read_text()
    assert "Arena of" in page


@pytest.mark.parametrize(
    ("flash", "ram", "words"),
    [(4096, 1 << 20, "of their width would do"), (1 << 20, 1024, "bytes of working memory")],
)
def test_model_that_does_not_fit_is_refused_with_what_would(
    built: tuple[Path, dict[str, Any]], cache: Cache, tmp_path: Path, flash: int, ram: int, words: str
) -> None:
    folder = Path(shutil.copytree(built[0], tmp_path / "project"))
    write_small_board(folder, flash=flash, ram=ram)
    with pytest.raises(BudgetError, match=r"static-int8@c does not fit the device \(tiny\)") as refused:
        build(folder, target="tiny", cache=cache)
    assert words in str(refused.value)
    document = json.loads((folder / "build" / "tiny" / "result.json").read_text())
    assert document["exit_code"] == ExitCode.BUDGET_FAILED
    assert not (folder / "build" / "tiny" / "bundle").exists()
