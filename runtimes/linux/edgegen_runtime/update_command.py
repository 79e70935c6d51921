"""``python -m edgegen_runtime update``: two slots, of which one runs and one may be written. JSON on stdout.

``install`` brings a bundle into the slot that is not in use, ``boot`` says which one to run (call it when the device
starts), ``status`` says what the device remembers.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from edgegen_runtime.admission import Rules
from edgegen_runtime.kept import read_slot_state
from edgegen_runtime.proof import prove
from edgegen_runtime.sealed_bundle import Bundle
from edgegen_runtime.sources import FolderSource, Source, source_of
from edgegen_runtime.trust_options import add_trust_options, now_of, rules_of
from edgegen_runtime.update import Slots

_TIMEOUT_S = 3600.0


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line behind ``update``."""
    parser = argparse.ArgumentParser(prog="python -m edgegen_runtime update", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    install = actions.add_parser("install", help="bring a bundle into the free slot")
    install.add_argument("source", help="a bundle/ in a folder, or its address on a web server")
    install.add_argument("--timeout-s", type=float, default=_TIMEOUT_S, help="how long the source may take")
    boot = actions.add_parser("boot", help="choose the model to run")
    for action in (install, boot):
        add_trust_options(action)
        action.add_argument("--no-self-test", action="store_true", help="do not run the golden vectors")
    for action in (install, boot, actions.add_parser("status", help="what the device remembers")):
        action.add_argument("--root", type=Path, required=True, help="folder of the two slots")
    return parser.parse_args(argv)


def act(arguments: argparse.Namespace, stdout: TextIO) -> None:
    """Does what was asked.

    Raises:
        ArgumentsError: see ``rules_of``.
        RefusedError, UnreachableError, ModelRefusedError, InputsError, RuntimeMissingError, OSError: see ``update``.
    """
    if arguments.action == "status":
        print(json.dumps({"schema_version": 1, **asdict(read_slot_state(arguments.root))}), file=stdout)
        return
    slots = _slots(arguments, rules_of(arguments))
    if arguments.action == "install":
        installed = slots.install(_source(arguments.source), now_of(arguments), arguments.timeout_s)
        print(json.dumps({"schema_version": 1, **_told(installed)}), file=stdout)
        return
    booted = slots.boot()
    for note in booted.notes:
        print(f"edgegen_runtime: {note}", file=sys.stderr)
    files = {name: str(path) for name, path in sorted(booted.bundle.files.items())}
    report = {"schema_version": 1, "slot": booted.slot, **_told(booted.bundle), "files": files}
    print(json.dumps({**report, "notes": list(booted.notes)}), file=stdout)


def _slots(arguments: argparse.Namespace, rules: Rules) -> Slots:
    def tested(bundle: Bundle) -> None:
        if not arguments.no_self_test:
            prove(bundle)

    return Slots(arguments.root, rules, tested)


def _source(text: str) -> Source:
    inside = Path(text) / "bundle"
    return FolderSource(inside) if "://" not in text and inside.is_dir() else source_of(text)


def _told(bundle: Bundle) -> dict[str, object]:
    return {"digest": bundle.digest, "version": bundle.version, "target": bundle.target}
