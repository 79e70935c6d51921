"""The .npz files that inference processes read and write."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgegen_runtime.arrays import ArraysError, read_arrays, write_arrays

NAMES = ["x", "file", "x.npy", "/decoder/out:0", "../up", "a b", "ü", "self", ""]


def npy(
    descr: str = "'<f4'", shape: str = "(2,)", body: bytes = b"\x00" * 8, header: str = "", version: int = 1
) -> bytes:
    text = header or f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text)) + text.encode() + body


def zipped(path: Path, members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def test_any_name_and_number_comes_back(tmp_path: Path) -> None:
    arrays = {name: np.arange(6, dtype=np.int16).reshape(2, 3) + place for place, name in enumerate(NAMES)}
    arrays["big"] = np.asfortranarray(np.ones((2, 3), ">f8"))
    write_arrays(tmp_path / "a.npz", arrays)
    back = read_arrays(tmp_path / "a.npz")
    assert list(back) == [*NAMES, "big"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype.isnative
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["file"], arrays["file"])


def test_what_numpy_writes_is_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(5), y=np.array(True))
    back = read_arrays(tmp_path / "a.npz")
    assert back["x"].tolist() == [0, 1, 2, 3, 4]
    assert back["y"].shape == ()


@pytest.mark.parametrize(
    "array", [np.array([{}], dtype=object), np.array(["text"]), np.zeros(2, "c8"), np.zeros(2, "i4,f4")]
)
def test_only_numbers_are_written(array: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ArraysError):
        write_arrays(tmp_path / "a.npz", {"x": array})


@pytest.mark.parametrize("name", ["a\0b", "x" * 70_000, "\ud800"])
def test_names_that_no_zip_holds(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArraysError):
        write_arrays(tmp_path / "a.npz", {name: np.zeros(1)})


@pytest.mark.parametrize(
    "member",
    {
        "no array": b"hello",
        "empty": b"",
        "cut header": npy()[:20],
        "cut data": npy()[:-1],
        "data too long": npy(body=b"\x00" * 9),
        "enormous": npy(shape="(1000000, 1000000, 1000000)"),
        "negative": npy(shape="(-2,)"),
        "object": npy(descr="'|O'"),
        "subarray": npy(descr="('<f4', (1000000000,))"),
        "text": npy(descr="'<U2'"),
        "version": npy(version=9),
        "not a dictionary": npy(header="[1, 2]"),
        "unhashable key": npy(header="{[]: 1}"),
        "code": npy(header="__import__('os').system('true')"),
        "nested": npy(header="(" * 5000),
        "many axes": npy(shape="(" + "1, " * 99 + "2)"),
    }.items(),
    ids=lambda item: item[0],
)
def test_hostile_members(member: tuple[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(ArraysError):
        read_arrays(zipped(tmp_path / "a.npz", [("x.npy", member[1])]))


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ArraysError, match="not numeric"):
        read_arrays(zipped(tmp_path / "a.npz", [("x.npy", stream.getvalue())]))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text", b"\x93NUMPY\x01\x00"])
def test_no_archive(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ArraysError, match=r"a\.npz is not a readable"):
        read_arrays(tmp_path / "a.npz")
    with pytest.raises(ArraysError):
        read_arrays(tmp_path / "absent.npz")


def test_archives_that_are_not_of_numpys_making(tmp_path: Path) -> None:
    cases = {
        "strange": [("x.txt", b"hello")],
        "many": [(f"{number}.npy", npy()) for number in range(257)],
        "bomb": [("x.npy", npy(shape="(4000000,)", body=bytes(16_000_000)))],
    }
    for name, members in cases.items():
        path = zipped(tmp_path / name, members, zipfile.ZIP_DEFLATED)
        with pytest.raises(ArraysError):
            read_arrays(path, limit_bytes=1_000_000)
    with pytest.warns(UserWarning, match="Duplicate"):
        zipped(tmp_path / "twice", [("x.npy", npy()), ("x.npy", npy())])
    with pytest.raises(ArraysError, match="each once"):
        read_arrays(tmp_path / "twice")
    with pytest.raises(ArraysError, match="numpy's making"):
        read_arrays(zipped(tmp_path / "lzma", [("x.npy", npy())], zipfile.ZIP_LZMA))


def test_flipped_bytes_give_the_array_or_an_error(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(40), y=np.ones(3))
    whole, draw = (tmp_path / "a.npz").read_bytes(), np.random.default_rng(2)
    for _ in range(300):
        broken = bytearray(whole)
        for place in draw.integers(0, len(whole), 3):
            broken[place] = int(draw.integers(0, 256))
        (tmp_path / "b.npz").write_bytes(broken)
        try:
            arrays = read_arrays(tmp_path / "b.npz")
        except ArraysError:
            continue
        assert sum(array.nbytes for array in arrays.values()) < 1 << 20
