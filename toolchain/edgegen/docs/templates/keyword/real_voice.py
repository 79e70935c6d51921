"""Asks the built model for ten words of a real voice, which edgegen must not carry: CC BY-SA 3.0, fetched from Debian.

    python real_voice.py build/raspberrypi4

The clips are Allison Smith's recordings for the telephone exchange Asterisk, one studio take of each word. They are
fetched as a project fetches them that names [data.collect] deb and sha256, and go through the same preprocessing as
the clips that the model learnt from. Needs apt-get and dpkg-deb.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from edgegen.core.errors import EdgegenError
from edgegen.core.ports import Silent
from edgegen.data.collect.source import collect
from edgegen.data.collected import LABELS_FILE, VALUES_FILE
from edgegen.data.settings import CollectSettings, DataSettings
from edgegen.export.host_runtime import run_on_host
from edgegen_runtime.preprocess import Preprocessor

WORDS = tuple("0123456789")
REAL = DataSettings(
    source="usr/share/asterisk/sounds/en_US_f_Allison/digits",
    kind="wav",
    origin="Debian package asterisk-core-sounds-en-wav 1.6.1-1, recorded by Allison Smith",
    licence="CC BY-SA 3.0",
    collect=CollectSettings(
        deb="asterisk-core-sounds-en-wav",
        sha256="084cfd75adfaede0a33db1ab376607bd80da21a6f2bb8934c711bf4b395bb7cf",
        rate_hz=8000,
        seconds=1.0,
    ),
)


def clips(folder: Path) -> np.ndarray:
    """The ten words as the collector reads them, (10, 1, 8000) float32, the digit's place is its label."""
    collect(REAL, folder, folder, Silent())
    labels = np.load(folder / LABELS_FILE).tolist()
    values = np.load(folder / VALUES_FILE)
    return np.stack([values[labels.index(word)] for word in WORDS])


def main() -> None:
    """Prints a line a word, and how many were named right."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python real_voice.py BUILD_FOLDER")
    files = Path(sys.argv[1]) / "files"
    chosen = json.loads((Path(sys.argv[1]) / "result.json").read_text())["chosen"]
    contract = json.loads((files / "preprocessing.json").read_text())
    model = next(path for path in files.glob("model.*") if path.suffix in (".onnx", ".tflite"))
    try:
        with tempfile.TemporaryDirectory() as folder:
            x = Preprocessor(contract["data"]["preprocessing"])(clips(Path(folder)))
        logits = run_on_host(model, chosen["format"], {"input": x})["logits"]
    except EdgegenError as error:
        raise SystemExit(error.paragraph()) from error
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    named = logits.argmax(axis=1)
    for word, place, chance in zip(WORDS, named, chances.max(axis=1), strict=True):
        print(f"{word} is taken for {place} ({chance:.0%}){'' if word == str(place) else '   wrong'}")
    print(f"{int((named == np.arange(10)).sum())} of 10 words of one real voice, {chosen['candidate']}")


if __name__ == "__main__":
    main()
