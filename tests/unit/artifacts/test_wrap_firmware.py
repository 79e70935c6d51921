"""Bundles of C as libraries for firmware builds, and as one header: built here as those systems build them."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgegen.artifacts.wrap.firmware_library import library_version
from edgegen.artifacts.wrap.forms import FORMS
from edgegen.artifacts.wrap.order import wrap_as
from edgegen.core.errors import BuildError, IntegrityError, UsageError
from unit.artifacts import example_bundle
from unit.artifacts.c_bundle import write_c, write_litert

LIBRARIES = ("cmake", "arduino", "zephyr", "esp-idf")
MODEL = bytes(range(256)) * 5 + b"end"
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wconversion")

SELF_TEST = """#include <stdint.h>
#include <stdio.h>
{include}
static _Alignas(16) uint8_t arena[EG_MODEL_ARENA_BYTES + 16], in[EG_MODEL_INPUT_BYTES], out[EG_MODEL_OUTPUT_BYTES];
int main(void) {{ printf("%d\\n", (int){call}); return 0; }}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("firmware")
    write_c(folder / "c")
    write_litert(folder / "litert", MODEL)
    example_bundle.write(folder / "onnx", folder / "work")
    return folder


def wrapped(made: Path, form: str, out: Path, bundle: str = "c", **options: Any) -> Any:
    return wrap_as(form, made / bundle, out, options, policy=None, passphrase=lambda key: b"")


def _run(command: list[object], folder: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, (done.stderr or done.stdout)[:4000]
    return done.stdout


@pytest.mark.parametrize("form", LIBRARIES)
def test_library_holds_the_bundles_sources_and_who_vouches_for_them(made: Path, tmp_path: Path, form: str) -> None:
    library = wrapped(made, form, tmp_path / "library")
    files = {path.relative_to(library.path).as_posix() for path in library.path.rglob("*") if path.is_file()}
    for name in ("model.c", "model.h", "eg_kernels.h"):
        assert (library.path / "src" / name).read_bytes() == (made / "c" / "files" / name).read_bytes()
    assert {"src/golden.h", "src/eg_self_test.c", "src/eg_sha256.c", "README.md"} <= files
    proof = "extras/edgegen" if form == "arduino" else "edgegen"
    origin = json.loads((library.path / proof / "origin.json").read_text())
    assert origin["digest"] == library.bundle.digest
    assert [name for name in files if name.startswith(f"{proof}/signature-")]
    own = {
        "cmake": {"CMakeLists.txt", "Makefile"},
        "arduino": {"library.properties", "examples/run/run.ino"},
        "zephyr": {"zephyr/module.yml", "zephyr/CMakeLists.txt", "zephyr/Kconfig"},
        "esp-idf": {"CMakeLists.txt", "idf_component.yml"},
    }[form]
    assert {name for name in files if not name.startswith(("src/", f"{proof}/"))} == own | {"README.md"}
    told = (library.path / "README.md").read_text()
    assert told.count("\n- ") == (2 if form == "cmake" else 1)
    assert f"`{proof}/` says which bundle" in told


@pytest.mark.parametrize("form", LIBRARIES)
def test_library_as_a_zip_is_the_folder(made: Path, tmp_path: Path, form: str) -> None:
    folder = wrapped(made, form, tmp_path / "edgegen_digits_vae")
    packed = wrapped(made, form, tmp_path / "library.zip", zip=True)
    again = wrapped(made, form, tmp_path / "again.zip", zip=True)
    assert packed.path.read_bytes() == again.path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(packed.path.read_bytes())) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    assert held == {
        path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in folder.path.rglob("*") if path.is_file()
    }


