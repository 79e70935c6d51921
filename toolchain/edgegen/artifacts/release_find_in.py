"""What is current, in whatever place has releases: a registry, a folder, a web server, or a repository as it is."""

from __future__ import annotations

import ssl
import urllib.error
from pathlib import Path

from edgegen.artifacts.registry_reference import Reference, parse_reference
from edgegen.artifacts.release_artifact import find_releases
from edgegen.artifacts.release_fetch import ArtifactFetcher
from edgegen.artifacts.release_find import current_release, find_release
from edgegen.artifacts.release_place import state_folder
from edgegen.artifacts.release_records import METADATA, Release
from edgegen.artifacts.transfer_places import Access, source_of
from edgegen.core.errors import ToolMissingError, UsageError
from edgegen_runtime.sources import WebSource
from edgegen_runtime.strict import UnreachableError

PLAIN_STATE = Path("release-state")
_LAYOUT_FILE = "oci-layout"
_STABLE = "stable"


def find_in(
    place: str,
    access: Access,
    *,
    target: str,
    name: str,
    channel: str | None = None,
    state: Path | None = None,
    root: Path | None = None,
) -> Release:
    """The current release of a name for a target.

    Args:
        place: a place that bundles are pulled from, with a channel or without; or a repository as it is, in a folder
            or on a web server.
        channel: where the place names none; None: stable.
        state: keeps what was seen. None: the folder that ``pull`` has for the place, for a repository as it is
            ``PLAIN_STATE``.
        root: the first root metadata; needed where ``state`` is new.

    Raises:
        UsageError: no such place, two channels, or ``root`` is missing.
        ToolMissingError: the place does not answer, or has no such release.
        IntegrityError: what it has must not be believed, and why.
    """
    reference = parse_reference(place)
    if reference.digest is not None or (channel and reference.tag and channel != reference.tag):
        raise UsageError("not one channel", got=f"{place[:200]} --channel {channel}", expected="PLACE[:CHANNEL]")
    wanted = reference.tag or channel or _STABLE
    if _as_it_is(reference):
        kept = state or PLAIN_STATE
        return find_release(reference.place, kept, target=target, channel=wanted, name=name, root=root)
    with source_of(reference, access) as source:
        artifact = find_releases(source, access.patience)
        if artifact is None:
            raise ToolMissingError("the place has no releases", where=source.place)
        kept = state or state_folder(reference)
        fetcher = ArtifactFetcher(artifact)
        return current_release(fetcher, kept, artifact.place, target=target, channel=wanted, name=name, root=root)


def _as_it_is(reference: Reference) -> bool:
    """Whether a repository's own files lie there, and no layout of bundles."""
    if reference.kind == "folder":
        return not (Path(reference.place) / _LAYOUT_FILE).exists()
    return reference.kind == "web" and _web_has(reference.place, f"{METADATA}/timestamp.json")


def _web_has(address: str, file: str) -> bool:
    """False where the server has no such file, or nobody but ``--ca`` knows its authority."""
    try:
        with WebSource(address).open(file):
            return True
    except UnreachableError as error:
        cause = error.__cause__
        answered = isinstance(cause, urllib.error.HTTPError)
        if answered or isinstance(getattr(cause, "reason", None), ssl.SSLCertVerificationError):
            return False
        raise ToolMissingError("the place does not answer", where=address, got=error) from error
