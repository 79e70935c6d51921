"""Arrays of one's own: pictures and clips, how they are marked, and how their content decides the split."""

import numpy as np
import pytest

from edgegen.core.errors import UsageError
from edgegen.core.ports import Silent
from edgegen.data.collect.source import find_source, source_digest
from edgegen.data.shape.images import shape
from edgegen.data.split import split
from support.media import OWN, gather, settings
from support.told import Told

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (20, 8, 8)).astype(np.uint8)
RATE = {"collect": {"rate_hz": 8000}}


def _shaped(folder, **arrays):
    """Through collecting, splitting by content and shaping."""
    np.savez(folder / "own.npz", **arrays)
    collected, _ = gather(folder, "own.npz")
    data, out = settings("own.npz", split={"by": "content"}), folder / "collected"
    how = split({path.name: path for path in out.iterdir()}, collected, data, 0, out)["how"]
    return shape({path.name: path for path in out.iterdir()}, collected, data, how, Silent())


@pytest.mark.parametrize("shape", [(20, 8, 8), (20, 1, 8, 8), (20, 3, 8, 8)])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_collect_reads_own_images(tmp_path, shape, dtype):
    values = np.random.default_rng(0).integers(0, 256, shape)
    images = values.astype(np.uint8) if dtype == "uint8" else (values / 255).astype(dtype)
    np.savez(tmp_path / "own.npz", images=images, labels=np.arange(20) % 3, groups=np.arange(20) // 4)
    collected, arrays = gather(tmp_path, "own.npz")
    assert np.array_equal(arrays["values"], images.reshape(20, -1, 8, 8))
    assert arrays["labels"].tolist() == [str(index % 3) for index in range(20)]
    assert arrays["groups"].tolist() == [str(index // 4) for index in range(20)]
    assert (collected.kind, collected.classes, collected.samples) == ("images", ("0", "1", "2"), 20)
    assert (collected.origin, collected.licence, collected.synthetic) == (*OWN.values(), False)


def test_classes_are_in_the_order_of_their_numbers(tmp_path):
    np.savez(tmp_path / "own.npz", images=PIXELS, labels=np.arange(20) % 12)
    assert gather(tmp_path, "own.npz")[0].classes == tuple(map(str, range(12)))


def test_own_images_keep_their_labels_through_split_and_shape(tmp_path):
    dataset = _shaped(tmp_path, images=PIXELS, labels=np.arange(20) % 3)
    assert (len(dataset.train), len(dataset.test)) == (16, 4)
    expected = (PIXELS / 255).astype(np.float32)[:, None]
    for part in (dataset.train, dataset.test):
        for image, label in zip(part.x, part.y, strict=True):
            (index,) = np.flatnonzero(np.isclose(expected, image).all(axis=(1, 2, 3)))
            assert label == index % 3


def test_own_images_are_split_by_content_and_not_by_order(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = _shaped(tmp_path / "a", images=PIXELS)
    second = _shaped(tmp_path / "b", images=PIXELS[::-1])
    assert np.array_equal(first.test.x, second.test.x)
    assert first.test.y is None


@pytest.mark.parametrize("shape", [(20, 100), (20, 1, 100)])
@pytest.mark.parametrize("dtype", ["int16", "float32", "float64"])
def test_collect_reads_own_clips_when_their_rate_is_named(tmp_path, shape, dtype):
    whole = RNG.integers(-(2**15), 2**15, shape).astype(np.int16)
    clips = whole if dtype == "int16" else (whole / 2**15).astype(dtype)
    np.savez(tmp_path / "own.npz", values=clips)
    collected, arrays = gather(tmp_path, "own.npz", **RATE)
    assert (collected.kind, collected.rate_hz, collected.classes) == ("audio", 8000, ())
    assert arrays["values"].dtype == np.float32
    assert np.array_equal(arrays["values"], (whole / 2**15).astype(np.float32).reshape(20, 1, 100))


def test_an_array_that_is_not_used_is_said(tmp_path):
    np.savez(tmp_path / "own.npz", images=PIXELS, exposure=np.zeros(3))
    told = Told()
    gather(tmp_path, "own.npz", progress=told)
    assert "not used: exposure" in told.text


def test_the_mark_of_a_synthetic_file_wins_over_the_project(tmp_path):
    np.savez(tmp_path / "own.npz", images=PIXELS, synthetic=np.array(1))
    collected, _ = gather(tmp_path, "own.npz", synthetic=False)
    assert collected.synthetic
    assert "synthetic" in collected.origin


def test_a_project_may_call_an_unmarked_file_synthetic(tmp_path):
    np.savez(tmp_path / "own.npz", images=PIXELS)
    assert gather(tmp_path, "own.npz", synthetic=True)[0].synthetic


def test_source_digest_tells_files_apart_by_content(tmp_path):
    digests = set()
    for value in (1, 2, 1):
        np.savez(tmp_path / "own.npz", images=np.full((20, 8, 8), value, np.uint8))
        data = settings("own.npz")
        digests.add(source_digest(find_source(data, tmp_path), data))
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("arrays", "keys", "says"),
    [
        ({"pictures": np.zeros((20, 8, 8), np.uint8)}, {}, "'images' is missing"),
        ({"image": np.zeros((20, 8, 8), np.uint8)}, {}, "did you mean 'images'"),
        ({"images": np.zeros((20, 8, 8, 1), np.uint8)}, {}, "transpose"),
        ({"images": np.zeros((20, 64), np.uint8)}, {}, "shape"),
        ({"images": np.zeros((0, 8, 8), np.uint8)}, {}, "shape"),
        ({"images": np.zeros((20, 8, 8), np.int64)}, {}, "type"),
        ({"images": np.full((20, 8, 8), 1.5, np.float32)}, {}, "range"),
        ({"images": np.full((20, 8, 8), -0.5, np.float32)}, {}, "range"),
        ({"images": np.full((20, 8, 8), np.nan, np.float32)}, {}, "range"),
        ({"images": PIXELS, "labels": np.zeros(19, np.int64)}, {}, "labels"),
        ({"images": PIXELS, "labels": np.zeros(20, np.float32)}, {}, "labels"),
        ({"images": PIXELS, "groups": np.zeros((20, 1), np.int64)}, {}, "groups"),
        ({"images": PIXELS, "label": np.zeros(20, np.int64)}, {}, "did you mean 'labels'"),
        ({"images": PIXELS[:9]}, {}, "too few"),
        ({"images": PIXELS, "values": PIXELS}, {}, "both"),
        ({"values": np.zeros((20, 5), np.float32)}, {}, "CSV or Parquet"),
        ({"values": np.zeros((20, 3, 50), np.float32)}, RATE, "table"),
        ({"values": np.zeros((20, 0), np.float32)}, RATE, "shape"),
        ({"values": np.zeros((20, 50), np.int32)}, RATE, "type"),
        ({"values": np.full((20, 50), 1.01, np.float32)}, RATE, "range"),
        ({"values": np.full((20, 50), -np.inf, np.float32)}, RATE, "range"),
        ({"images": PIXELS, "synthetic": np.array(0)}, {}, "no mark"),
        ({"images": PIXELS, "synthetic": np.ones(2)}, {}, "no mark"),
        ({"images": PIXELS, "synthetic_origin": np.zeros(2, np.uint8)}, {}, "no mark"),
        ({"images": PIXELS, "synthetic": np.array(1), "synthetic_origin": np.full(2, 255, np.uint8)}, {}, "no text"),
    ],
)
def test_collect_refuses_arrays_that_are_not_what_they_should_be(tmp_path, arrays, keys, says):
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(UsageError, match=says) as caught:
        gather(tmp_path, "own.npz", **keys)
    assert str(tmp_path / "own.npz") in str(caught.value)
    assert not list((tmp_path / "collected").iterdir())
