"""Arrays, pictures, clips and texts that lie about themselves."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from support.hostile_case import Cases, Make
from support.media import wav_bytes
from support.tables import put

CASES = Cases()
add = CASES.add

# -- arrays --------------------------------------------------------------------------------------------------------

_IMAGES = np.zeros((12, 8, 8), np.uint8) + np.arange(12, dtype=np.uint8)[:, None, None]


def _npy(array: np.ndarray[Any, Any], header: str | None = None) -> bytes:
    """An array as numpy writes it, or under a header that says something else."""
    sink = io.BytesIO()
    np.lib.format.write_array(sink, array, version=(1, 0), allow_pickle=True)
    if header is None:
        return sink.getvalue()
    padded = header.encode() + b" " * (118 - len(header)) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + array.tobytes()


def _npz(members: dict[str, bytes] | Callable[[], bytes], *, more: str = "", deflate: bool = False) -> Make:
    def make(folder: Path) -> str:
        if callable(members):
            put(folder / "a.npz", members())
        else:
            with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED if deflate else 0) as archive:
                for name, content in members.items():
                    archive.writestr(name, content)
        return f'source = "a.npz"\n{more}'

    return make


def _arrays(more: str = "", **arrays: Any) -> Make:
    return _npz({f"{name}.npy": _npy(np.asarray(array)) for name, array in arrays.items()}, more=more)


def _saved(name: str = "images.npy") -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(name, _npy(_IMAGES))
    return sink.getvalue()


def _claiming_archive() -> bytes:
    """A zip whose listing says that a member of 1 kB unpacks to 3 GB."""
    content = bytearray(_saved())
    listing = content.index(b"PK\x01\x02")
    content[listing + 24 : listing + 28] = struct.pack("<I", 3_000_000_000)
    return bytes(content)


def _bad_sum() -> bytes:
    content = bytearray(_saved())
    content[300] ^= 0xFF
    return bytes(content)


def _doubled() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("images.npy", _npy(_IMAGES))
        archive.writestr("images.npz", b"")
    return sink.getvalue().replace(b"images.npz", b"images.npy")


_TEN_GB = "{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000,), }"
add("npz that is no zip", _npz(lambda: b"hello" * 50), "a.npz")
add("npz cut off", _npz(lambda: _saved()[:-30]), "a.npz")
add("npz without a byte", _npz(lambda: b""), "a.npz")
add("npz with a bad check sum", _npz(_bad_sum), "a.npz", "CRC")
add("npz of no array", _npz({}), "a.npz", "'images' is missing")
add("npz of a pickle", _npz({"images.npy": _npy(np.array([{"a": 1}], object))}), "a.npz", "object")
add("npz header of 10 GB", _npz({"images.npy": _npy(_IMAGES, _TEN_GB)}), "a.npz", "10000000000")
add("npz listing of 3 GB", _npz(_claiming_archive), "a.npz", "too large when unpacked")
add("npz as a zip bomb", _npz({"images.npy": _npy(_IMAGES, _TEN_GB) + bytes(50_000_000)}, deflate=True), "a.npz")
add(
    "npz header that is a program",
    _npz({"images.npy": _npy(_IMAGES, "__import__('os').system('touch evil')")}),
    "a.npz",
)
add("npz of a negative shape", _npz({"images.npy": _npy(_IMAGES, _TEN_GB.replace("10000000000", "-1, 8, 8"))}), "a.npz")
add(
    "npz with a path out of the folder",
    _npz({"../evil.txt": b"x", "images.npy": _npy(_IMAGES)}),
    "a.npz",
    "../evil.txt",
)
add("npz with an array twice", _npz(_doubled), "a.npz", "each once")
add("npz with a misspelt name", _arrays(image=_IMAGES), "a.npz", "did you mean 'images'")
add("npz of pictures and of clips", _arrays(images=_IMAGES, values=_IMAGES), "a.npz", "both")
add("npz of complex numbers", _arrays(images=_IMAGES.astype(complex)), "a.npz", "complex")
add("npz of five axes", _arrays(images=_IMAGES[:, None, None]), "a.npz", "[12, 1, 1, 8, 8]")
add("npz of NaN pixels", _arrays(images=np.full((12, 8, 8), np.nan)), "a.npz", "'images'")
add("npz of pixels beyond 0..1", _arrays(images=_IMAGES.astype(np.float32)), "a.npz", "0..1")
add("npz of three samples", _arrays(images=_IMAGES[:3]), "a.npz", "too few samples")
add("npz with labels of other samples", _arrays(images=_IMAGES, labels=np.arange(9)), "a.npz", "'labels'")
add("npz with NaN labels", _arrays(images=_IMAGES, labels=np.full(12, np.nan)), "a.npz", "'labels'")
add("npz of clips without a rate", _arrays(values=np.zeros((12, 99), np.float32)), "a.npz", "rate_hz")
add("npz with a forged mark", _arrays(images=_IMAGES, synthetic=np.uint8(0)), "a.npz", "'synthetic'")
add("npz divided by 255 twice", _arrays(images=_IMAGES // 6), "double-normalization", "255")

# -- pictures ------------------------------------------------------------------------------------------------------


def _png(side: int = 8, value: int = 0, **save: Any) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.full((side, side), value, np.uint8)).save(sink, "png", **save)
    return sink.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _lying_png(width: int, height: int) -> bytes:
    """A whole and valid PNG that claims this size over the pixels of another."""
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + _chunk(b"IDAT", zlib.compress(b"\0" * 72)) + _chunk(b"IEND", b"")


def _pictures(content: bytes | None, name: str = "x/bad.png", collect: str = "side = 8", good: int = 12) -> Make:
    def make(folder: Path) -> str:
        for number in range(good):
            path = folder / "pics" / "xy"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            put(path, _png(value=number))
        (folder / "pics").mkdir(exist_ok=True)
        if content is not None:
            path = folder / "pics" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            put(path, content)
        return f'source = "pics"\nkind = "images"\n[data.collect]\n{collect}\n'

    return make


def _linked(target: str) -> Make:
    def make(folder: Path) -> str:
        keys = _pictures(None)(folder)
        (folder / "pics" / "x" / "bad.png").symlink_to(target)
        return keys

    return make


def _piped(folder: Path) -> str:
    keys = _pictures(None)(folder)
    os.mkfifo(folder / "pics" / "x" / "bad.png")
    return keys


def _animated() -> bytes:
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (0, 200)]
    sink = io.BytesIO()
    frames[0].save(sink, "png", save_all=True, append_images=frames[1:])
    return sink.getvalue()


add("picture that is text", _pictures(b"hello"), "bad.png")
add("picture without a byte", _pictures(b""), "bad.png")
add("picture cut off", _pictures(_png(side=64)[:-40]), "bad.png")
add("picture of ten gigapixels", _pictures(_lying_png(100_000, 100_000)), "bad.png")
add("picture larger than its pixels", _pictures(_lying_png(3000, 3000)), "bad.png")
add("picture of no height", _pictures(_lying_png(8, 0)), "bad.png")
add("picture with a bad check sum", _pictures(_png().replace(b"IDAT", b"IDAT\0", 1)), "bad.png")
add("picture that moves", _pictures(_animated()), "bad.png", "animated")
add("picture of another kind", _pictures(b"GIF89a" + bytes(40)), "bad.png")
add("program among pictures", _pictures(b"\x7fELF", "x/bad.exe"), "bad.exe")
add("picture beside the classes", _pictures(_png(), "bad.png"), "bad.png")
add("picture with a line end in its name", _pictures(_png(), "x/b\nd.png"), "characters that cannot be shown")
add("link to a password file", _linked("/etc/passwd"), "bad.png", "leads out")
add("link out of the folder", _linked("../../edgegen.toml"), "bad.png", "leads out")
add("link that leads nowhere", _linked("gone.png"), "bad.png")
add("pipe among pictures", _piped, "bad.png")
add("class without a picture", _pictures(b"notes", "z/readme.txt"), "/z", "empty")
add("folder without pictures", _pictures(None, good=0), "pics", "too few")
add("folders too deep", _pictures(_png(), "/".join(["x"] * 20) + "/bad.png"), "nested too deeply")
add("folders named as parts", _pictures(_png(), "train/1.png", good=0), "pics")
add("pictures without a size", _pictures(None, collect="channels = 1"), "[data.collect]", "side")
add("pictures in two channels", _pictures(None, collect="side = 8\nchannels = 2"), "[data.collect] channels")
add("pattern that is none", _pictures(None, collect="side = 8\ngroup_pattern = '('"), "[data.collect] group_pattern")
add("pattern that finds nothing", _pictures(None, collect="side = 8\ngroup_pattern = '(q+)'"), ".png")
add(
    "pictures that are a file",
    lambda folder: put(folder / "p", _png()) and 'source = "p"\nkind = "images"\n[data.collect]\nside = 8\n',
    "not a folder",
)

# -- sound ---------------------------------------------------------------------------------------------------------

_TONE = (np.sin(np.arange(2000) / 9) * 9000).astype("<i2").tobytes()


def _clips(content: bytes, collect: str = "rate_hz = 8000\nseconds = 0.25") -> Make:
    def make(folder: Path) -> str:
        for number in range(12):
            path = folder / "clips" / "xy"[number % 2] / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            put(path, wav_bytes(_TONE[number * 2 :]))
        put(folder / "clips" / "x" / "bad.wav", content)
        return f'source = "clips"\nkind = "wav"\n[data.collect]\n{collect}\n'

    return make


def _floats(value: float) -> bytes:
    return wav_bytes(np.full(2000, value, "<f4").tobytes(), bits=32, code=3)


add("WAV of zero frames", _clips(wav_bytes(b"")), "bad.wav")
add("WAV without a byte", _clips(b""), "bad.wav")
add("WAV that is text", _clips(b"hello" * 20), "bad.wav")
add("WAV cut off", _clips(wav_bytes(_TONE)[:-500]), "bad.wav")
add("WAV whose data claim 4 GB", _clips(wav_bytes(_TONE, data_size=0xFFFFFFF0)), "bad.wav")
add("WAV whose form claims 1 GB", _clips(wav_bytes(_TONE, fmt_size=0x3FFFFFFF)), "bad.wav")
add("WAV of another rate", _clips(wav_bytes(_TONE, rate=16_000)), "bad.wav", "16000")
add("WAV of no rate", _clips(wav_bytes(_TONE, rate=0)), "bad.wav")
add("WAV of no channel", _clips(wav_bytes(_TONE, channels=0)), "bad.wav")
add("WAV of 12 bits", _clips(wav_bytes(_TONE, bits=12)), "bad.wav")
add("WAV in a packed form", _clips(wav_bytes(_TONE, code=2)), "bad.wav")
add("WAV of lying frames", _clips(wav_bytes(_TONE, frame=7)), "bad.wav")
add("WAV of NaN", _clips(_floats(float("nan"))), "bad.wav")
add("WAV louder than 1", _clips(_floats(40.0)), "bad.wav", "-1..1")
add("clips without a rate", _clips(wav_bytes(_TONE), "seconds = 0.25"), "rate_hz")

# -- text ----------------------------------------------------------------------------------------------------------


def _text(content: bytes, name: str = "t.txt") -> Make:
    return lambda folder: put(folder / name, content) and f'source = "{name}"\n'


add("text with a NUL", _text(b"hello\nworld\n" * 90 + b"\0"), "t.txt", "line 181")
add("text in Latin-1", _text(b"hello\ncaf\xe9 world\n" * 90), "t.txt", "line 2")
add("text of ten characters", _text(b"hello wor\n"), "t.txt", "too little")
add("text cut off in a packed file", _text(gzip.compress(b"hello world\n" * 900)[:-12], "t.txt.gz"), "t.txt.gz")
add("text as a gzip bomb", _text(gzip.compress(b"a" * 270_000_000), "t.txt.gz"), "t.txt.gz")
