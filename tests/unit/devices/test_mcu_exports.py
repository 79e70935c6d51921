"""Exported C models as devices read them, and what is read off a linked firmware."""

from __future__ import annotations

import json
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgegen.core.errors import BuildError, TargetError, UsageError
from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices.device import DeviceSettings, open_device
from edgegen.devices.mcu.elf import read_footprint
from edgegen.devices.mcu.glue import glue
from edgegen.devices.mcu.interface import SOURCES, lay_out, pack, read_interface, unpack
from edgegen.devices.serial.device import read_address
from support.mcu_models import expected, samples, write_model


def test_mcu_blocks_are_quantized_and_back(tmp_path: Path) -> None:
    model = read_interface(write_model(tmp_path).parent)
    x = samples(3)
    block = np.frombuffer(pack(model, {"x": x}, 1), np.int8)
    scale, zero_point = model.inputs[0].scale, model.inputs[0].zero_point
    assert scale is not None
    assert zero_point is not None
    assert np.abs((block.astype(np.float32) - zero_point) * scale - x[1]).max() <= scale / 2 + 1e-6
    y = unpack(model, [bytes([131, *range(15)]), bytes(16)])["y"]
    assert (y.shape, y.dtype) == ((2, 16), np.float32)
    np.testing.assert_allclose(y[0, :2], [0.05 * (-125 - 3), 0.05 * -3], rtol=1e-6)
    assert expected(tmp_path / "model.c", x).shape == (3, 16)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({}, "is missing"),
        ({"x": np.zeros((1, 783), np.float32)}, "another shape"),
        ({"x": np.zeros((0, 784), np.float32)}, "another shape"),
        ({"x": np.zeros((1, 784), np.int16)}, "another type"),
    ],
)
def test_mcu_block_of_other_arrays_is_refused(tmp_path: Path, inputs: dict[str, object], says: str) -> None:
    model = read_interface(write_model(tmp_path).parent)
    with pytest.raises(UsageError, match=says):
        pack(model, inputs, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("name", 'x"; int evil', "none that C can spell"),
        ("name", "", "none that C can spell"),
        ("inputs", [], "no inputs or no outputs"),
        ("arena_bytes", 1 << 40, "too large"),
        ("arena_bytes", -1, "arena_bytes"),
        ("surplus", 1, "surplus"),
    ],
)
def test_mcu_description_that_is_hostile_is_refused(tmp_path: Path, key: str, value: object, says: str) -> None:
    folder = write_model(tmp_path).parent
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(UsageError, match=says):
        read_interface(folder)


def _zipped(folder: Path, names: list[str], prefix: str = "edgegen_model/src/") -> Path:
    path = folder / "library.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.write(folder / name, prefix + name)
    return path


