"""What a place's releases say of its bundles: which one a channel stands for, and which were taken back.

Whom to trust is said once, by the root metadata that a person gives; from then on a folder keeps what was seen. Where
that was said, a place without releases is refused, and a tag counts only as a channel or as its bundle's version: so
whoever can write tags and has no key cannot bring back what was replaced.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgegen.artifacts.registry_patience import Patience
from edgegen.artifacts.registry_reference import Reference, tag_of_version
from edgegen.artifacts.release_artifact import ReleasesArtifact, find_releases, unchecked
from edgegen.artifacts.release_choice import Choice, choose
from edgegen.artifacts.release_records import Statement, is_begun, recalls_in, release_path, releases_in
from edgegen.artifacts.transfer import Source
from edgegen.artifacts.verify import Verified
from edgegen.core.errors import IntegrityError, ToolMissingError, UsageError
from edgegen.core.lazy import load
from edgegen_runtime.trust import TIME_FORM


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusting:
    """From where trust in a place's releases comes, and where what was seen is kept."""

    state: Path
    root: Path | None = None  # the first root metadata, where this is the first time

    @property
    def begun(self) -> bool:
        """Whether anybody said whom to trust, now or before."""
        return self.root is not None or is_begun(self.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a place says of its bundles."""

    statements: tuple[Statement, ...]
    expires_on: datetime | None  # None: nobody said whom to trust, so this was not checked

    def document(self, digest: str | None) -> dict[str, Any]:
        """For machines: channels and recalls, and what of it is about the bundle with ``digest``."""
        releases, recalls = releases_in(self.statements), recalls_in(self.statements)
        return {
            "checked": self.expires_on is not None,
            "expires_on": None if self.expires_on is None else self.expires_on.astimezone(UTC).strftime(TIME_FORM),
            "channels": [asdict(item) for item in releases],
            "recalled": [asdict(item) for item in recalls.values()],
            "current_in": sorted({item.channel for item in releases if item.digest == digest}),
            "is_recalled": digest in recalls,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to ask a place for, and what it must be. See ``wanted``."""

    reference: str  # tag or digest
    target: str | None
    tag: str | None = None  # must be the version of the bundle
    choice: Choice | None = None  # of a channel
    shadowed: bool = False  # a plain tag is called like the channel; the channel counts
    listing: Listing | None = None
    unasked: bool = False  # the place has releases, and nobody said whose are trusted
    seen_as: tuple[Path, str] | None = None  # state, and under which key the version is kept

    def check(self, verified: Verified) -> None:
        """Refuses a bundle that is not what the releases say, was recalled, or is older than one that was taken.

        Raises:
            IntegrityError: with the reason.
        """
        told = verified.manifest
        if self.listing is not None:
            check_recalled(self.listing.statements, verified.digest)
        if self.tag is not None and tag_of_version(told.version) != self.tag:
            raise IntegrityError(
                "the tag is no channel, and not the version of the bundle that it stands for", got=self.tag,
                expected=told.version, next_step="name a channel, or the bundle's version",
            )  # fmt: skip
        if self.choice is not None:
            release = self.choice.release
            if (told.name, told.version, told.target) != (release.name, release.version, release.target):
                raise IntegrityError(
                    "the bundle is not the one that was released", got=f"{told.name} {told.version} for {told.target}",
                    expected=release.text(),
                )  # fmt: skip
            if self.seen_as is not None:
                load("edgegen.artifacts.release_find:remember", extra="trust")(*self.seen_as, release.version)


def state_folder(reference: Reference) -> Path:
    """Where what was seen of a place is kept: ``EDGEGEN_STATE``, else beside what programs remember of a user."""
    kept = os.environ.get("EDGEGEN_STATE")
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "edgegen"
    place = str(Path(reference.place).resolve()) if reference.kind == "folder" else reference.place
    name = hashlib.sha256(f"{place}/{reference.name}".encode()).hexdigest()[:16]
    slug = re.sub(r"[^a-z0-9]+", "-", reference.short_name.lower())[:40]
    return (Path(kept) if kept else home) / "releases" / f"{slug}-{name}"


def check_recalled(statements: Sequence[Statement], digest: str) -> None:
    """Raises IntegrityError if a bundle was taken back."""
    found = recalls_in(statements).get(digest)
    if found is not None:
        raise IntegrityError(
            f"recalled: {found.name} {found.version} for {found.target} was taken back: {found.reason}", got=digest,
            next_step="take a higher version; edgegen inspect shows what is current",
        )  # fmt: skip


def listing_of(source: Source, trusting: Trusting, patience: Patience) -> Listing | None:
    """What a place says of its bundles; None if it says nothing and nobody said whom to trust.

    Raises:
        ToolMissingError: the place does not answer, or has no releases though somebody said whom to trust.
        IntegrityError: what it says must not be believed.
    """
    artifact = _artifact(source, trusting, patience)
    if artifact is None:
        return None
    if not trusting.begun:
        return Listing(statements=tuple(unchecked(artifact)), expires_on=None)
    with _trusted(artifact, trusting) as believed:
        return Listing(statements=tuple(believed.statements()), expires_on=believed.expires_on)


def trusted_listing(source: Source, trusting: Trusting, patience: Patience) -> Listing:
    """As ``listing_of``, where somebody must have said whom to trust.

    Raises:
        UsageError: nobody said so.
    """
    found = listing_of(source, trusting, patience)
    if found is None:
        raise ToolMissingError("the place has no releases", where=source.place)
    if found.expires_on is None:
        raise _nobody_said(source.place)
    return found


def wanted(
    source: Source,
    reference: Reference,
    trusting: Trusting,
    *,
    target: str | None,
    name: str | None,
    recalled: Collection[str],
    patience: Patience,
) -> Wanted:
    """What a reference means: a channel, where the place's releases have one of that name, else a tag or a digest.

    Args:
        target: the device.
        name: of the project, where a channel has several.
        recalled: digests that were taken back beside those of the releases.

    Raises:
        UsageError: the tag is a channel and nobody said whom to trust, or it is not clear which release is meant.
        ToolMissingError: the place does not answer, or has no such channel or release.
        IntegrityError: the releases must not be believed, or what fits was recalled.
    """
    plain = Wanted(reference=reference.wanted, target=target)
    if reference.digest is not None and not trusting.begun:
        return plain
    artifact = _artifact(source, trusting, patience)
    if artifact is None:
        return plain
    if not trusting.begun:
        if any(item.channel == reference.wanted for item in releases_in(unchecked(artifact))):
            raise _nobody_said(reference.text())
        return replace(plain, unasked=True)
    with _trusted(artifact, trusting) as believed:
        listing = Listing(statements=tuple(believed.statements()), expires_on=believed.expires_on)
        if reference.digest is not None:
            return replace(plain, listing=listing)
        channel = reference.wanted
        current = releases_in(listing.statements, channel)
        shadowed = source.find(channel) is not None
        if not current and shadowed:
            return replace(plain, tag=channel, listing=listing)
        if not current:
            known = sorted({item.channel for item in releases_in(listing.statements)})
            raise ToolMissingError(
                "there is no such channel, or nothing in it", where=source.place, got=channel,
                expected=", ".join(known) or None, next_step="edgegen inspect shows channels, and what was recalled",
            )  # fmt: skip
        taken_back = {*recalled, *recalls_in(listing.statements)}
        where = f"{source.place}, {channel}"
        choice = choose(current, target, name=name, repository=reference.short_name, recalled=taken_back, where=where)
        # python-tuf has the last word: it looks for the record by its path, and fetches it.
        if believed.release(choice.release.path) != choice.release:
            raise IntegrityError("a record is not what the metadata say of it", where=where, got=choice.release.path)
        seen_as = (trusting.state, release_path(choice.device, channel, choice.release.name))
        load("edgegen.artifacts.release_find:check_seen", extra="trust")(*seen_as, choice.release.version)
    return Wanted(
        reference=choice.release.digest,
        target=choice.release.target,
        choice=choice,
        shadowed=shadowed,
        listing=listing,
        seen_as=seen_as,
    )


def _nobody_said(where: str) -> UsageError:
    return UsageError(
        "nobody said whose releases are trusted here",
        where=where,
        next_step="give --root FILE, the 1.root.json of whoever releases; once is enough",
    )


def _artifact(source: Source, trusting: Trusting, patience: Patience) -> ReleasesArtifact | None:
    found = find_releases(source, patience)
    if found is None and trusting.begun:
        raise ToolMissingError(
            "the place has no releases, and somebody said here that it has",
            where=source.place,
            next_step=f"if it never had, leave --root away; what is known of it is in {trusting.state}",
        )
    return found


def _trusted(artifact: ReleasesArtifact, trusting: Trusting) -> Any:
    fetcher = load("edgegen.artifacts.release_fetch:ArtifactFetcher", extra="trust")(artifact)
    return load("edgegen.artifacts.release_find:trusted", extra="trust")(
        fetcher, trusting.state, trusting.root, artifact.place
    )
