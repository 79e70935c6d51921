"""What ``inspect`` tells of a place that has releases: its channels, and the bundle that is looked at among them."""

from __future__ import annotations

from typing import Any

from edgegen.artifacts.registry_patience import Patience
from edgegen.artifacts.registry_reference import Reference
from edgegen.artifacts.release_choice import choose
from edgegen.artifacts.release_place import Trusting, listing_of
from edgegen.artifacts.release_records import recalls_in, releases_in
from edgegen.artifacts.transfer import Source
from edgegen.artifacts.transfer_look import look


def look_at(
    source: Source,
    reference: Reference,
    trusting: Trusting,
    *,
    target: str | None,
    name: str | None,
    patience: Patience,
) -> dict[str, Any]:
    """As ``look``, with what the place's releases say under ``releases``; None where it has none.

    A channel is looked at as ``pull`` would take it; of one that several devices read, and of a place without the
    tag ``latest``, the releases alone are told.

    Raises:
        ToolMissingError: the place does not answer, or has no such artifact.
        IntegrityError: something is not what its digest says, or the releases must not be believed.
    """
    listing = listing_of(source, trusting, patience)
    if listing is None:
        return {**look(source, reference.wanted, target, patience), "releases": None}
    asked, device = reference.wanted, target
    current = [] if reference.digest else releases_in(listing.statements, reference.tag or "")
    alone = reference.tag is None and reference.digest is None and source.find(asked) is None
    if current:
        targets = {item.target for item in current if name in (None, item.name)}
        alone = target is None and len(targets) > 1
        if not alone:
            recalled = recalls_in(listing.statements)
            where = f"{source.place}, {asked}"
            choice = choose(current, target, name=name, repository=reference.short_name, recalled=recalled, where=where)
            asked, device = choice.release.digest, choice.release.target
    if alone:
        found: dict[str, Any] = {"schema_version": 1, "place": source.place, "reference": asked}
        found |= {"digest": None, "targets": [], "bundle": None}
    else:
        found = look(source, asked, device, patience)
    bundle = found["bundle"]
    shown = bundle["digest"] if isinstance(bundle, dict) else None
    return {**found, "reference": reference.wanted, "releases": listing.document(shown)}
