"""The sources of a model: what is in them, and that the compiled program gives the reference's bytes."""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.core.c_model import read_c_model
from edgegen.export.c.convert import write
from edgegen.export.c.emit import Emitted, emit
from edgegen.export.c.graph import Graph, Node, Scales, Tensor
from edgegen.export.c.layouts import library, library_files
from edgegen.export.c.reference import run
from support.c_models import built, inferred
from support.mcu_tools import mcu_tools

SCALES = Scales(scale=(0.05,), zero_point=(3,))


def _tensor(name: str, *shape: int, data: np.ndarray[Any, Any] | None = None) -> Tensor:
    return Tensor(name=name, shape=shape, dtype="int8", scales=SCALES, data=data)


def moved() -> Graph:
    """Two inputs, a join with a constant, a reshape, a table, a slice, and two outputs, one of them the input again."""
    part = np.arange(-6, 6, dtype=np.int8).reshape(1, 2, 6)
    tensors = [
        _tensor("left", 1, 2, 6),
        _tensor("right", 1, 3, 6),
        _tensor("part", 1, 2, 6, data=part),
        _tensor("joined", 1, 7, 6),
        _tensor("flat", 1, 42),
        _tensor("squashed", 1, 42),
        _tensor("short", 1, 20),
        _tensor("same", 1, 12),
    ]
    nodes = [
        Node(name="join", kind="concat", inputs=("left", "part", "right"), outputs=("joined",), attributes={"axis": 1}),
        Node(name="flatten", kind="reshape", inputs=("joined",), outputs=("flat",)),
        Node(name="squash", kind="lut", inputs=("flat",), outputs=("squashed",), attributes={"function": "tanh"}),
        Node(
            name="cut",
            kind="slice",
            inputs=("squashed",),
            outputs=("short",),
            attributes={"begin": (0, 1), "size": (1, 20), "strides": (1, 2)},
        ),
        Node(name="again", kind="reshape", inputs=("left",), outputs=("same",)),
    ]
    return Graph(
        name="model",
        inputs=("left", "right"),
        outputs=("short", "same"),
        tensors={tensor.name: tensor for tensor in tensors},
        nodes=tuple(nodes),
    )


def samples(graph: Graph, count: int) -> list[dict[str, np.ndarray[Any, Any]]]:
    draw = np.random.default_rng(5)
    return [
        {name: draw.integers(-128, 128, graph.tensors[name].shape, dtype=np.int8) for name in graph.inputs}
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def emitted() -> Emitted:
    return emit(moved(), "c")


@pytest.mark.parametrize("preset", ["-DEG_PRESET_SPEED", "-DEG_PRESET_SIZE"])
def test_emitted_program_gives_the_references_bytes(emitted: Emitted, tmp_path: Path, preset: str) -> None:
    graph = moved()
    given = samples(graph, 20)
    made = inferred(built(emitted, tmp_path, preset), emitted.interface, given)
    for sample, outputs in zip(given, made, strict=True):
        expected = run(graph, sample)
        assert {name: array.tobytes() for name, array in outputs.items()} == {
            name: array.tobytes() for name, array in expected.items()
        }
    assert len({output["short"].tobytes() for output in made}) > 10


def test_emitted_program_calls_back_after_every_operator(emitted: Emitted, tmp_path: Path) -> None:
    write(emitted, tmp_path)
    (tmp_path / "main.c").write_text(
        '#include "model.h"\n#include <stdio.h>\nvoid seen(int i);\nvoid seen(int i) { printf("%d ", i); }\n'
        "static unsigned char a[4096], in[64], out[64];\n"
        "int main(void) { eg_model_run(a, in, out); return 0; }\n"
    )
    program = tmp_path / "program"
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler is not None
    sources = [str(tmp_path / "main.c"), str(tmp_path / "model.c")]
    subprocess.run([compiler, "-DEG_PROFILE=seen", *sources, "-o", str(program), "-lm"], check=True, timeout=120)
    said = subprocess.run([str(program)], check=True, capture_output=True, text=True, timeout=20).stdout
    assert said.split() == [str(place) for place in range(len(emitted.interface.operators))]


def test_emitted_interface_says_where_everything_lies(emitted: Emitted, tmp_path: Path) -> None:
    write(emitted, tmp_path)
    told = read_c_model(tmp_path / "model.json")
    assert told == emitted.interface
    assert [(tensor.name, tensor.offset, tensor.bytes) for tensor in told.inputs] == [
        ("left", 0, 12),
        ("right", 12, 18),
    ]
    assert [(tensor.name, tensor.offset, tensor.bytes) for tensor in told.outputs] == [
        ("short", 0, 20),
        ("same", 20, 12),
    ]
    assert (told.input_bytes, told.output_bytes) == (32, 32)
    assert f"#define EG_MODEL_ARENA_BYTES {told.arena_bytes}\n" in emitted.header
    assert "#define EG_MODEL_INPUT1_OFFSET 12\n" in emitted.header
    assert "#define EG_MODEL_INPUT1_ZERO_POINT (3)\n" in emitted.header


def test_emitted_bytes_are_the_same_each_time(emitted: Emitted) -> None:
    again = emit(moved(), "c")
    assert (again.source, again.header, again.kernels) == (emitted.source, emitted.header, emitted.kernels)
    assert library(again) == library(emitted)


def test_equal_constants_are_stored_once() -> None:
    graph = moved()
    twice = Node(
        name="more", kind="lut", inputs=("squashed",), outputs=("squashed_2",), attributes={"function": "tanh"}
    )
    tensors = {**graph.tensors, "squashed_2": _tensor("squashed_2", 1, 42)}
    longer = Graph(
        name="model",
        inputs=graph.inputs,
        outputs=(*graph.outputs, "squashed_2"),
        tensors=tensors,
        nodes=(*graph.nodes, twice),
    )
    assert emit(longer, "c").interface.constant_bytes == emit(graph, "c").interface.constant_bytes


def test_amalgamation_has_each_header_once_and_includes_none(emitted: Emitted) -> None:
    assert '#include "eg_' not in emitted.kernels
    for kernel in {operator.kernel for operator in emitted.interface.operators} - {"memcpy"}:
        assert emitted.kernels.count(f"struct {kernel}_params {{") == 1
    assert "struct eg_conv2d" not in emitted.kernels


def test_library_is_made_by_make_and_holds_every_layout(emitted: Emitted, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(library(emitted))) as archive:
        archive.extractall(tmp_path)
    root = tmp_path / "edgegen_model"
    wanted = {
        *("src/model.c", "src/model.h", "src/eg_kernels.h", "CMakeLists.txt", "Makefile", "library.properties"),
        *("zephyr/module.yml", "zephyr/CMakeLists.txt", "zephyr/Kconfig", "idf_component.yml"),
    }
    assert wanted <= {str(path.relative_to(root)) for path in root.rglob("*")}
    make = shutil.which("make")
    assert make is not None, "no make: apt-get install make"
    for more in ([], ["PRESET_SIZE=1"]):
        subprocess.run([make, "-s", "-C", str(root), "-B", *more], check=True, timeout=200)
        assert (root / "libedgegen_model.a").stat().st_size > 1000
    cmake = shutil.which("cmake")
    if cmake is not None:
        build = tmp_path / "build"
        subprocess.run([cmake, "-S", str(root), "-B", str(build)], check=True, timeout=200, capture_output=True)
        subprocess.run([cmake, "--build", str(build)], check=True, timeout=200, capture_output=True)


def test_library_texts_are_what_their_tools_read(emitted: Emitted) -> None:
    import yaml

    files = library_files(emitted)
    module = yaml.safe_load(files["zephyr/module.yml"])
    assert module["build"] == {"cmake": "zephyr", "kconfig": "zephyr/Kconfig"}
    assert yaml.safe_load(files["idf_component.yml"])["dependencies"] == {"idf": ">=5.0"}
    properties = dict(line.split("=", 1) for line in files["library.properties"].splitlines())
    assert {"name", "version", "author", "sentence", "architectures", "includes"} <= set(properties)
    assert files["CMakeLists.txt"].count("(") == files["CMakeLists.txt"].count(")")
    assert "{" not in files["zephyr/CMakeLists.txt"].replace("${", "")
    assert files["zephyr/Kconfig"].startswith("config EDGEGEN_MODEL\n\tbool ")


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0"])
def test_emitted_source_compiles_for_the_core(emitted: Emitted, tmp_path: Path, core: str) -> None:
    compiler = mcu_tools().compiler
    write(emitted, tmp_path)
    options = [*compiler.flags, f"-mcpu={core}", "-mthumb", "-O3", "-std=c99"]
    options += ["-Wall", "-Wextra", "-Werror", "-Wconversion"]
    command = [compiler.program, *options, "-c", "model.c", "-o", "model.o"]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=200, env=dict(compiler.env))
    assert (tmp_path / "model.o").stat().st_size > 1000


