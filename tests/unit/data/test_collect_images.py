"""A folder of pictures: labels from subfolders, one shape for all, and what is done to a picture that needs it."""

import os

import numpy as np
import pytest
from PIL import Image

from edgegen.core.errors import UsageError
from edgegen.data.collect.images import collect  # noqa: F401  (Pillow is there, or this file says so at once)
from support.media import gather
from support.told import Told

RNG = np.random.default_rng(0)
SIDE = {"collect": {"side": 8}}
COLOUR = {"collect": {"side": 8, "channels": 3}}


def _save(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    image.save(path, **options)


def _grey(height=8, width=8):
    return RNG.integers(0, 256, (height, width)).astype(np.uint8)


def _fill(folder, count=10, prefix="z"):
    """Enough pictures for a set; their names come after those of a test's own."""
    for index in range(count):
        _save(folder / f"{prefix}{index:02d}.png", np.full((8, 8), index, np.uint8))


def _one(tmp_path, values, name="a.png", *, keys=SIDE, **options):
    """What one picture among others becomes, and what was said."""
    _save(tmp_path / "in" / name, values, **options)
    _fill(tmp_path / "in")
    told = Told()
    _, arrays = gather(tmp_path, "in", kind="images", progress=told, **keys)
    return arrays["values"][0], told.text


def test_collect_labels_pictures_by_their_subfolder(tmp_path):
    wanted = {}
    for name in ("10/b.png", "10/a.bmp", "9/deep/c.pgm", "9/d.PNG"):
        wanted[name] = _grey()
        _save(tmp_path / "in" / name, wanted[name])
    _fill(tmp_path / "in" / "2")
    collected, arrays = gather(tmp_path, "in", kind="images", **SIDE)
    assert collected.classes == ("2", "9", "10")
    assert collected.samples == 14
    assert arrays["names"].tolist() == sorted(arrays["names"].tolist())
    assert arrays["values"].shape == (14, 1, 8, 8)
    assert arrays["values"].dtype == np.uint8
    for name, label, value in zip(arrays["names"], arrays["labels"], arrays["values"], strict=True):
        assert label == name.split("/")[0]
        assert name not in wanted or np.array_equal(value[0], wanted[name])
    assert "groups" not in arrays


def test_collect_gives_no_labels_for_a_flat_folder(tmp_path):
    _fill(tmp_path / "in")
    collected, arrays = gather(tmp_path, "in", kind="images", **SIDE)
    assert collected.classes == ()
    assert set(arrays) == {"values", "names"}


def test_collect_gives_the_same_bytes_wherever_the_folder_lies(tmp_path):
    written = []
    for place in ("a", "b"):
        folder = tmp_path / place
        names = [f"x{index}.png" for index in range(12)]
        for name in names if place == "a" else reversed(names):
            _save(folder / "in" / "one" / name, np.full((8, 8), int(name[1:-4]), np.uint8))
        collected, _ = gather(folder, "in", kind="images", **SIDE)
        written.append((collected, {p.name: p.read_bytes() for p in (folder / "collected").iterdir()}))
    assert written[0] == written[1]


def test_collect_finds_groups_by_the_pattern(tmp_path):
    for index in range(12):
        _save(tmp_path / "in" / "cat" / f"person{index % 4}_{index}.png", _grey())
    keys = {"collect": {"side": 8, "group_pattern": "(person[0-9]+)_"}}
    _, arrays = gather(tmp_path, "in", kind="images", **keys)
    assert arrays["groups"].tolist() == [name.split("/")[1].split("_")[0] for name in arrays["names"]]


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.pgm", "a.jpg"])
def test_a_picture_of_the_right_size_keeps_its_pixels(tmp_path, name):
    values = _grey()
    options = {"quality": 100} if name == "a.jpg" else {}
    got, said = _one(tmp_path, values, name, **options)
    assert np.abs(got[0].astype(int) - values).max() <= (2 if name == "a.jpg" else 0)
    assert not said


def test_a_larger_picture_is_averaged_over_areas(tmp_path):
    values = _grey(16, 16)
    got, said = _one(tmp_path, values)
    assert np.abs(got[0] - values.reshape(8, 2, 8, 2).mean(axis=(1, 3))).max() <= 1  # rounded once a direction
    assert "1 of 11 pictures are reduced" in said


def test_a_picture_that_is_not_square_is_cut_to_its_middle(tmp_path):
    values = _grey(8, 14)
    got, said = _one(tmp_path, values)
    assert np.array_equal(got[0], values[:, 3:11])
    assert "cut to their central square" in said


def test_a_smaller_picture_is_enlarged_and_said_to_be(tmp_path):
    got, said = _one(tmp_path, np.full((4, 4), 77, np.uint8))
    assert (got == 77).all()
    assert "enlarged" in said


@pytest.mark.parametrize("name", ["a.png", "a.pgm"])
def test_a_picture_of_16_bits_is_brought_to_8(tmp_path, name):
    wanted = _grey()
    values = wanted.astype(np.uint16) * 257
    if name == "a.pgm":
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / name).write_bytes(b"P5 8 8 65535\n" + values.astype(">u2").tobytes())
        _fill(tmp_path / "in")
        got = gather(tmp_path, "in", kind="images", **SIDE)[1]["values"][0]
    else:
        got, said = _one(tmp_path, values)
        assert "16 bits" in said
    assert np.array_equal(got[0], wanted)


