"""``python -m edgegen_runtime generate``: a bundle's model of text goes on with a prompt; text streams to stdout."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from edgegen_runtime.contract import PreprocessError
from edgegen_runtime.generate import MOST_TOKENS, Model, Reading, Rules, Sampling, generate, read_rules
from edgegen_runtime.session import SESSIONS, InputsError
from edgegen_runtime.tokens import UNKNOWN, Bins, Characters, Tokenizer, contract_tokenizer

MODEL_FILES = {"onnx": "model.onnx", "litert": "model.tflite", "ort": "model.ort", "pte": "model.pte"}
PREFILL_FILES = {form: name.replace("model.", "prefill.") for form, name in MODEL_FILES.items()}
"""Format -> the file that reads a token, and the one that reads blocks of a prompt, which may be left away."""

_DOCUMENT_BYTES = 16 << 20
_MODEL_BYTES = 2**31 - 1
_UNFINISHED_TOKENS = 4  # a character of UTF-8 has at most as many bytes


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line behind ``generate``."""
    parser = argparse.ArgumentParser(prog="python -m edgegen_runtime generate", description=__doc__)
    parser.add_argument("files", type=Path, help="a build's files/: manifest.json, preprocessing.json, the model")
    parser.add_argument("--prompt", required=True, help="text to go on with")
    parser.add_argument("--tokens", type=int, default=100, help="tokens to write")
    parser.add_argument("--temperature", type=float, default=0.8, help="0: always the likeliest token")
    parser.add_argument("--top-k", type=int, default=0, help="only among the likeliest K; 0: all")
    parser.add_argument("--top-p", type=float, default=1.0, help="only among the likeliest with this probability")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runtime", choices=sorted(SESSIONS), help="in place of the one in manifest.json")
    return parser.parse_args(argv)


def act(arguments: argparse.Namespace, stdout: TextIO) -> None:
    """Writes the prompt and what follows it to ``stdout``, a token at a time; figures to stderr.

    Raises:
        InputsError, PreprocessError: the prompt or the bundle's files do not do.
        ModelRefusedError, RuntimeMissingError: see ``session``.
    """
    sampling = Sampling(temperature=arguments.temperature, top_k=arguments.top_k, top_p=arguments.top_p)
    if not 1 <= arguments.tokens <= MOST_TOKENS or arguments.seed < 0:
        raise InputsError(f"--tokens is 1 to {MOST_TOKENS} and --seed 0 or more")
    manifest, contract = (_document(arguments.files / name) for name in ("manifest.json", "preprocessing.json"))
    rules, tokenizer = read_rules(contract), text_tokenizer(contract)
    prompt = prompt_tokens(arguments.prompt, tokenizer, rules)
    reading = open_reading(arguments.files, manifest, rules, arguments.runtime)
    clock = _Clock()
    chosen = generate(reading, prompt, arguments.tokens, sampling, arguments.seed)
    stdout.write(tokenizer.decode(np.array(prompt)))
    for piece in streamed(clock.watched(chosen), tokenizer):
        stdout.write(piece)
        stdout.flush()
    stdout.write("\n")
    print(f"edgegen_runtime: {clock.told(len(prompt))}", file=sys.stderr)


def open_reading(folder: Path, manifest: Mapping[str, Any], rules: Rules, runtime: str | None = None) -> Reading:
    """The models in a build's ``files/``, before the first token.

    Raises:
        InputsError: the manifest names no known format or runtime, or a file cannot be read.
        ModelRefusedError, RuntimeMissingError: see ``session``.
    """
    form, runtime = manifest.get("format"), runtime or manifest.get("runtime")
    if form not in MODEL_FILES or runtime not in SESSIONS:
        raise InputsError(
            f"manifest.json names no format and runtime that is known here: {form!r:.40}, {runtime!r:.40}"
        )
    prefill = folder / PREFILL_FILES[form]
    step = _model(folder / MODEL_FILES[form], runtime)
    return Reading(rules, step, _model(prefill, runtime) if rules.block and prefill.is_file() else None)


