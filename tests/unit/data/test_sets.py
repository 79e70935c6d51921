"""Shipped and own sets: digests, contracts, split, and what is refused."""

import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest

from edgegen.core.errors import ExitCode, IntegrityError, UsageError
from edgegen.core.share import share_dir
from edgegen.data import sets
from edgegen.data.sets import DataSettings, data_digest, load_data, load_set, set_digest, set_names

OWN = {"source": "own.npz", "origin": "made up", "licence": "CC0-1.0"}


@pytest.fixture
def shipped_copy(tmp_path, monkeypatch):
    """A copy of the shipped sets that a test may damage."""
    shutil.copytree(share_dir("calibration_data"), tmp_path / "calibration_data")
    monkeypatch.setattr(sets, "share_dir", lambda name: tmp_path / name)
    return tmp_path / "calibration_data" / "mnist-digits"


def _write(folder, **arrays):
    np.savez(folder / "own.npz", **arrays)


def test_load_set_gives_the_digits_as_the_contract_says():
    digits = load_set("mnist-digits")
    assert digits.train_images.shape == (8000, 1, 28, 28)
    assert digits.test_images.shape == (2000, 1, 28, 28)
    assert digits.train_images.dtype == np.float32
    assert (digits.test_images.min(), digits.test_images.max()) == (0.0, 1.0)
    assert np.array_equal(np.unique(digits.test_labels), np.arange(10))
    assert digits.digest == set_digest("mnist-digits")
    assert digits.manifest.licence_doubt


def test_load_set_shares_no_image_between_the_parts():
    digits = load_set("mnist-digits")
    train = {image.tobytes() for image in digits.train_images}
    assert not any(image.tobytes() in train for image in digits.test_images)


def test_set_digest_loads_no_numpy():
    code = (
        "import sys; from edgegen.data.sets import set_digest\n"
        "set_digest('mnist-digits'); sys.exit('numpy' in sys.modules)"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0


@pytest.mark.parametrize("use", [load_set, set_digest])
def test_a_shipped_file_is_refused_when_a_byte_differs(shipped_copy, use):
    path = shipped_copy / "digits.npz"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError) as caught:
        use("mnist-digits")
    assert caught.value.exit_code == ExitCode.INTEGRITY


def test_a_shipped_file_is_refused_when_it_is_gone(shipped_copy):
    (shipped_copy / "digits.npz").unlink()
    with pytest.raises(IntegrityError, match="no file"):
        set_digest("mnist-digits")


def test_set_digest_changes_with_the_manifest(shipped_copy):
    before = set_digest("mnist-digits")
    manifest = shipped_copy / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("handwritten", "hand-written"))
    assert set_digest("mnist-digits") != before


@pytest.mark.parametrize("text", ["schema_version = ", "schema_version = 2", "schema_version = 1\nnam = 'x'"])
def test_a_broken_manifest_is_a_usage_error(shipped_copy, text):
    (shipped_copy / "manifest.toml").write_text(text)
    with pytest.raises(UsageError):
        set_digest("mnist-digits")


@pytest.mark.parametrize("name", ["mnist-digit", "../mnist-digits", ""])
def test_an_unknown_set_is_refused(name):
    with pytest.raises(UsageError, match="mnist-digits"):
        load_set(name)


def test_an_unknown_set_is_answered_with_the_nearest_name():
    with pytest.raises(UsageError, match="did you mean 'mnist-digits'"):
        load_set("mnist-digit")


def test_load_data_takes_the_digits_when_nothing_is_named(tmp_path):
    assert data_digest(DataSettings(), tmp_path) == set_digest("mnist-digits")
    assert set_names() == sorted(set_names())


@pytest.mark.parametrize("shape", [(20, 8, 8), (20, 1, 8, 8), (20, 3, 8, 8)])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_load_data_reads_own_images(tmp_path, shape, dtype):
    values = np.random.default_rng(0).integers(0, 256, shape)
    images = values.astype(np.uint8) if dtype == "uint8" else (values / 255).astype(dtype)
    _write(tmp_path, images=images, labels=np.arange(20) % 3)
    own = load_data(DataSettings(**OWN), tmp_path)
    channels = shape[1] if len(shape) == 4 else 1
    assert own.train_images.shape == (16, channels, 8, 8)
    assert own.test_images.shape == (4, channels, 8, 8)
    assert own.train_images.dtype == np.float32
    assert own.train_labels is not None
    expected = (values / 255).astype(np.float32).reshape(20, channels, 8, 8)
    for image, label in zip(own.train_images, own.train_labels, strict=True):
        (index,) = np.flatnonzero(np.isclose(expected, image).all(axis=(1, 2, 3)))
        assert label == index % 3
    assert own.digest == data_digest(DataSettings(**OWN), tmp_path)
    assert own.manifest.origin == "made up"


def test_load_data_splits_by_content_and_not_by_order(tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (30, 8, 8)).astype(np.uint8)
    _write(tmp_path, images=images)
    first = load_data(DataSettings(**OWN), tmp_path)
    _write(tmp_path, images=images[::-1])
    second = load_data(DataSettings(**OWN), tmp_path)
    assert np.array_equal(first.test_images, second.test_images)
    assert first.test_labels is None


@pytest.mark.parametrize("missing", ["origin", "licence"])
def test_load_data_refuses_a_source_without_origin_or_licence(tmp_path, missing):
    _write(tmp_path, images=np.zeros((20, 8, 8), np.uint8))
    for value in (None, "  "):
        with pytest.raises(UsageError, match=missing):
            load_data(DataSettings(**{**OWN, missing: value}), tmp_path)


def test_load_data_refuses_settings_that_contradict_each_other(tmp_path):
    with pytest.raises(UsageError, match="both"):
        load_data(DataSettings(set="mnist-digits", **OWN), tmp_path)
    with pytest.raises(UsageError, match="source"):
        load_data(DataSettings(origin="x"), tmp_path)
    with pytest.raises(UsageError, match="missing"):
        load_data(DataSettings(**OWN), tmp_path)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"pictures": np.zeros((20, 8, 8), np.uint8)}, "'images' is missing"),
        ({"images": np.zeros((20, 8, 8, 1), np.uint8)}, "transpose"),
        ({"images": np.zeros((20, 64), np.uint8)}, "shape"),
        ({"images": np.zeros((0, 8, 8), np.uint8)}, "shape"),
        ({"images": np.zeros((20, 8, 8), np.int64)}, "type"),
        ({"images": np.full((20, 8, 8), 1.5, np.float32)}, "range"),
        ({"images": np.full((20, 8, 8), -0.5, np.float32)}, "range"),
        ({"images": np.full((20, 8, 8), np.nan, np.float32)}, "range"),
        ({"images": np.zeros((20, 8, 8), np.uint8), "labels": np.zeros(19, np.int64)}, "labels"),
        ({"images": np.zeros((20, 8, 8), np.uint8), "labels": np.zeros(20, np.float32)}, "labels"),
        ({"images": np.zeros((9, 8, 8), np.uint8)}, "too few"),
    ],
)
def test_load_data_refuses_what_is_not_images(tmp_path, arrays, says):
    _write(tmp_path, **arrays)
    with pytest.raises(UsageError, match=says):
        load_data(DataSettings(**OWN), tmp_path)


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