@pytest.mark.parametrize("level", ["-O1", "-O2", "-O3"])
@pytest.mark.parametrize("for_arm", [False, True])
def test_no_operator_is_optimized_away(tmp_path: Path, for_arm: bool, level: str) -> None:
    """Input and output of the slices lie in one block, where gcc 12 takes such a function for one without effects."""
    arm = mcu_tools().compiler if for_arm else None
    compiler, env = (arm.program, dict(arm.env)) if arm else ("gcc", None)
    tensors = [_tensor("x", 1, 42), _tensor("squashed", 1, 42), _tensor("first", 1, 20), _tensor("second", 1, 6)]
    nodes = [
        Node(name="squash", kind="lut", inputs=("x",), outputs=("squashed",), attributes={"function": "tanh"}),
        *(
            Node(
                name=name,
                kind="slice",
                inputs=("squashed",),
                outputs=(name,),
                attributes={"begin": (0, 1), "size": (1, size), "strides": (1, stride)},
            )
            for name, size, stride in (("first", 20, 2), ("second", 6, 7))
        ),
    ]
    graph = Graph(
        name="model",
        inputs=("x",),
        outputs=("squashed", "first", "second"),
        tensors={tensor.name: tensor for tensor in tensors},
        nodes=tuple(nodes),
    )
    write(emit(graph, "c"), tmp_path)
    subprocess.run([compiler, level, "-std=gnu99", "-S", "model.c"], check=True, cwd=tmp_path, timeout=100, env=env)
    body = (tmp_path / "model.s").read_text().split("\neg_model_run:", 1)[1]
    called = [name for name in ("eg_model_0_lut", "eg_model_1_slice", "eg_model_2_slice") if name in body]
    assert called == ["eg_model_0_lut", "eg_model_1_slice", "eg_model_2_slice"]


def test_picture_draws_every_block(emitted: Emitted, tmp_path: Path) -> None:
    import xml.etree.ElementTree as tree

    write(emitted, tmp_path)
    root = tree.fromstring((tmp_path / "arena.svg").read_text())
    boxes = [item for item in root.iter() if item.tag.endswith("rect")]
    assert len(boxes) == len(emitted.plan.blocks)
    assert f"{emitted.interface.arena_lower_bound_bytes}" in "".join(root.itertext())
