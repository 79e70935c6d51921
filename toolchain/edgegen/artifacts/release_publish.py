"""Publishes the metadata of a folder in a place, beside whoever else does so at the same time.

Registries have no conditional write. So the tag is read, what others published is brought in, the tag is written, and
then read again until it stays: whoever was overtaken brings the other's in and publishes both.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import Root, Targets

from edgegen.artifacts.keys import Signing
from edgegen.artifacts.registry_reference import Reference
from edgegen.artifacts.release_artifact import RELEASES_TAG, ReleasesArtifact, hand_over, releases_manifest
from edgegen.artifacts.release_merge import adopt, lacks, share
from edgegen.artifacts.release_records import METADATA
from edgegen.artifacts.release_roles import Releases
from edgegen.artifacts.transfer import Destination
from edgegen.artifacts.transfer_places import Access, destination_of, source_of
from edgegen.core.errors import IntegrityError, ToolMissingError, UsageError
from edgegen.core.locks import locked

_MOST_ROUNDS = 12
_SETTLED = 2  # looks that find the tag unchanged
_LONGEST_S = 10.0
_LOCK = "publish.lock"


def publish_into(
    releases: Releases, online: Sequence[Signing], reference: Reference, access: Access, *, replace: bool = False
) -> str:
    """Publishes in the folder and in a place. Returns the digest of what the place has then.

    Args:
        replace: releases in the place that the folder's root does not vouch for are replaced.

    Raises:
        UsageError: others changed the same role, or a key is missing.
        ToolMissingError: the place does not answer, or other writers publish again and again.
        IntegrityError: the place has releases that the folder's root does not vouch for.
    """
    seen, pushed, took_s, dice = 0, None, 0.0, random.Random()
    releases.role("root", Root)
    with locked(releases.folder / _LOCK), destination_of(reference, access) as destination:
        for _ in range(_MOST_ROUNDS):
            there, complete = _there(destination, reference, access, releases, replace)
            if pushed is not None and there is not None and complete:
                seen, pushed = seen + 1 if there == pushed else 0, there
                if seen == _SETTLED:
                    return pushed
            else:
                releases.publish(*online)
                begun = time.monotonic()
                pushed, seen = _push(releases, destination, reference, there), 0
                # Whoever looked before us may write after us: about as long as it took us.
                took_s = min(time.monotonic() - begun, _LONGEST_S)
            time.sleep(took_s + dice.uniform(*access.patience.settle_s))
    raise ToolMissingError(
        "others publish in the place again and again", where=reference.text(), next_step="repeat the command later"
    )


def fetch_from(
    folder: Path, now: datetime, reference: Reference, access: Access, *, root: Path | None, prefer_theirs: bool
) -> Releases:
    """Brings what a place publishes into a folder that releases are signed in.

    Args:
        root: the first root metadata, got from somebody who is trusted; needed where the folder is new.
        prefer_theirs: as ``adopt`` has it.

    Raises:
        UsageError: as ``adopt``, or there is no root.
        ToolMissingError: the place has no releases.
        IntegrityError: as ``adopt``.
    """
    releases = Releases(folder, now)
    if not releases.versions("root"):
        if root is None:
            raise UsageError("nothing is trusted yet", where=str(folder), next_step="give --root FILE, a 1.root.json")
        releases.take_root(root)
    with locked(folder / _LOCK), source_of(reference, access) as source:
        named = source.find(RELEASES_TAG)
        if named is None:
            raise ToolMissingError("the place has no releases", where=reference.text())
        artifact = ReleasesArtifact(source, releases_manifest(named, source.place), access.patience)
        adopt(releases, artifact, _place(reference), prefer_theirs=prefer_theirs)
    return releases


def _there(
    destination: Destination, reference: Reference, access: Access, releases: Releases, replace: bool
) -> tuple[str | None, bool]:
    """Brings in what the place has. Its digest, None if there is nothing; and whether it has all that is published."""
    named = destination.find(RELEASES_TAG)
    if named is None:
        return None, False
    try:
        manifest = releases_manifest(named, destination.place)
        with source_of(reference, access) as source:
            artifact = ReleasesArtifact(source, manifest, access.patience)
            adopt(releases, artifact, _place(reference))
            return artifact.digest, not lacks(releases, artifact)
    except IntegrityError as error:
        if replace:
            return named.descriptor.digest, False
        raise IntegrityError(
            "the place has releases that this folder's root does not vouch for",
            where=f"{destination.place}:{RELEASES_TAG}",
            got=error,
            next_step="find out whose they are; --replace puts these in their place",
        ) from error


def _push(releases: Releases, destination: Destination, reference: Reference, before: str | None) -> str | None:
    """Sends the newest metadata and the records that they name; None if another writer was there in between."""
    folder = releases.folder / METADATA
    newest = {name: releases.versions(name)[-1] for name in ("snapshot", *releases.signing_roles())}
    metadata = [f"{version}.{name}.json" for name, version in newest.items()]
    metadata += [f"{version}.root.json" for version in releases.versions("root")]
    records = {}
    for name in releases.signing_roles():
        for path, item in releases.role(name, Targets).signed.targets.items():
            digest = item.hashes["sha256"]
            records[digest] = releases.record_file(path, digest)
    files = {file: folder / file for file in ("timestamp.json", *metadata)}
    try:
        pushed = hand_over(files, records, destination, before)
    except ToolMissingError:
        # A registry says so where the tag stands for another's at once: that is no reason to end here.
        named = destination.find(RELEASES_TAG)
        if named is None or named.descriptor.digest == before:
            raise
        return None
    if pushed is None:
        return None
    share(releases, _place(reference), {name: newest[name] for name in releases.signing_roles()})
    return pushed


def _place(reference: Reference) -> str:
    place = str(Path(reference.place).resolve()) if reference.kind == "folder" else reference.place
    return f"{place}/{reference.name}"
