"""Pictures, clips, arrays and text of strangers: each is refused with its name, and nothing half-written stays."""

import gzip
import io
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as rounds
from hypothesis import strategies as st
from PIL import Image

from edgegen.core.errors import ExitCode, UsageError
from support.media import gather, wav_bytes, write_wav

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 40)).astype(np.uint8)
TONE = (np.sin(np.arange(800) / 5) * 16000).astype("<i2").tobytes()
IMAGES = {"kind": "images", "collect": {"side": 8}}
CLIPS = {"kind": "wav", "collect": {"rate_hz": 8000, "seconds": 0.1}}


def _encoded(form, values=PIXELS, **options):
    stream = io.BytesIO()
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    image.save(stream, form, **options)
    return stream.getvalue()


def _chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(width, height, *extra, pixels=b"\0" * 100):
    """A PNG whose head says what it likes."""
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = _chunk(b"IDAT", zlib.compress(pixels)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + body


def _flipped(data, place):
    damaged = bytearray(data)
    damaged[place] ^= 0xFF
    return bytes(damaged)


def _frames(form):
    return _encoded(form, Image.fromarray(PIXELS), save_all=True, append_images=[Image.fromarray(PIXELS.T)])


PNG, JPEG, BMP = _encoded("PNG"), _encoded("JPEG"), _encoded("BMP")

PICTURES = {
    "empty": ("a.png", b""),
    "one byte": ("a.png", b"\x89"),
    "text": ("a.png", b"this is no picture\n" * 20),
    "script": ("a.jpg", b"#!/bin/sh\nrm -rf /\n"),
    "svg": ("a.png", b"<svg xmlns='http://www.w3.org/2000/svg'><rect/></svg>"),
    "gif under another name": ("a.png", _encoded("GIF")),
    "webp under another name": ("a.jpg", _encoded("WEBP")),
    "tiff under another name": ("a.bmp", _encoded("TIFF")),
    "eps that would start a program": ("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
    "animated png": ("a.png", _frames("PNG")),
    "png cut in its head": ("a.png", PNG[:20]),
    "png cut in its pixels": ("a.png", PNG[: len(PNG) // 2]),
    "png without its end": ("a.png", PNG[:-12]),
    "png with a damaged pixel": ("a.png", _flipped(PNG, len(PNG) // 2)),
    "png with a damaged head": ("a.png", _flipped(PNG, 18)),
    "png that is larger than its pixels": ("a.png", _png(500, 500)),
    "png of no width": ("a.png", _png(0, 10)),
    "png bomb in its head": ("a.png", _png(30_000, 30_000)),
    "png of a size that no computer has": ("a.png", _png(2**31 - 1, 2**31 - 1)),
    "png line of pixels": ("a.png", _png(100_000_000, 1)),
    "png with a text bomb": ("a.png", _png(8, 8, _chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(80_000_000))))),
    "jpeg cut": ("a.jpg", JPEG[: len(JPEG) // 2]),
    "jpeg of only a head": ("a.jpg", JPEG[:30]),
    "jpeg bomb in its head": (
        "a.jpg",
        JPEG[: (at := JPEG.index(b"\xff\xc0")) + 5] + struct.pack(">HH", 65_000, 65_000) + JPEG[at + 9 :],
    ),
    "bmp cut": ("a.bmp", BMP[:100]),
    "bmp bomb in its head": ("a.bmp", BMP[:18] + struct.pack("<ii", 60_000, 60_000) + BMP[26:]),
    "bmp of a negative width": ("a.bmp", BMP[:18] + struct.pack("<i", -40) + BMP[22:]),
    "bmp whose pixels begin elsewhere": ("a.bmp", BMP[:10] + struct.pack("<I", 10**9) + BMP[14:]),
    "pgm bomb in its head": ("a.pgm", b"P5 60000 60000 255\n" + bytes(100)),
    "pgm cut": ("a.pgm", b"P5 40 40 255\n" + bytes(100)),
    "pgm of no size": ("a.pgm", b"P5 0 0 255\n"),
    "pgm of a negative size": ("a.pgm", b"P5 -4 4 255\n" + bytes(16)),
    "pgm with words for a size": ("a.pgm", b"P5 forty 40 255\n" + bytes(1600)),
    "pgm with an endless number": ("a.pgm", b"P5 " + b"9" * 5000 + b" 4 255\n"),
    "pgm of no greatest value": ("a.pgm", b"P5 40 40 0\n" + bytes(1600)),
    "pgm with a value above the greatest": ("a.pgm", b"P2 2 2 9\n1 2 3 400\n"),
    "pfm of floats": ("a.ppm", b"Pf\n4 4\n-1.0\n" + np.full(16, np.nan, "<f4").tobytes()),
}

NAN = np.array([np.nan] * 800, "<f4").tobytes()

SOUNDS = {
    "empty": b"",
    "text": b"this is no sound\n" * 10,
    "mp3 under another name": b"ID3\x04" + bytes(400),
    "aiff under another name": b"FORM" + struct.pack(">I", 400) + b"AIFF" + bytes(400),
    "big-endian riff": b"RIFX" + wav_bytes(TONE)[4:],
    "64-bit riff": b"RF64" + wav_bytes(TONE)[4:],
    "riff of another kind": wav_bytes(TONE).replace(b"WAVE", b"AVI "),
    "cut in its head": wav_bytes(TONE)[:30],
    "cut in its samples": wav_bytes(TONE)[:-100],
    "claims 10 GB in 32 bits": wav_bytes(TONE, data_size=0xFFFFFFFF),
    "claims one sample too many": wav_bytes(TONE, data_size=len(TONE) + 2),
    "no samples": wav_bytes(b""),
    "size left at 0": wav_bytes(TONE, data_size=0),
    "half a sample": wav_bytes(TONE[:-1]),
    "no form": b"RIFF" + struct.pack("<I", 16) + b"WAVEdata" + struct.pack("<I", 4) + b"abcd",
    "form after the samples": b"RIFF" + struct.pack("<I", 60) + b"WAVEdata" + struct.pack("<I", 4) + b"abcdfmt ",
    "form cut off": wav_bytes(TONE, fmt_size=8),
    "form longer than the file": wav_bytes(TONE, fmt_size=10**9),
    "no channels": wav_bytes(TONE, channels=0, frame=2),
    "thousand channels": wav_bytes(bytes(2000 * 10), channels=1000),
    "frame that is none": wav_bytes(TONE, frame=3),
    "frame of nothing": wav_bytes(TONE, frame=0),
    "no rate": wav_bytes(TONE, rate=0),
    "12 bits": wav_bytes(TONE, bits=12, frame=2),
    "64-bit float": wav_bytes(bytes(800), bits=64, code=3),
    "mu-law": wav_bytes(TONE, bits=8, code=7),
    "adpcm": wav_bytes(TONE, bits=4, code=2, frame=1),
    "unknown extension": wav_bytes(TONE, code=0xFFFE),
    "floats that are not numbers": wav_bytes(NAN, bits=32, code=3),
    "one infinite float": wav_bytes(np.array([0.0] * 799 + [np.inf], "<f4").tobytes(), bits=32, code=3),
    "floats beyond 1": wav_bytes(np.array([0.0, 1.5], "<f4").tobytes(), bits=32, code=3),
    "thousands of chunks": wav_bytes(TONE)[:12] + (b"junk" + bytes(4)) * 5000 + wav_bytes(TONE)[12:],
}


def _npz(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return stream.getvalue()


def _npy(header, data=b""):
    text = header.encode() + b" " * (-(11 + len(header)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


ARRAYS = {
    "empty": b"",
    "text": b"images, labels\n",
    "no array": _npz(),
    "a pickle": _npz(images=b"\x80\x04c__builtin__\nprint\n."),
    "an object array": _npz(images=_npy("{'descr': '|O', 'fortran_order': False, 'shape': (20,), }", bytes(160))),
    "a size that is not there": _npz(
        images=_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (9999999, 8, 8), }")
    ),
    "a shape that overflows": _npz(images=_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (2**62, 4, 4), }")),
    "text labels": _npz(images=_npy("{'descr': '<U4', 'fortran_order': False, 'shape': (2, 2, 2), }", bytes(128))),
}

TEXTS = {
    "empty": ("a.txt", b""),
    "an executable": ("a.txt", b"\x7fELF\x02\x01\x01" + bytes(3000)),
    "a NUL in the middle": ("a.txt", b"x" * 2000 + b"\0" + b"x" * 2000),
    "overlong encoding of a slash": ("a.txt", b"x" * 2000 + b"\xc0\xaf"),
    "half a surrogate": ("a.txt", b"x" * 2000 + b"\xed\xa0\x80"),
    "beyond unicode": ("a.txt", b"x" * 2000 + b"\xf5\x80\x80\x80"),
    "latin-1": ("a.txt", "ä".encode("latin-1") * 2000),
    "a picture": ("a.txt", PNG * 5),
    "gz cut": ("a.txt.gz", gzip.compress(PIXELS.tobytes().hex().encode())[:-30]),
    "gz of nothing": ("a.gz", gzip.compress(b"")),
    "gz that is a zip": ("a.gz", _npz(images=b"x")),
    "gz bomb": ("a.gz", gzip.compress(bytes(1 << 20)) * 300),
}


def _refused(tmp_path, source, path, **keys):
    """Collecting is refused with the path of the file, as a usage error, and leaves nothing."""
    with pytest.raises(UsageError) as caught:
        gather(tmp_path, source, **keys)
    assert caught.value.exit_code == ExitCode.USAGE
    assert str(path) in str(caught.value)
    assert not list((tmp_path / "collected").iterdir())


def _folder(tmp_path, ending=".png", count=10, place="in"):
    """Sound files, whose names come before and after those of a test's own."""
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        path = folder / f"{'_' if index % 2 else 'z'}{index}{ending}"
        if ending == ".png":
            Image.fromarray(PIXELS).save(path)
        else:
            path.write_bytes(wav_bytes(TONE))
    return folder


@pytest.mark.parametrize("case", PICTURES)
def test_a_hostile_picture_is_refused(tmp_path, case):
    name, data = PICTURES[case]
    path = _folder(tmp_path) / name
    path.write_bytes(data)
    _refused(tmp_path, "in", path, **IMAGES)


def test_a_picture_of_too_many_pixels_is_refused_though_its_file_is_small(tmp_path):
    path = _folder(tmp_path) / "a.png"
    Image.new("1", (8000, 8000)).save(path)
    assert path.stat().st_size < 20_000
    with pytest.raises(UsageError, match=r"a\.png.*8000 x 8000 pixels"):
        gather(tmp_path, "in", **IMAGES)


@pytest.mark.parametrize("case", SOUNDS)
def test_a_hostile_clip_is_refused(tmp_path, case):
    path = _folder(tmp_path, ".wav") / "a.wav"
    path.write_bytes(SOUNDS[case])
    _refused(tmp_path, "in", path, **CLIPS)


@pytest.mark.parametrize("case", ARRAYS)
def test_a_hostile_archive_of_arrays_is_refused(tmp_path, case):
    (tmp_path / "a.npz").write_bytes(ARRAYS[case])
    _refused(tmp_path, "a.npz", tmp_path / "a.npz")


@pytest.mark.parametrize("case", TEXTS)
def test_a_hostile_text_is_refused(tmp_path, case):
    name, data = TEXTS[case]
    (tmp_path / name).write_bytes(data)
    _refused(tmp_path, name, tmp_path / name)


def _link_out(folder):
    (folder.parent / "secret.png").write_bytes(PNG)
    (folder / "a.png").symlink_to("../secret.png")
    return folder / "a.png"


def _link_to_folder(folder):
    (folder / "a").symlink_to(".")
    return folder / "a"


def _link_to_nothing(folder):
    (folder / "a.png").symlink_to("gone.png")
    return folder / "a.png"


def _ring_of_links(folder):
    (folder / "a.png").symlink_to("a.png")
    return folder / "a.png"


def _pipe(folder):
    os.mkfifo(folder / "a.png")
    return folder / "a.png"


def _other_kind(folder):
    (folder / "a.gif").write_bytes(_encoded("GIF"))
    return folder / "a.gif"


def _some_in_subfolders(folder):
    _folder(folder, count=2, place="cats")
    return folder / "_1.png"


def _name_of_no_text(folder):
    path = os.fsencode(folder) + b"/\xff\xfe.png"
    with open(path, "wb") as stream:
        stream.write(PNG)
    return "udcff"


def _name_of_two_lines(folder):
    (folder / "a\nb.png").write_bytes(PNG)
    return "a\\nb.png"


def _deep(folder):
    deep = folder.joinpath(*["d"] * 20)
    deep.mkdir(parents=True)
    (deep / "a.png").write_bytes(PNG)
    return folder / "d" / "d"


@pytest.mark.parametrize(
    "make",
    [
        _link_out,
        _link_to_folder,
        _link_to_nothing,
        _ring_of_links,
        _pipe,
        _other_kind,
        _some_in_subfolders,
        _name_of_no_text,
        _name_of_two_lines,
        _deep,
    ],
)
def test_a_hostile_folder_is_refused(tmp_path, make):
    _refused(tmp_path, "in", make(_folder(tmp_path)), **IMAGES)


def test_an_empty_class_is_refused(tmp_path):
    _folder(tmp_path, place="in/cats")
    (tmp_path / "in" / "dogs").mkdir()
    (tmp_path / "in" / "dogs" / ".keep").touch()
    _refused(tmp_path, "in", tmp_path / "in" / "dogs", **IMAGES)


def test_subfolders_that_are_parts_of_a_split_are_refused(tmp_path):
    for part in ("train", "Test"):
        _folder(tmp_path, place=f"in/{part}")
    _refused(tmp_path, "in", tmp_path / "in", **IMAGES)


@pytest.mark.parametrize("count", [0, 9])
def test_too_few_files_are_refused(tmp_path, count):
    _folder(tmp_path, count=count)
    _refused(tmp_path, "in", tmp_path / "in", **IMAGES)


@pytest.mark.parametrize("keys", [IMAGES, CLIPS])
def test_a_file_is_no_folder_of_media(tmp_path, keys):
    (tmp_path / "in").write_bytes(PNG)
    _refused(tmp_path, "in", tmp_path / "in", **keys)


@pytest.mark.parametrize("kind", ["npz", "text"])
def test_a_pipe_is_not_waited_for(tmp_path, kind):
    os.mkfifo(tmp_path / "a")
    _refused(tmp_path, "a", tmp_path / "a", kind=kind)


@pytest.mark.parametrize("kind", ["npz", "images", "wav", "text"])
def test_an_address_is_no_file(tmp_path, kind):
    with pytest.raises(UsageError, match="a file or a folder"):
        gather(tmp_path, "https://example.org/a.zip", kind=kind)


def test_a_clip_longer_than_the_limit_is_refused_unread(tmp_path):
    path = _folder(tmp_path, ".wav") / "a.wav"
    path.write_bytes(wav_bytes(b"", data_size=10**9))
    os.truncate(path, 10**9 + 44)
    with pytest.raises(UsageError, match=r"a\.wav"):
        gather(tmp_path, "in", **CLIPS)


@rounds(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([("a.png", PNG), ("a.jpg", JPEG), ("a.bmp", BMP), ("a.pgm", b"P5 9 9 255\n" + bytes(81))]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_a_damaged_picture_is_a_picture_or_refused(tmp_path, picture, changes):
    name, data = picture
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    folder = _folder(tmp_path)
    for other in folder.glob("a.*"):
        other.unlink()
    (folder / name).write_bytes(damaged)
    arrays, refusal = {}, ""
    try:
        _, arrays = gather(tmp_path, "in", **IMAGES)
    except UsageError as error:
        refusal = str(error)
    assert arrays["values"].shape == (11, 1, 8, 8) if arrays else str(folder / name) in refusal


def test_a_whole_folder_is_refused_for_one_clip_of_it(tmp_path):
    folder = _folder(tmp_path, ".wav")
    write_wav(folder / "zz.wav", np.zeros(800), rate=44_100)
    _refused(tmp_path, "in", folder / "zz.wav", **CLIPS)