def test_a_picture_in_colour_becomes_grey_or_stays_in_colour(tmp_path):
    values = np.zeros((8, 8, 3), np.uint8)
    values[..., 0] = 200
    assert _one(tmp_path, values)[0].max() == round(200 * 0.299)
    (colour, _) = _one(tmp_path, values, keys=COLOUR)
    assert colour.shape == (3, 8, 8)
    assert colour[0].min() == 200
    assert not colour[1:].any()


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "LA", "RGBA"])
def test_other_modes_of_pixels_come_out_in_colour(tmp_path, mode):
    white = Image.new("RGB", (8, 8), "white")
    got, _ = _one(tmp_path, white.convert(mode), "a.jpg" if mode == "CMYK" else "a.png", keys=COLOUR)
    assert got.min() >= 254


def test_transparent_pixels_are_black(tmp_path):
    values = np.full((8, 8, 4), 255, np.uint8)
    values[:4, :, 3] = 0
    got, said = _one(tmp_path, values)
    assert not got[0, :4].any()
    assert (got[0, 4:] == 255).all()
    assert "laid on black" in said


def test_a_picture_is_turned_as_its_exif_note_says(tmp_path):
    values = np.zeros((8, 8), np.uint8)
    values[0] = 255  # the upper edge of the stored picture
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    got, said = _one(tmp_path, values, "a.jpg", exif=exif, quality=100)
    assert got[0, :, 7].min() > 200
    assert got[0, :, 0].max() < 50
    assert "EXIF" in said


def test_the_content_decides_where_the_name_says_another_format(tmp_path):
    values = _grey()
    got, said = _one(tmp_path, values, "a.jpg", format="PNG")
    assert np.array_equal(got[0], values)
    assert "another format than their names say" in said


def test_hidden_files_and_notes_are_passed_over_and_counted(tmp_path):
    _fill(tmp_path / "in" / "one")
    (tmp_path / "in" / ".git").mkdir()
    for name in (".DS_Store", "one/Thumbs.db", "README", "LICENSE.txt", ".git/x.png"):
        (tmp_path / "in" / name).write_bytes(b"x")
    told = Told()
    collected, _ = gather(tmp_path, "in", kind="images", progress=told, **SIDE)
    assert collected.samples == 10
    assert "2 hidden, 3 notes passed over" in told.text


def test_a_link_inside_the_folder_is_followed(tmp_path):
    _fill(tmp_path / "in")
    (tmp_path / "in" / "again.png").symlink_to("z03.png")
    assert gather(tmp_path, "in", kind="images", **SIDE)[1]["values"][0].max() == 3


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({}, "side"),
        ({"collect": {"side": 8, "channels": 2}}, "grey or in colour"),
        ({"collect": {"side": 4096, "channels": 3, "group_pattern": "("}}, "no regular expression"),
        ({"collect": {"side": 8, "group_pattern": "z"}}, "no group"),
        ({"collect": {"side": 8, "group_pattern": "(q)"}}, "z00.png"),
        ({"collect": {"side": 8, "group_pattern": "(q*)"}}, "z00.png"),
    ],
)
def test_collect_refuses_settings_that_do_not_fit(tmp_path, keys, says):
    _fill(tmp_path / "in")
    with pytest.raises(UsageError, match=says):
        gather(tmp_path, "in", kind="images", **keys)


def test_collect_refuses_a_set_that_would_not_fit_before_it_makes_a_file(tmp_path):
    for index in range(50):
        (tmp_path / "in").mkdir(exist_ok=True)
        os.symlink("z00.png", tmp_path / "in" / f"a{index}.png")
    _fill(tmp_path / "in")
    with pytest.raises(UsageError, match="too much space"):
        gather(tmp_path, "in", kind="images", collect={"side": 4096, "channels": 3})
    assert not list((tmp_path / "collected").iterdir())