def test_library_of_cmake_is_built_by_cmake_and_gives_its_golden_bytes(made: Path, tmp_path: Path) -> None:
    library = wrapped(made, "cmake", tmp_path / "library")
    if shutil.which("cmake") is None:
        assert "cmake is not installed" in library.made.not_checked
        pytest.skip("apt install cmake")
    assert library.made.checked == ("cmake configured it and built it with this host's compiler",)
    call = "eg_self_test(&eg_model_golden, arena, in, out)"
    (tmp_path / "main.c").write_text(SELF_TEST.format(include='#include "golden.h"', call=call))
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(app C)\nadd_subdirectory(library)\n"
        "add_executable(app main.c)\ntarget_link_libraries(app edgegen_digits_vae)\n"
    )
    _run(["cmake", "-S", ".", "-B", "build"], tmp_path)
    _run(["cmake", "--build", "build"], tmp_path)
    assert _run([tmp_path / "build" / "app"], tmp_path) == "-1\n"


def test_library_that_cmake_cannot_build_is_refused(tmp_path: Path) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("apt install cmake")
    write_c(tmp_path / "bundle")
    other = tmp_path / "broken"
    (tmp_path / "model.c").write_text('#include "model.h"\nint broken(void) { return nothing; }\n')
    write_c(other, model=tmp_path / "model.c")
    with pytest.raises(BuildError, match="cmake does not build the library"):
        wrap_as("cmake", other, tmp_path / "library", {}, policy=None, passphrase=lambda key: b"")
    assert not (tmp_path / "library").exists()


