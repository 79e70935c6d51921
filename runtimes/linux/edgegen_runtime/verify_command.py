"""``python -m edgegen_runtime verify``: may this device run that bundle? One JSON object on stdout."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TextIO

from edgegen_runtime.admission import admit
from edgegen_runtime.disk import Disk
from edgegen_runtime.kept import read_kept, write_kept
from edgegen_runtime.proof import prove
from edgegen_runtime.sealed_bundle import read_bundle
from edgegen_runtime.strict import RefusedError
from edgegen_runtime.trust_options import add_trust_options, now_of, rules_of
from edgegen_runtime.version_order import version_order


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line behind ``verify``."""
    parser = argparse.ArgumentParser(prog="python -m edgegen_runtime verify", description=__doc__)
    parser.add_argument("bundle", type=Path, help="a bundle/ (OCI image layout), or the folder that it is in")
    add_trust_options(parser)
    parser.add_argument(
        "--state", type=Path, help="file that keeps the newest accepted version: older ones are refused"
    )
    parser.add_argument("--self-test", action="store_true", help="run the golden vectors too")
    return parser.parse_args(argv)


def act(arguments: argparse.Namespace, stdout: TextIO) -> None:
    """Checks every byte, the signatures, the device and the version; then the golden vectors if asked to.

    Raises:
        ArgumentsError: see ``rules_of``.
        RefusedError: the first thing that does not hold.
        ModelRefusedError, InputsError, RuntimeMissingError: see ``self_test``.
        OSError: the state cannot be written.
    """
    rules = rules_of(arguments)
    inside = arguments.bundle / "bundle"
    bundle = read_bundle(inside if inside.is_dir() else arguments.bundle)
    kept = None if arguments.state is None else read_kept(arguments.state)
    newest = None if kept is None else kept.get("minimum_version")
    if newest is not None and not isinstance(newest, str):
        raise RefusedError(f"{arguments.state} is not a state of this program")
    signers = admit(bundle, rules, newest, now_of(arguments))
    report: dict[str, object] = {
        "schema_version": 1,
        "digest": bundle.digest,
        "version": bundle.version,
        "target": bundle.target,
        "signed_by": list(signers),
        "files": {name: str(path) for name, path in sorted(bundle.files.items())},
    }
    if arguments.self_test:
        tested = prove(bundle)
        report["self_test"] = {"samples": tested.samples, "largest_difference": dict(tested.largest_difference)}
    if arguments.state is not None and (newest is None or version_order(newest) < version_order(bundle.version)):
        write_kept(Disk(), arguments.state, {"schema_version": 1, "minimum_version": bundle.version})
    print(json.dumps(report), file=stdout)
