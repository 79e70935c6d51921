"""Pulls what a reference means: of a channel what its releases say, and nothing that the policy or they refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edgegen.artifacts.policy import Policy, Trust, check_policy
from edgegen.artifacts.registry_patience import Patience
from edgegen.artifacts.registry_reference import Reference
from edgegen.artifacts.release_place import Trusting, Wanted, wanted
from edgegen.artifacts.transfer import MAX_ARTIFACT_BYTES, Source
from edgegen.artifacts.transfer_pull import Pulled, pull
from edgegen.artifacts.verify import Verified
from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A bundle that is here now, and why it is this one."""

    pulled: Pulled
    wanted: Wanted
    trust: Trust | None  # who vouches for it; None: no policy was given


def take(
    source: Source,
    reference: Reference,
    out: Path,
    trusting: Trusting,
    *,
    target: str | None,
    policy: Policy | None,
    now: datetime,
    progress: Progress,
    patience: Patience,
    name: str | None = None,
    max_bytes: int = MAX_ARTIFACT_BYTES,
    prove: Callable[[Path], object] | None = None,
) -> Taken:
    """The bundle of a channel, tag or digest in ``out``, as ``pull`` leaves it there.

    Args:
        target: the device. Of a channel the newest bundle that fits it is taken, else one that is for it.
        policy: whom to trust for what; it is asked before anything gets its final name.
        now: what time it is, UTC.
        name: of the project, where a channel has several.

    Raises:
        UsageError: ``out`` is the very folder that is pulled from.
        EdgegenError: as ``wanted``, ``pull`` and ``check_policy`` have it.
    """
    if reference.kind == "folder" and out.resolve() == Path(reference.place).resolve():
        raise UsageError(
            "a bundle cannot be put into the folder that it comes from", where=str(out), next_step="--out DIR"
        )
    recalled = policy.recalled if policy else ()
    meant = wanted(source, reference, trusting, target=target, name=name, recalled=recalled, patience=patience)
    trusts: list[Trust] = []

    def admit(verified: Verified) -> None:
        if policy is not None:
            trusts.append(check_policy(verified, policy, now))
        meant.check(verified)

    pulled = pull(
        source,
        meant.reference,
        out,
        target=meant.target,
        progress=progress,
        patience=patience,
        max_bytes=max_bytes,
        admit=admit,
        prove=prove,
    )
    return Taken(pulled=pulled, wanted=meant, trust=trusts[0] if trusts else None)
