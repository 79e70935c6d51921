"""The .npz reader: what numpy writes comes back; what a stranger may send is refused."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegen.core.errors import ExitCode, UsageError
from edgegen.data.npz import read_npz


def _npy(header, data=b""):
    text = header.encode() + b" " * (-(10 + len(header) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def _archive(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_read_npz_gives_back_what_numpy_wrote(tmp_path, save):
    arrays = {
        "images": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        "turned": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "swapped": np.arange(4, dtype=">i4"),
        "scalar": np.float64(2.5),
        "empty": np.zeros((0, 3)),
    }
    save(tmp_path / "a.npz", **arrays)
    found = read_npz(tmp_path / "a.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert np.array_equal(found[name], array)
        assert found[name].dtype.isnative
        assert found[name].flags.c_contiguous


class _Trap:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def _hostile():
    bomb = _npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1073741824,), }", b"\0" * 1000)
    wide = _npy("{'descr': '|u1', 'fortran_order': False, 'shape': (0, 99999999999999999999), }")
    negative = _npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, -8), }", b"\0" * 8)
    pickled = io.BytesIO()
    np.lib.format.write_array(pickled, np.array([_Trap()], dtype=object), allow_pickle=True)
    return {
        "pickled object": [("images.npy", pickled.getvalue())],
        "pickle in place of an array": [("images.npy", pickle.dumps(_Trap()))],
        "declared size that is not there": [("images.npy", bomb)],
        "absurd shape": [("images.npy", wide)],
        "negative shape": [("images.npy", negative)],
        "text elements": [("images.npy", _npy("{'descr': '<U8', 'fortran_order': False, 'shape': (0,), }"))],
        "code in the header": [("images.npy", _npy("__import__('os').abort()"))],
        "deep header": [("images.npy", _npy("(" * 5000))],
        "unknown version": [("images.npy", b"\x93NUMPY\x09\x00" + b"\0" * 100)],
        "empty member": [("images.npy", b"")],
        "path as a name": [("../images.npy", b"")],
        "other member": [("images.exe", b"")],
        "name twice": [("images.npy", b""), ("images.npy", b"")],
        "many members": [(f"{index}.npy", b"") for index in range(300)],
    }


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", list(_hostile()))
def test_read_npz_refuses_hostile_members(tmp_path, kind):
    with pytest.raises(UsageError) as caught:
        read_npz(_archive(tmp_path / "a.npz", _hostile()[kind]))
    assert caught.value.exit_code == ExitCode.USAGE


def test_read_npz_refuses_a_zip_bomb_before_unpacking(tmp_path):
    array = _npy("{'descr': '|u1', 'fortran_order': False, 'shape': (50000000,), }", b"\0" * 50_000_000)
    path = _archive(tmp_path / "a.npz", [("images.npy", array)])
    assert path.stat().st_size < 100_000
    with pytest.raises(UsageError, match="too large"):
        read_npz(path, limit_bytes=1_000_000)


def test_read_npz_refuses_a_member_that_holds_more_than_it_declares(tmp_path):
    array = _npy("{'descr': '|u1', 'fortran_order': False, 'shape': (100000,), }", b"\7" * 100_000)
    path = _archive(tmp_path / "a.npz", [("images.npy", array)])
    true_size, small_size = struct.pack("<I", len(array)), struct.pack("<I", 200)
    path.write_bytes(path.read_bytes().replace(true_size, small_size))
    with pytest.raises(UsageError):
        read_npz(path)


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip at all", b"PK\x05\x06" + b"\xff" * 18])
def test_read_npz_refuses_what_is_not_a_zip(tmp_path, data):
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(UsageError):
        read_npz(tmp_path / "a.npz")


def test_read_npz_refuses_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(UsageError):
            read_npz(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6))
def test_read_npz_gives_arrays_or_a_usage_error_for_damaged_bytes(tmp_path, changes):
    stream = io.BytesIO()
    np.savez_compressed(stream, images=np.arange(300, dtype=np.uint8), labels=np.arange(9))
    data = bytearray(stream.getvalue())
    for place, value in changes:
        data[place % len(data)] = value
    (tmp_path / "a.npz").write_bytes(data)
    try:
        arrays = read_npz(tmp_path / "a.npz", limit_bytes=100_000)
    except UsageError:
        return
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
