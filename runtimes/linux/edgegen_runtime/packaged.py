"""A model that came in a package (a wheel, a Debian package): its bundle beside the program, opened, run and tested.

``python -m edgegen_runtime self-test DIR`` checks every byte and runs the golden vectors here; with ``--key`` it asks
who signed as well. One JSON object on stdout.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from edgegen_runtime.admission import admit
from edgegen_runtime.preprocess import Preprocessor, Raw
from edgegen_runtime.sealed_bundle import MAX_DOCUMENT_BYTES, Bundle, read_bundle
from edgegen_runtime.self_test import SelfTest, self_test
from edgegen_runtime.session import SESSIONS, Array, Port, Tensors, infer_all
from edgegen_runtime.strict import RefusedError, strict_json
from edgegen_runtime.trust_options import add_trust_options, now_of, rules_of

PREPROCESSING = "preprocessing.json"


class PackagedModel:
    """A model, every byte of whose bundle was checked when it was opened.

    Args:
        folder: the bundle (OCI image layout).

    Raises:
        RefusedError: the bundle is damaged, or for a runtime that is not known here.
        ModelRefusedError, RuntimeMissingError: the runtime does not take the model, or is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.bundle: Bundle = read_bundle(folder)
        runtime = str(self.bundle.manifest["runtime"])
        if runtime not in SESSIONS:
            raise RefusedError(f"the bundle is for a runtime that is not known here: {runtime:.40}")
        self._session = SESSIONS[runtime](self.bundle.files[str(self.bundle.manifest["model"])].read_bytes())
        self._prepare: Preprocessor | None = None

    @property
    def digest(self) -> str:
        """Of the bundle: ``sha256:…`` of its core's manifest."""
        return self.bundle.digest

    @property
    def manifest(self) -> Mapping[str, Any]:
        """``manifest.json``: name, version, target, recipe, inputs, outputs."""
        return self.bundle.manifest

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What the model takes."""
        return self._session.inputs

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Outputs by name; arrays by input name, samples along the first axis, each inferred alone.

        Raises:
            InputsError: the arrays do not fit the model.
            ModelRefusedError: the runtime fails.
        """
        return infer_all(self._session, inputs)

    def prepare(self, raw: Raw) -> Array:
        """The model's input for raw samples, by the bundle's preprocessing contract. Raises PreprocessError."""
        if self._prepare is None:
            path = self.bundle.files[PREPROCESSING]
            if path.stat().st_size > MAX_DOCUMENT_BYTES:
                raise RefusedError(f"{PREPROCESSING} is larger than it may be")
            self._prepare = Preprocessor(strict_json(path.read_bytes(), PREPROCESSING))
        return self._prepare(raw)

    def self_test(self) -> SelfTest:
        """Runs the golden vectors here. Raises RefusedError where an output lies outside its tolerance."""
        return self_test(self.bundle)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line behind ``self-test``."""
    parser = argparse.ArgumentParser(prog="python -m edgegen_runtime self-test", description=__doc__)
    parser.add_argument("bundle", type=Path, help="a bundle/ (OCI image layout), or the folder that it is in")
    add_trust_options(parser, required=False)
    return parser.parse_args(argv)


def act(arguments: argparse.Namespace, stdout: TextIO) -> None:
    """Checks every byte, with keys the signatures too, and runs the golden vectors.

    Raises:
        RefusedError: the first thing that does not hold.
        ModelRefusedError, InputsError, RuntimeMissingError: see ``self_test``.
    """
    inside = arguments.bundle / "bundle"
    bundle = read_bundle(inside if inside.is_dir() else arguments.bundle)
    signers: tuple[str, ...] = ()
    if arguments.key:
        signers = admit(bundle, rules_of(arguments), None, now_of(arguments))
    elif arguments.target not in (None, bundle.target):
        raise RefusedError(f"wrong device: the bundle is for {bundle.target}, this is {arguments.target}")
    tested = self_test(bundle)
    report = {
        "schema_version": 1,
        "digest": bundle.digest,
        "version": bundle.version,
        "target": bundle.target,
        "signed_by": list(signers),
        "self_test": {"samples": tested.samples, "largest_difference": dict(tested.largest_difference)},
    }
    print(json.dumps(report), file=stdout)