def prompt_tokens(prompt: str, tokenizer: Tokenizer, rules: Rules) -> list[int]:
    """The prompt as tokens.

    Raises:
        InputsError: it is empty, longer than the model looks back, or has characters that the model does not know.
    """
    if not prompt:
        raise InputsError("the prompt is empty: a model of sequences needs at least one token to go on with")
    found = tokenizer.encode(prompt)
    if isinstance(tokenizer, Characters) and np.any(found == 0):
        unknown = sorted({letter for letter, token in zip(prompt, found.tolist(), strict=True) if token == 0})
        raise InputsError(
            f"the prompt has characters that the model never saw: {', '.join(map(repr, unknown[:8]))}; leave them out, "
            "or train with tokens = 'byte'"
        )
    most = MOST_TOKENS if rules.context is None else rules.context
    if len(found) > most:
        raise InputsError(
            f"the prompt has {len(found)} tokens, and the model looks back on {most}: its beginning would be forgotten "
            "before the first token is written; give a shorter one"
        )
    return [int(token) for token in found]


def streamed(tokens: Iterable[int], tokenizer: Tokenizer) -> Iterator[str]:
    """Text as soon as it is whole: a character may consist of several tokens."""
    waiting: list[int] = []
    for token in tokens:
        waiting.append(token)
        piece = tokenizer.decode(np.array(waiting))
        unfinished = piece.endswith(UNKNOWN) and not isinstance(tokenizer, Characters)
        if not unfinished or len(waiting) >= _UNFINISHED_TOKENS:
            yield piece
            waiting = []
    if waiting:
        yield tokenizer.decode(np.array(waiting))


class _Clock:
    """When the first token was there, and the last."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._first = self._last = self._begun
        self._written = 0

    def watched(self, tokens: Iterable[int]) -> Iterator[int]:
        for token in tokens:
            self._last = time.perf_counter()
            if not self._written:
                self._first = self._last
            self._written += 1
            yield token

    def told(self, prompt: int) -> str:
        reading, writing = self._first - self._begun, self._last - self._first
        said = f"read {prompt} tokens in {reading * 1e3:.1f} ms (pp {prompt / max(reading, 1e-9):.1f} tokens/s)"
        if self._written > 1:
            said += f", wrote {self._written} (tg {(self._written - 1) / max(writing, 1e-9):.1f} tokens/s)"
        return said


def text_tokenizer(contract: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer of a bundle's ``preprocessing.json``.

    Raises:
        PreprocessError: there is none, or its tokens are no text.
    """
    data = contract.get("data")
    preprocessing = data.get("preprocessing") if isinstance(data, Mapping) else None
    if not isinstance(preprocessing, Mapping):
        raise PreprocessError("preprocessing.json has no data.preprocessing")
    tokenizer = contract_tokenizer(preprocessing)
    if isinstance(tokenizer, Bins):
        raise PreprocessError("the model's tokens stand for numbers of a series: there is no text to go on with")
    return tokenizer


def _document(path: Path) -> Mapping[str, Any]:
    try:
        parsed = json.loads(_read(path, _DOCUMENT_BYTES))
    except (ValueError, RecursionError) as error:
        raise InputsError(f"{path.name} is not JSON") from error
    if not isinstance(parsed, dict):
        raise InputsError(f"{path.name} is no table")
    return parsed


def _model(path: Path, runtime: str) -> Model:
    session = SESSIONS[runtime](_read(path, _MODEL_BYTES))
    return Model(inputs=session.inputs, infer=session.infer)


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size > limit:
                raise InputsError(f"{path.name} has more than {limit} bytes")
            return stream.read()
    except OSError as error:
        raise InputsError(f"{path.name} cannot be read: {error.strerror}") from error
