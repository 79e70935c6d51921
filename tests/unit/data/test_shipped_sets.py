"""Shipped sets: verified before they are opened, and what their manifests say of them."""

import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest

from edgegen.core.errors import ExitCode, IntegrityError, UsageError
from edgegen.core.ports import Silent
from edgegen.core.share import share_dir
from edgegen.data import shipped
from edgegen.data.collect.source import collect, find_source, source_digest
from edgegen.data.collected import read_collected
from edgegen.data.settings import DataSettings
from edgegen.data.shape.images import shape
from edgegen.data.shipped import DEFAULT_SET, set_names, verified_set
from edgegen.data.split import split
from support.media import settings

DIGITS = DataSettings(set="mnist-digits")


@pytest.fixture
def shipped_copy(tmp_path, monkeypatch):
    """A copy of the shipped sets that a test may damage."""
    shutil.copytree(share_dir("calibration_data"), tmp_path / "calibration_data")
    monkeypatch.setattr(shipped, "share_dir", lambda name: tmp_path / name)
    return tmp_path / "calibration_data" / "mnist-digits"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The set as a model gets it."""
    folder = tmp_path_factory.mktemp("digits")
    collected = read_collected(collect(DIGITS, folder, folder, Silent()))
    files = {path.name: path for path in folder.iterdir()}
    how = split(files, collected, DIGITS, 0, folder)["how"]
    files = {path.name: path for path in folder.iterdir()}
    return shape(files, collected, DIGITS, how, Silent())


def _digest(data=DIGITS):
    return source_digest(find_source(data, share_dir("calibration_data")), data)


def test_the_digits_are_as_the_contract_says(digits):
    assert digits.train.x.shape == (8000, 1, 28, 28)
    assert digits.test.x.shape == (2000, 1, 28, 28)
    assert digits.train.x.dtype == np.float32
    assert (digits.test.x.min(), digits.test.x.max()) == (0.0, 1.0)
    assert np.array_equal(np.unique(digits.test.y), np.arange(10))
    assert digits.form.classes == tuple("0123456789")
    assert digits.form.licence_doubt
    assert not digits.form.synthetic


def test_the_digits_share_no_image_between_the_parts(digits):
    train = {image.tobytes() for image in digits.train.x}
    assert not any(image.tobytes() in train for image in digits.test.x)


def test_source_digest_loads_no_numpy():
    code = (
        "import sys; from pathlib import Path\n"
        "from edgegen.data.collect.source import find_source, source_digest\n"
        "from edgegen.data.settings import DataSettings\n"
        "settings = DataSettings(set='mnist-digits')\n"
        "assert source_digest(find_source(settings, Path()), settings)\n"
        "sys.exit('numpy' in sys.modules)"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0


def test_a_shipped_file_is_refused_when_a_byte_differs(shipped_copy):
    path = shipped_copy / "digits.npz"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError) as caught:
        verified_set("mnist-digits")
    assert caught.value.exit_code == ExitCode.INTEGRITY


def test_a_shipped_file_is_refused_when_it_is_gone(shipped_copy):
    (shipped_copy / "digits.npz").unlink()
    with pytest.raises(IntegrityError, match="no file"):
        find_source(DIGITS, shipped_copy)


def test_a_shipped_file_is_refused_when_its_arrays_are_not_the_manifest_s(shipped_copy, tmp_path):
    manifest = shipped_copy / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("shape = [10000, 28, 28]", "shape = [10000, 27, 28]"))
    with pytest.raises(IntegrityError, match="'images'"):
        collect(DIGITS, tmp_path, tmp_path, Silent())


def test_source_digest_changes_with_the_manifest(shipped_copy):
    before = _digest()
    manifest = shipped_copy / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("handwritten", "hand-written"))
    assert _digest() != before


@pytest.mark.parametrize("text", ["schema_version = ", "schema_version = 2", "schema_version = 1\nnam = 'x'"])
def test_a_broken_manifest_is_a_usage_error(shipped_copy, text):
    (shipped_copy / "manifest.toml").write_text(text)
    with pytest.raises(UsageError):
        verified_set("mnist-digits")


@pytest.mark.parametrize("name", ["mnist-digit", "../mnist-digits", ""])
def test_an_unknown_set_is_refused(name):
    with pytest.raises(UsageError, match="mnist-digits"):
        verified_set(name)


def test_an_unknown_set_is_answered_with_the_nearest_name():
    with pytest.raises(UsageError, match="did you mean 'mnist-digits'"):
        verified_set("mnist-digit")


def test_the_default_set_is_taken_when_nothing_is_named():
    assert DEFAULT_SET in set_names()
    assert set_names() == sorted(set_names())
    assert _digest(DataSettings()) == _digest(DataSettings(set=DEFAULT_SET))


@pytest.mark.parametrize("key", ["origin", "licence"])
def test_a_shipped_set_has_its_own_origin_and_licence(tmp_path, key):
    with pytest.raises(UsageError, match="source"):
        find_source(DataSettings(**{key: "x"}), tmp_path)


def test_find_source_refuses_settings_that_contradict_each_other(tmp_path):
    with pytest.raises(UsageError, match="both"):
        find_source(settings("own.npz", set="mnist-digits"), tmp_path)
    with pytest.raises(UsageError, match="missing"):
        find_source(settings("own.npz"), tmp_path)


@pytest.mark.parametrize("missing", ["origin", "licence"])
def test_find_source_refuses_a_source_without_origin_or_licence(tmp_path, missing):
    (tmp_path / "own.npz").touch()
    for value in (None, "  "):
        with pytest.raises(UsageError, match=missing):
            find_source(settings("own.npz", **{missing: value}), tmp_path)


def test_make_orders_and_writes_as_the_shipped_file_is(tmp_path):
    folder = share_dir("calibration_data") / "mnist-digits"
    made = runpy.run_path(str(folder / "make.py"))
    with np.load(folder / "digits.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    assert np.array_equal(made["fixed_order"](arrays["images"]), np.arange(10_000))
    for name in ("a.npz", "b.npz"):
        made["write_npz"](tmp_path / name, arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as again:
        assert np.array_equal(again["images"], arrays["images"])
