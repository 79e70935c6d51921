"""Which of a channel's bundles a device takes: the newest that fits it, and of one version its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from edgegen.artifacts.release_records import Release
from edgegen.core.errors import IntegrityError, ToolMissingError, UsageError
from edgegen.core.fitting import why_not
from edgegen.core.profile import TargetProfile
from edgegen.core.targets import load_target, target_names
from edgegen_runtime.strict import RefusedError
from edgegen_runtime.version_order import version_order


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A release for a device, and why it was not another."""

    release: Release
    device: str  # that it is for, or that it fits
    passed: tuple[tuple[Release, str], ...]


def choose(
    releases: Sequence[Release],
    device: str | None,
    *,
    name: str | None,
    repository: str,
    recalled: Collection[str],
    where: str,
) -> Choice:
    """The release that a device takes of a channel's.

    Args:
        device: name of the target; None does where all are for one.
        name: of the project; None: the only one, or the one that the repository is called after.
        repository: last part of the place's name.
        recalled: digests that were taken back.

    Raises:
        UsageError: there are several names or targets, and none was asked for.
        ToolMissingError: nothing in the channel fits.
        IntegrityError: everything that fits was recalled.
    """
    wanted = _name(releases, name, repository, where)
    named = [item for item in releases if item.name == wanted]
    if device is None:
        device = _only(sorted({item.target for item in named}), "targets", "--target", where)
    fitting, passed = list[Release](), list[tuple[Release, str]]()
    for item in named:
        reason = _why_not(item, device, recalled)
        if reason is None:
            fitting.append(item)
        else:
            passed.append((item, reason))
    best = max(fitting, key=lambda item: _rank(item, device), default=None)
    if best is None:
        said = "; ".join(f"{item.text()}: {reason}" for item, reason in passed)
        if any(item.digest in recalled for item, _ in passed):
            raise IntegrityError(
                "recalled: no release is left that fits the device", where=where, got=said,
                next_step="wait for a higher version",
            )  # fmt: skip
        raise ToolMissingError("no release fits the device", where=where, got=said or None, expected=device)
    passed += [(item, f"{best.version} for {best.target} comes first") for item in fitting if item is not best]
    return Choice(release=best, device=device, passed=tuple(passed))


def _name(releases: Sequence[Release], name: str | None, repository: str, where: str) -> str:
    names = sorted({item.name for item in releases})
    if name is not None:
        if name not in names:
            raise ToolMissingError("no such release", where=where, got=name, expected=", ".join(names) or None)
        return name
    return repository if repository in names else _only(names, "names", "--name", where)


def _only(found: Sequence[str], what: str, option: str, where: str) -> str:
    if len(found) != 1:
        raise UsageError(
            f"the channel has releases of several {what}", where=where, got=", ".join(found)[:300],
            next_step=f"choose one with {option}",
        )  # fmt: skip
    return found[0]


def _why_not(release: Release, device: str, recalled: Collection[str]) -> str | None:
    if release.target != device:
        made_for, own = _profile(release.target), _profile(device)
        if made_for is None or own is None:
            return f"for {release.target}, and no profile says that it fits {device}"
        reason = why_not(made_for, own, release.format, release.runtime)
        if reason is not None:
            return reason
    if release.digest in recalled:
        return "recalled"
    try:
        version_order(release.version)
    except RefusedError:
        return "its version cannot be put in order"
    return None


def _rank(release: Release, device: str) -> tuple[object, bool, int, str]:
    """Newest first; of one version the device's own, then what was made for most."""
    made_for = _profile(release.target)
    features = 0 if made_for is None or made_for.core is None else len(made_for.core.features)
    return version_order(release.version), release.target == device, features, release.target


def _profile(name: str) -> TargetProfile | None:
    return load_target(name) if name in target_names() else None
