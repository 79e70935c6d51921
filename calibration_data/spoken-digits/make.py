"""Makes digits.npz again: ten words by 28 synthetic speakers (needs numpy, scipy, `espeak-ng` 1.51 and `flite` 2.2).

    python make.py

24 speakers are rules of espeak-ng, formants without a human behind them, in eight accents of English; four are voices
of flite, which were built from recordings of four people. Takes differ in speed, pitch, loudness and noise, all drawn
from one seed. Every clip is one second at 8 kHz.
"""

import hashlib
import io
import subprocess
import tempfile
import zipfile
from math import gcd
from pathlib import Path

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = (
    *("en-gb", "en-us", "en-gb-scotland", "en-gb-x-rp"),
    *("en-gb-x-gbclan", "en-us-nyc", "en-gb-x-gbcwmd", "en-029"),
)
VARIANTS = (
    *("m1", "f1", "m2", "f2", "m3", "f3", "m4", "f4", "m5", "f5", "m6", "Annie"),
    *("m7", "Alicia", "m8", "Andrea", "Alex", "linda", "Michael", "belinda", "adam", "steph", "john", "aunty"),
)
PEOPLE = ("kal", "awb", "rms", "slt")
RULED_TAKES, PEOPLE_TAKES = 2, 4
RATE_HZ, LENGTH, SEED = 8000, 8000, 49
EDGE = 0.02  # of the peak: quieter ends are silence
_DATE = (1980, 1, 1, 0, 0, 0)  # the first date that zip can spell: the archive must not tell when it was made
STEP = 64  # of int16: what is finer is mostly noise, and the file would keep it


def spoken(command: list[str]) -> np.ndarray:
    """What a synthesizer writes, at 8 kHz, without the silence at its ends, peak 1."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "take.wav"
        subprocess.run([part.format(path=path) for part in command], check=True, capture_output=True)
        rate, samples = wavfile.read(path)
    values = samples.astype(np.float64) / 2**15
    shared = gcd(rate, RATE_HZ)
    values = resample_poly(values, RATE_HZ // shared, rate // shared)
    loud = np.flatnonzero(np.abs(values) > EDGE * np.abs(values).max())
    values = values[loud[0] : loud[-1] + 1]
    return values / np.abs(values).max()


def clip(values: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """The take in the middle of a second, within a tenth of it, at a loudness and over noise drawn anew."""
    values = values[:LENGTH]
    spare = LENGTH - len(values)
    before = int(np.clip(spare // 2 + draw.integers(-LENGTH // 10, LENGTH // 10), 0, spare))
    placed = np.pad(values, (before, spare - before))
    placed = placed + 10 ** (draw.uniform(-55, -38) / 20) * draw.standard_normal(LENGTH)
    placed = placed * 10 ** (draw.uniform(-12, -1) / 20)
    return (np.round(np.clip(placed, -1, 1) * (2**15 - STEP) / STEP) * STEP).astype(np.int16)


def ruled(word: str, speaker: int, draw: np.random.Generator) -> list[str]:
    """The command for a take of one of espeak-ng's speakers."""
    voice = f"{ACCENTS[speaker % len(ACCENTS)]}+{VARIANTS[speaker]}"
    speed, pitch = draw.integers(115, 190), draw.integers(30, 70)
    return ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "-w", "{path}", word]


def person(word: str, name: str, draw: np.random.Generator) -> list[str]:
    """The command for a take of one of flite's voices."""
    stretch = draw.uniform(0.85, 1.35)
    return ["flite", "-voice", name, "--setf", f"duration_stretch={stretch:.3f}", "-t", word, "-o", "{path}"]


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An .npz whose bytes depend on the arrays alone (and on zlib's version)."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, member.getvalue(), compresslevel=9)


def main() -> None:
    """Writes digits.npz beside this file and prints its digest."""
    draw = np.random.Generator(np.random.PCG64(SEED))
    values, labels, groups = [], [], []
    for label, word in enumerate(WORDS):
        for speaker in range(len(VARIANTS)):
            for _ in range(RULED_TAKES):
                values.append(clip(spoken(ruled(word, speaker, draw)), draw))
                groups.append(speaker)
                labels.append(label)
        for number, name in enumerate(PEOPLE, start=len(VARIANTS)):
            for _ in range(PEOPLE_TAKES):
                values.append(clip(spoken(person(word, name, draw)), draw))
                groups.append(number)
                labels.append(label)
    path = Path(__file__).with_name("digits.npz")
    arrays = {"values": np.stack(values), "labels": np.array(labels, np.uint8), "groups": np.array(groups, np.uint8)}
    write_npz(path, arrays)
    print(hashlib.sha256(path.read_bytes()).hexdigest(), {name: array.shape for name, array in arrays.items()})


if __name__ == "__main__":
    main()
