"""The runner's work in a Python guest: for a runtime that is a Python package only (tflite-runtime on 32-bit Arm).

    python3 eg_python_guest.py litert - MODEL INPUTS OUTPUTS RUNS

Arguments, tensor files (eg_tensors.h), marks (eg_marker.h) and exit statuses (eg_report.h) are the native runner's.
What lies between the marks is the call of the runtime from Python, so a count includes the instructions that the call
itself takes there, as it does on the board.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgegen_runtime.session import SESSIONS, InputsError, ModelRefusedError, RuntimeMissingError, check_inputs

_HEAD = struct.Struct("<8sIIQQ")
_DESCRIPTOR = struct.Struct("<II8QII256s")
_MAGIC, _ALIGNMENT, _RANK = b"EGTENSR1", 64, 8
_NAMES = "float32 float16 int8 uint8 int32 int64 bool int16 uint16 uint32 uint64 float64"
_DTYPES = dict(enumerate(_NAMES.split(), start=1))
_CODES = {name: code for code, name in _DTYPES.items()}
_BEGIN, _END, _BEFORE_LOAD = 40, 41, 42
_HINT, _RETURN = 0xE320F000, 0xE12FFF1E  # A32: HINT #0, BX LR
_REFUSED_INPUT, _REFUSED_MODEL, _NO_RUNTIME, _NO_MEMORY = 2, 3, 4, 5

Arrays = dict[str, "np.ndarray[Any, Any]"]


def main(arguments: list[str]) -> int:
    """Runs the model and returns the exit status; what went wrong is one line on stderr."""
    runtime, _, model, inputs, outputs, runs = arguments
    try:
        _work(runtime, Path(model), Path(inputs), Path(outputs), int(runs))
    except InputsError as error:
        return _fail(_REFUSED_INPUT, error)
    except ModelRefusedError as error:
        return _fail(_REFUSED_MODEL, error)
    except RuntimeMissingError as error:
        return _fail(_NO_RUNTIME, error)
    except (MemoryError, OSError) as error:
        return _fail(_NO_MEMORY, error)
    return 0


def _work(runtime: str, model: Path, inputs: Path, outputs: Path, runs: int) -> None:
    arrays, marks = _read(inputs), _marks()
    data = model.read_bytes()
    marks[_BEFORE_LOAD]()
    session = SESSIONS[runtime](data)
    samples = check_inputs(session.inputs, arrays)
    gc.disable()  # its work would fall on one inference and not on another
    rows: list[Mapping[str, Any]] = []
    for number in range(runs or samples):
        at = 0 if runs else number
        sample = {name: array[at : at + 1] for name, array in arrays.items()}
        marks[_BEGIN]()
        given = session.infer(sample)
        marks[_END]()
        if not runs or number == runs - 1:
            rows.append(given)
    _write(
        outputs,
        {port.name: np.concatenate([np.atleast_1d(row[port.name]) for row in rows]) for port in session.outputs},
    )


def _marks() -> dict[int, Callable[[], None]]:
    """Functions that are nothing but a mark. In the emulator only: a real core's caches would need to be told."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    made: dict[int, Callable[[], None]] = {}
    start = ctypes.addressof(ctypes.c_char.from_buffer(page))
    for place, number in enumerate((_BEGIN, _END, _BEFORE_LOAD)):
        page[8 * place : 8 * place + 8] = struct.pack("<II", _HINT + number, _RETURN)
        made[number] = ctypes.CFUNCTYPE(None)(start + 8 * place)
    _kept.append(page)
    return made


_kept: list[mmap.mmap] = []


def _read(path: Path) -> Arrays:
    """The arrays of a tensor file that edgegen wrote, samples first."""
    data = path.read_bytes()
    _, count, samples, offset, _ = _HEAD.unpack_from(data)
    entries = []
    for index in range(count):
        code, rank, *rest = _DESCRIPTOR.unpack_from(data, _HEAD.size + index * _DESCRIPTOR.size)
        name = rest[_RANK + 2][: rest[_RANK]].decode("utf-8")
        entries.append((name, np.dtype(_DTYPES[code]), tuple(rest[:rank])))
    rows = np.frombuffer(data, np.uint8, offset=offset).reshape(samples, -1)
    arrays: Arrays = {}
    start = 0
    for name, dtype, shape in entries:
        length = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        block = np.ascontiguousarray(rows[:, start : start + length])
        arrays[name] = block.view(dtype).reshape(samples, *shape[1:])
        start += length
    return arrays


def _write(path: Path, arrays: Arrays) -> None:
    samples = len(next(iter(arrays.values())))
    with path.open("wb") as stream:
        end = _HEAD.size + len(arrays) * _DESCRIPTOR.size
        offset = -(-end // _ALIGNMENT) * _ALIGNMENT
        ready = {name: np.ascontiguousarray(array).reshape(samples, -1) for name, array in arrays.items()}
        total = sum(array.nbytes for array in ready.values())
        stream.write(_HEAD.pack(_MAGIC, len(arrays), samples, offset, total))
        for name, array in arrays.items():
            axes = (1, *array.shape[1:], *(0,) * (_RANK - array.ndim))
            text = name.encode("utf-8")
            stream.write(_DESCRIPTOR.pack(_CODES[array.dtype.name], array.ndim, *axes, len(text), 0, text))
        stream.write(bytes(offset - end))
        bodies = [array[row].tobytes() for row in range(samples) for array in ready.values()]
        stream.write(b"".join(bodies))


def _fail(status: int, error: Exception) -> int:
    print(f"eg-runner: {' '.join(str(error).split())[:2000] or type(error).__name__}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
