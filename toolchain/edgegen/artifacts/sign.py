"""Signs a bundle: a statement about its core and one about its evidence, as an artifact of its own beside them.

The signed layout is made aside (blobs are linked, not copied) and exchanged for the old one in one step, so a kill at
any moment leaves the one or the other.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.artifacts import cosign
from edgegen.artifacts.contents import MAX_RESULT_BYTES
from edgegen.artifacts.dsse import sealed
from edgegen.artifacts.layout import (
    BUNDLE_TYPE,
    ENVELOPE_TYPE,
    EVIDENCE_TYPE,
    SBOM,
    SIGNATURE_TYPE,
    VERDICTS,
    signature_tag,
)
from edgegen.artifacts.parse import strict_json
from edgegen.artifacts.sealed import Layer, SealedLayout, read_bounded
from edgegen.artifacts.statement import (
    Moment,
    check_shippable,
    core_statement,
    evidence_statement,
    verdict_lines,
)
from edgegen.artifacts.verify import Verified, verify
from edgegen.core.errors import BuildError, IntegrityError, UsageError
from edgegen.core.store import Store
from edgegen_runtime.strict import RefusedError
from edgegen_runtime.trust import CORE_ENVELOPE, EVIDENCE_ENVELOPE, VerdictLine, find_signers

if TYPE_CHECKING:
    from edgegen.artifacts.keys import Signing

_EXCHANGE = 2  # renameat2(2)'s RENAME_EXCHANGE
_HERE = -100  # openat(2)'s AT_FDCWD


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedBundle:
    """A bundle that was signed."""

    digest: str  # sha256:<hex> of the core's manifest
    added: tuple[str, ...]  # ids of the keys that signed now
    kept: tuple[str, ...]  # ids of those whose signature was there already
    cosign_tag: str | None  # where cosign's form was written
    verdicts: tuple[VerdictLine, ...]


def sign_bundle(
    bundle_dir: Path,
    signers: Sequence[Signing],
    *,
    moment: Moment,
    with_cosign: bool = False,
    reference: str | None = None,
) -> SignedBundle:
    """Adds one signature a key; a key whose signature of these very parts is there already adds nothing.

    Args:
        bundle_dir: the ``bundle/`` folder.
        with_cosign: writes cosign's form too.
        reference: name of the published artifact in cosign's form; None: the project's.

    Raises:
        UsageError: there is no bundle, or no key was given.
        IntegrityError: the bundle does not hold.
        BudgetError: a required verdict failed; nothing is signed.
        ToolMissingError: a required verdict was not judged; nothing is signed.
        BuildError: the folder cannot be written to.
    """
    if not signers:
        raise UsageError("there is no key to sign with", next_step="give one with --key")
    with _alone(bundle_dir.absolute().parent):
        verified = verify(bundle_dir)
        files = _checked_files(bundle_dir)
        verdicts, bill = (_document(files[BUNDLE_TYPE], name) for name in (VERDICTS, SBOM))
        result = _document(files[EVIDENCE_TYPE], "result.json") if EVIDENCE_TYPE in files else None
        lines = verdict_lines(verdicts, result)
        check_shippable(lines, verdicts)
        missing = _missing(verified, signers, moment)
        if missing or with_cosign:
            with _changed(bundle_dir) as store:
                subject = _descriptor(store, BUNDLE_TYPE)
                for signer in missing:
                    layers = {
                        name: (store.add_bytes(data), ENVELOPE_TYPE)
                        for name, data in _envelopes(verified, bill, lines, moment, signer).items()
                    }
                    descriptor = store.add_manifest(artifact_type=SIGNATURE_TYPE, layers=layers, subject=subject)
                    store.tag(descriptor, signature_tag(verified.manifest.version, signer.public.key_id))
                if with_cosign:
                    name = reference or verified.manifest.name
                    cosign.add_signatures(store, verified.subjects.core, name, signers)
    added = tuple(signer.public.key_id for signer in missing)
    return SignedBundle(
        digest=verified.digest,
        added=added,
        kept=tuple(signer.public.key_id for signer in signers if signer.public.key_id not in added),
        cosign_tag=cosign.sig_tag(verified.subjects.core) if with_cosign else None,
        verdicts=lines,
    )


def moment_of_signing(expires_days: int | None) -> Moment:
    """Now, or ``SOURCE_DATE_EPOCH`` where it is set: then equal bundles and keys give equal signatures.

    Raises:
        UsageError: the variable is no number of seconds.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        now = (datetime.now(UTC) if given is None else datetime.fromtimestamp(int(given), UTC)).replace(microsecond=0)
        expires_on = None if expires_days is None else now + timedelta(days=expires_days)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError("SOURCE_DATE_EPOCH is no moment", got=given, expected="seconds since 1970") from error
    return Moment(signed_on=now, expires_on=expires_on)


