"""A small bundle that can be signed: its evidence holds the verdicts too. And keys to sign it with."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgegen.artifacts.bundle import writing_bundle
from edgegen.artifacts.keys import Signer, public_pem
from edgegen.artifacts.policy import Policy, TrustedKey
from edgegen.artifacts.sign import sign_bundle
from edgegen.artifacts.statement import Moment
from edgegen.core.digests import canonical_json
from edgegen.core.records import write_record
from edgegen_runtime.public_keys import parse_public_key
from unit.artifacts import example_bundle

SIGNED_ON = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)
MOMENT = Moment(signed_on=SIGNED_ON)


@cache
def signer(name: str) -> Signer:
    """A key that is the same for a name; names that begin with ``ec`` are P-256."""
    number = int.from_bytes(name.encode().ljust(16, b"."), "big")
    private: Any
    if name.startswith("ec"):
        private = ec.derive_private_key(number, ec.SECP256R1())
    else:
        private = Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))
    return Signer(private=private, public=parse_public_key(public_pem(private), name))


def trusting(*names: str, **rules: Any) -> Policy:
    """A policy that trusts these keys."""
    return Policy(keys=tuple(TrustedKey(name=name, key=signer(name).public) for name in names), **rules)


def write(
    out: Path, work: Path, *, verdicts: Any = example_bundle.VERDICTS, training: bool = True, **changes: Any
) -> str:
    """Writes a bundle of core, evidence and training; returns the core's digest."""
    with writing_bundle(out) as writer:
        written = writer.add_core(example_bundle.contents(work, verdicts=verdicts, **changes))
        documents = example_bundle.evidence(written.digest)
        result = {
            "schema_version": 1,
            "chosen": {"bundle_digest": written.digest},
            "verdicts": [write_record(item) for item in verdicts],
        }
        writer.add_evidence(documents | {"result.json": canonical_json(result)})
        if training:
            writer.add_training({}, {"schema_version": 1})
    return written.digest


def signed(out: Path, work: Path, *names: str, moment: Moment = MOMENT, **changes: Any) -> Path:
    """Writes a bundle, signs it with the named keys and returns its ``bundle/``."""
    write(out, work, **changes)
    sign_bundle(out / "bundle", [signer(name) for name in names], moment=moment)
    return out / "bundle"


def copied(bundle: Path, to: Path) -> Path:
    """A copy of a ``bundle/`` without ``files/`` beside it."""
    return Path(shutil.copytree(bundle, to / "bundle"))
