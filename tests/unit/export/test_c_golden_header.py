"""Golden vectors as a C header: what is in it and how much, and the self-test that runs it."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgegen.core.c_model import CTensor
from edgegen.core.errors import BuildError
from edgegen.export.c.convert import write
from edgegen.export.c.emit import Emitted, emit
from edgegen.export.c.golden_header import MOST_BYTES, MOST_BYTES_OF_ONE, golden_header
from support.c_models import WARNINGS
from support.mcu_golden import golden_arrays, small_graph
from support.mcu_host import INCLUDE, SANITIZERS

SOURCES = INCLUDE.parent / "src"
MAIN = """#include <stdio.h>
#include "golden.h"
static _Alignas(16) uint8_t arena[EG_MODEL_ARENA_BYTES + 16], in[EG_MODEL_INPUT_BYTES], out[EG_MODEL_OUTPUT_BYTES];
int main(void)
{
    printf("%d\\n", (int)eg_self_test(&eg_model_golden, arena, in, out));
    return 0;
}
"""


def _tested(folder: Path, emitted: Emitted, text: str) -> int:
    """What the self-test of a header says, with the sanitizers on."""
    folder.mkdir(exist_ok=True)
    write(emitted, folder)
    (folder / "golden.h").write_text(text)
    (folder / "main.c").write_text(MAIN)
    units = [folder / "main.c", folder / "model.c", SOURCES / "eg_self_test.c", SOURCES / "eg_sha256.c"]
    strict = ["-std=c11", *WARNINGS[1:], *SANITIZERS]
    command = ["gcc", *strict, f"-I{INCLUDE}", f"-I{folder}", *map(str, units), "-lm", "-o", str(folder / "p")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    return int(subprocess.run([str(folder / "p")], capture_output=True, text=True, timeout=60, check=True).stdout)


def _numbers(text: str, array: str) -> list[int]:
    inside = text.split(f"_{array}[", 1)[1].split("{", 1)[1].split("}", maxsplit=1)[0]
    return [int(item) for item in re.findall(r"\d+", inside)]


def _changed(text: str, array: str, place: int) -> str:
    """The header with one number of an array turned in its lowest bit."""
    numbers = _numbers(text, array)
    numbers[place] ^= 1
    head, tail = text.split(f"_{array}[", 1)
    size, rest = tail.split("{", 1)
    return f"{head}_{array}[{size}{{{','.join(map(str, numbers))}}}{rest.split('}', 1)[1]}"


@pytest.mark.parametrize(("outputs", "hashed"), [(10, False), (300, True)])
def test_self_test_holds_and_names_the_first_vector_that_differs(tmp_path: Path, outputs: int, hashed: bool) -> None:
    graph = small_graph(outputs)
    emitted = emit(graph, "c")
    header = golden_header(emitted.interface, golden_arrays(graph, emitted, 5))
    assert header is not None
    assert (header.vectors, header.left_out) == (5, 0)
    assert ("SHA-256" in header.text) == hashed
    one = 32 if hashed else 12
    assert header.bytes == 5 * (24 + one)
    assert len(_numbers(header.text, "outputs")) == 5 * one
    assert _tested(tmp_path / "whole", emitted, header.text) == -1
    assert _tested(tmp_path / "output", emitted, _changed(header.text, "outputs", 3 * one + 5)) == 3
    changed = _changed(_changed(header.text, "outputs", 4 * one), "outputs", 1 * one + 9)
    assert _tested(tmp_path / "two", emitted, changed) == 1


def test_header_holds_blocks_as_they_are_stored() -> None:
    graph = small_graph(300)
    emitted = emit(graph, "c")
    arrays = golden_arrays(graph, emitted, 2)
    header = golden_header(emitted.interface, arrays)
    assert header is not None
    stored = np.round(arrays["input/x"] / np.float32(0.03)).astype(int) + 2
    assert _numbers(header.text, "inputs") == [value % 256 for value in stored.reshape(-1)]
    made = np.round(arrays["output/y"] / np.float32(0.02)).astype(int) - 4
    digests = [hashlib.sha256(row.astype(np.int8).tobytes()).digest() for row in made]
    assert bytes(_numbers(header.text, "outputs")) == b"".join(digests)


def test_header_takes_what_there_is_room_for() -> None:
    graph = small_graph()
    emitted = emit(graph, "c")
    many = golden_header(emitted.interface, golden_arrays(graph, emitted, 1000))
    assert many is not None
    assert many.vectors == MOST_BYTES // 36
    assert many.left_out == 1000 - many.vectors
    assert many.bytes <= MOST_BYTES
    assert f"{many.vectors} of 1000" in many.text


@pytest.mark.parametrize(
    ("elements", "vectors"), [(MOST_BYTES, 1), (MOST_BYTES_OF_ONE - 12, 1), (MOST_BYTES_OF_ONE, 0)]
)
def test_header_of_large_inputs_has_one_vector_or_none(elements: int, vectors: int) -> None:
    emitted = emit(small_graph(), "c")
    told = emitted.interface.inputs[0]
    wide = CTensor(
        name="x",
        dtype="int8",
        shape=(1, elements),
        scale=told.scale,
        zero_point=told.zero_point,
        offset=0,
        bytes=elements,
    )
    from dataclasses import replace

    arrays = {"input/x": np.zeros((3, elements), np.float32), "output/y": np.zeros((3, 10), np.float32)}
    header = golden_header(replace(emitted.interface, inputs=(wide,)), arrays)
    assert (0 if header is None else header.vectors) == vectors


@pytest.mark.parametrize(
    ("name", "array", "says"),
    [
        ("input/x", None, "lack a tensor"),
        ("input/x", np.zeros((5, 23), np.float32), "not of the model's shape"),
        ("input/x", np.zeros((0, 24), np.float32), "no samples"),
        ("output/y", np.zeros((4, 10), np.float32), "as many inputs as outputs"),
    ],
)
def test_header_of_other_vectors_is_refused(name: str, array: np.ndarray | None, says: str) -> None:
    graph = small_graph()
    emitted = emit(graph, "c")
    arrays = golden_arrays(graph, emitted, 5)
    del arrays[name]
    if array is not None:
        arrays[name] = array
    with pytest.raises(BuildError, match=says):
        golden_header(emitted.interface, arrays)