def test_header_is_declared_and_defined_in_two_files(made: Path, tmp_path: Path) -> None:
    header = wrapped(made, "c-header", tmp_path)
    assert header.path.name == "digits_vae.h"
    assert f'#define EG_MODEL_BUNDLE_DIGEST "{header.bundle.digest}"' in header.path.read_text()
    assert '#include "' not in header.path.read_text().split("static const", 1)[0].replace('#include "digits', "")
    (tmp_path / "model.c").write_text('#define EG_MODEL_IMPLEMENTATION\n#include "digits_vae.h"\n')
    call = "eg_model_self_test(arena, in, out)"
    (tmp_path / "main.c").write_text(
        SELF_TEST.format(include='#include "digits_vae.h"\n#include "digits_vae.h"', call=call)
    )
    sanitized = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    for preset in ("-O2", "-DEG_PRESET_SIZE"):
        model = ["gcc", "-std=c99", *WARNINGS, *sanitized, preset, "-c", "model.c"]
        _run(model, tmp_path)
        _run(["gcc", "-std=c11", *WARNINGS, *sanitized, "main.c", "model.o", "-o", "p", "-lm"], tmp_path)
        assert _run([tmp_path / "p"], tmp_path) == "-1\n"
    # What it declares is for C++ as well, and what it defines is not.
    (tmp_path / "main.cpp").write_text('#include "digits_vae.h"\nint main() { return EG_MODEL_ARENA_BYTES < 0; }\n')
    _run(["gcc", "-x", "c++", "-Wall", "-Werror", "-fsyntax-only", "main.cpp"], tmp_path)
    done = subprocess.run(
        ["gcc", "-x", "c++", "-DEG_MODEL_IMPLEMENTATION", "-fsyntax-only", "main.cpp"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "the implementation is C" in done.stderr


def test_header_of_a_changed_weight_fails_its_self_test(made: Path, tmp_path: Path) -> None:
    path = wrapped(made, "c-header", tmp_path).path
    text = path.read_text()
    head, tail = text.split("static const int8_t eg_model_dense_", 1)
    begin = tail.index("{\n") + 2
    number = tail[begin:].lstrip().split(",", 1)[0]
    changed = tail[:begin] + tail[begin:].replace(number, str(-int(number) or 5), 1)
    path.write_text(f"{head}static const int8_t eg_model_dense_{changed}")
    (tmp_path / "main.c").write_text(
        SELF_TEST.format(
            include='#define EG_MODEL_IMPLEMENTATION\n#include "digits_vae.h"',
            call="eg_model_self_test(arena, in, out)",
        )
    )
    _run(["gcc", "-std=c11", "main.c", "-o", "p", "-lm"], tmp_path)
    assert 0 <= int(_run([tmp_path / "p"], tmp_path)) < 8


def test_header_of_a_model_file_is_an_aligned_array(made: Path, tmp_path: Path) -> None:
    header = wrapped(made, "c-header", tmp_path, "litert", header="Keyword Net")
    assert header.path.name == "keyword_net.h"
    (tmp_path / "a.c").write_text('#define KEYWORD_NET_IMPLEMENTATION\n#include "keyword_net.h"\n')
    (tmp_path / "b.cpp").write_text(
        '#include "keyword_net.h"\n#include "keyword_net.h"\n#include <stdio.h>\n#include <stdint.h>\n'
        "int main() { if ((uintptr_t)keyword_net % KEYWORD_NET_ALIGN) return 1;\n"
        "  return fwrite(keyword_net, 1, KEYWORD_NET_BYTES, stdout) != KEYWORD_NET_BYTES; }\n"
    )
    _run(["gcc", *WARNINGS, "-c", "a.c"], tmp_path)
    _run(["gcc", "-x", "c++", *WARNINGS, "-c", "b.cpp", "-o", "b.o"], tmp_path)
    _run(["gcc", "a.o", "b.o", "-o", "p"], tmp_path)
    done = subprocess.run([str(tmp_path / "p")], capture_output=True, check=True, timeout=20)
    assert done.stdout == MODEL


@pytest.mark.parametrize("form", [*LIBRARIES, "c-header", "mcuboot"])
def test_bundle_of_another_format_is_refused(made: Path, tmp_path: Path, form: str) -> None:
    options = {"signing_key": "absent.key", "slot_size": 65536} if form == "mcuboot" else {}
    with pytest.raises(BuildError, match=f"cannot be wrapped as {form}"):
        wrapped(made, form, tmp_path / "out", "onnx", **options)
    assert "onnx" not in FORMS[form].formats
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"library": "1st"}, "not a library's name"),
        ({"library": "a b"}, "not a library's name"),
        ({"library": "../x"}, "not a library's name"),
        ({"library": "x" * 64}, "not a library's name"),
        ({"library_version": "1.4.0-rc.1"}, "no equal"),
        ({"zip": "yes"}, "zip"),
    ],
)
def test_library_that_cannot_be_is_refused(made: Path, tmp_path: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        wrapped(made, "arduino", tmp_path / "out", **options)


@pytest.mark.parametrize(("text", "version"), [("1", "1.0.0"), ("0.1", "0.1.0"), ("1.2.3", "1.2.3")])
def test_library_version_has_three_numbers(text: str, version: str) -> None:
    assert library_version(text) == version


@pytest.mark.parametrize("text", ["", "1.2.3.4", "1.2.3+4", "v1", "1.02", "1.2.3\n", "1" * 12])
def test_library_version_without_an_equal_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no equal"):
        library_version(text)


@pytest.mark.parametrize("name", ['x"; system("rm")', "", "a-b"])
def test_model_whose_name_is_no_identifier_is_refused(tmp_path: Path, name: str) -> None:
    write_c(tmp_path / "c")
    told = json.loads((tmp_path / "c" / "files" / "model.json").read_text()) | {"name": name}
    path = tmp_path / "model.json"
    path.write_text(json.dumps(told))
    beside = {item: tmp_path / "c" / "files" / item for item in ("model.h", "eg_kernels.h", "c-library.zip")}
    beside |= {item: tmp_path / "c" / "files" / item for item in ("source.tflite", "arena.svg")}
    write_c(tmp_path / "hostile", beside=beside | {"model.json": path})
    for form in ("arduino", "c-header"):
        with pytest.raises(IntegrityError, match="none that C can spell"):
            wrapped(tmp_path, form, tmp_path / "out", "hostile")