def test_mcu_model_is_found_beside_its_source_and_in_an_archive(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    assert lay_out(model, tmp_path) == model.parent
    for prefix in ("", "a/b/", "../../../"):
        work = tmp_path / f"work{len(prefix)}"
        work.mkdir()
        assert lay_out(_zipped(model.parent, list(SOURCES), prefix), work) == work
        assert sorted(path.name for path in work.iterdir()) == sorted(SOURCES)


def test_mcu_model_without_all_files_is_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    with pytest.raises(UsageError, match=r"no eg_kernels\.h"):
        lay_out(_zipped(model.parent, ["model.c", "model.h", "model.json"]), tmp_path)
    (model.parent / "model.json").unlink()
    with pytest.raises(UsageError, match=r"no model\.json beside it"):
        lay_out(model, tmp_path)
    broken = tmp_path / "broken.zip"
    data = _zipped(write_model(tmp_path / "again").parent, list(SOURCES)).read_bytes()
    broken.write_bytes(data[:40] + bytes(40) + data[80:])
    with pytest.raises(UsageError, match="broken"):
        lay_out(broken, tmp_path)


def test_mcu_glue_gives_millionths_that_are_exact(tmp_path: Path) -> None:
    """The firmware prints outputs by an integer product: within a millionth of the real number, at any scale."""
    folder = write_model(tmp_path).parent
    told = json.loads((folder / "model.json").read_text())
    for scale in (1e-9, 0.05, 1 / 3, 123.456, 9e4):
        told["outputs"][0] |= {"scale": scale, "zero_point": -128}
        (folder / "model.json").write_text(json.dumps(told))
        model = read_interface(folder)
        line = next(line for line in glue(model, "0").splitlines() if "EG_INT8, -128" in line)
        numerator, shift = (int(re.sub("[^0-9]", "", text)) for text in line.split(",")[4:6])
        assert 255 * numerator < 2**63
        real_scale = model.outputs[0].scale
        assert real_scale is not None
        assert abs((255 * numerator >> shift) - 255e6 * real_scale) <= 1 + 255e6 * real_scale * 1e-9


def _elf(sections: list[tuple[str, int, int, int]]) -> bytes:
    """A 32-bit ELF file of section headers alone: name, type, flags, size."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name, *_ in sections) + b".shstrtab\0"
    headers, at = [bytes(40)], 1
    for name, kind, flags, size in sections:
        headers.append(struct.pack("<10I", at, kind, flags, 0, 0, size, 0, 0, 0, 0))
        at += len(name) + 1
    headers.append(struct.pack("<10I", at, 3, 0, 0, 52, len(names), 0, 0, 0, 0))
    offset = 52 + len(names)
    magic = b"\x7fELF\x01\x01\x01" + bytes(9)
    count = len(headers)
    head = struct.pack("<16sHHIIIIIHHHHHH", magic, 2, 40, 1, 0, 0, offset, 0, 52, 0, 0, 40, count, count - 1)
    return head + names + b"".join(headers)


def test_mcu_footprint_is_by_what_sections_are(tmp_path: Path) -> None:
    path = tmp_path / "firmware.elf"
    sections = [(".text", 1, 6, 1000), (".rodata", 1, 2, 200), (".data", 1, 3, 30), (".bss", 8, 3, 4000)]
    path.write_bytes(_elf([*sections, (".stack", 8, 3, 1024), (".debug_info", 1, 0, 99999)]))
    found = read_footprint(path)
    assert (found.code, found.constants, found.data, found.zeroed) == (1000, 200, 30, 4000)
    assert (found.flash_bytes, found.ram_bytes) == (1230, 4030)


@pytest.mark.parametrize("cut", [0, 10, 51, 60, 150])
def test_mcu_footprint_of_a_broken_file_is_an_error(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "firmware.elf"
    path.write_bytes(_elf([(".text", 1, 6, 1000)])[:cut])
    with pytest.raises(BuildError, match="ELF"):
        read_footprint(path)


@pytest.mark.parametrize(
    ("scheme", "rest", "url", "baud", "reset"),
    [
        ("serial", "///dev/ttyACM0", "/dev/ttyACM0", 115200, ""),
        ("serial", "///dev/ttyUSB1?baud=921600&reset=dtr", "/dev/ttyUSB1", 921600, "dtr"),
        ("socket", "//127.0.0.1:4000", "socket://127.0.0.1:4000", 115200, ""),
        ("rfc2217", "//lab:4000?reset=rts", "rfc2217://lab:4000", 115200, "rts"),
    ],
)
def test_mcu_address_is_read(scheme: str, rest: str, url: str, baud: int, reset: str) -> None:
    found = read_address(scheme, rest)
    assert (found.url, found.baud, found.reset) == (url, baud, reset)


@pytest.mark.parametrize(
    ("scheme", "rest"),
    [
        ("serial", ""),
        ("serial", "//host/dev"),
        ("serial", "///dev/ttyACM0?baud=fast"),
        ("serial", "///dev/ttyACM0?baud=0"),
        ("serial", "///dev/ttyACM0?reset=power"),
        ("socket", "//h:1?speed=2"),
        ("socket", "//h:1?speed"),
    ],
)
def test_mcu_address_that_is_none_is_refused(scheme: str, rest: str) -> None:
    with pytest.raises(TargetError, match="not a device's address"):
        read_address(scheme, rest)


def test_mcu_line_is_for_microcontrollers(tmp_path: Path) -> None:
    settings = DeviceSettings(cache=tmp_path, offline=True, progress=Silent())
    with pytest.raises(UsageError, match="is for microcontrollers"):
        open_device("serial:///dev/ttyACM0", load_target("raspberrypi5"), settings)
    with pytest.raises(TargetError, match="takes no address"):
        open_device("qemu:x", load_target("nucleo-l4r5zi"), settings)