def _missing(verified: Verified, signers: Sequence[Signing], moment: Moment) -> list[Signing]:
    """The keys, each once, that have no signature in the bundle that says the same and still counts."""
    current = [claim for claim in verified.claims if claim.expires_on == moment.expires_on or moment.expires_on is None]
    try:
        have = find_signers(current, [signer.public for signer in signers], now=moment.signed_on)
    except RefusedError as error:
        raise IntegrityError("somebody else signed in the name of this key", got=error) from error
    return list({s.public.key_id: s for s in signers if s.public.key_id not in have.trusted}.values())


def _envelopes(
    verified: Verified, bill: Mapping[str, Any], lines: Sequence[VerdictLine], moment: Moment, signer: Signing
) -> dict[str, bytes]:
    manifest, subjects = verified.manifest, verified.subjects
    envelopes = {CORE_ENVELOPE: sealed(core_statement(manifest, subjects, bill, lines, moment), [signer])}
    if subjects.evidence is not None:
        envelopes[EVIDENCE_ENVELOPE] = sealed(evidence_statement(manifest, subjects, lines), [signer])
    return envelopes


def _checked_files(bundle_dir: Path) -> dict[str, Mapping[str, Layer]]:
    """The files of a bundle that was checked just now, by artifact type and name; nothing is hashed once more."""
    layout = SealedLayout(bundle_dir, {path.name for path in (bundle_dir / "blobs" / "sha256").iterdir()})
    wanted = [item for item in layout.index() if item.get("artifactType") in (BUNDLE_TYPE, EVIDENCE_TYPE)]
    return {str(item["artifactType"]): layout.artifact(item).layers for item in wanted}


def _document(layers: Mapping[str, Layer], name: str) -> dict[str, Any]:
    return strict_json(read_bounded(layers[name].path, MAX_RESULT_BYTES), name)


def _descriptor(store: Store, artifact_type: str) -> dict[str, Any]:
    return next(item for item in store.manifests() if item.get("artifactType") == artifact_type)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One signer at a time: a lock on the folder itself, which leaves no file behind."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UsageError("there is no bundle", where=str(folder), got=error.strerror) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def _changed(bundle_dir: Path) -> Iterator[Store]:
    """A store with the bundle's contents; what was added to it takes the bundle's place when the block ends well."""
    bundle_dir = bundle_dir.absolute()
    try:
        with tempfile.TemporaryDirectory(dir=bundle_dir.parent, prefix=".bundle-") as name:
            aside = Path(name) / bundle_dir.name
            shutil.copytree(bundle_dir, aside, copy_function=_link)
            shutil.copyfile(bundle_dir / "index.json", Path(name) / "index.json")
            os.replace(Path(name) / "index.json", aside / "index.json")
            store = Store(aside)
            yield store
            _drop_unnamed(store)
            shutil.rmtree(store.scratch)
            (aside / "index.lock").unlink(missing_ok=True)
            for path in (aside, *aside.rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)
            _exchange(aside, bundle_dir)
    except OSError as error:
        raise BuildError("the signature cannot be written", where=str(bundle_dir), got=error) from error


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        shutil.copyfile(source, target)


def _drop_unnamed(store: Store) -> None:
    """Removes the blobs of signatures that were replaced."""
    named = set()
    for descriptor in store.manifests():
        manifest = store.manifest(str(descriptor["digest"])) or {}
        parts = [descriptor, *manifest.get("layers", []), manifest.get("config", descriptor)]
        named |= {str(part["digest"]).removeprefix("sha256:") for part in parts}
    for path in (store.root / "blobs" / "sha256").iterdir():
        if path.name not in named:
            path.unlink()


def _exchange(new: Path, old: Path) -> None:
    """Puts ``new`` in the place of ``old`` and the other way round, in one step."""
    exchange = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if exchange is not None:
        if exchange(_HERE, os.fsencode(new), _HERE, os.fsencode(old), _EXCHANGE) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(number, os.strerror(number), str(old))
    # A C library or a file system that cannot exchange: for an instant there is no bundle, and never half a one.
    os.replace(old, new.with_name("old"))
    os.replace(new, old)
