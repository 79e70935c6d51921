"""The sets that ship with edgegen: found by name, verified against their manifest before they are opened."""

from __future__ import annotations

from pathlib import Path

from edgegen.core.digests import sha256_file
from edgegen.core.errors import IntegrityError, UsageError
from edgegen.core.lazy import nearest
from edgegen.core.share import share_dir
from edgegen.data.manifest import SetManifest, read_manifest

DEFAULT_SET = "mnist-digits"


def set_names() -> list[str]:
    """Names of the shipped sets, sorted."""
    return sorted(path.parent.name for path in share_dir("calibration_data").glob("*/manifest.toml"))


def verified_set(name: str) -> tuple[SetManifest, Path]:
    """The manifest and the file of a shipped set; the file is hashed and must be what it should.

    Raises:
        UsageError: there is no set of that name.
        IntegrityError: the file is missing or is not the one that the manifest names.
    """
    known = set_names()
    if name not in known:
        raise UsageError(
            f"unknown data set {name!r}",
            where="[data] set",
            got=name,
            expected=f"one of {', '.join(known)}{nearest(name, known)}",
            next_step="name a file of your own with [data] source",
        )
    folder = share_dir("calibration_data") / name
    manifest = read_manifest(folder / "manifest.toml")
    path = folder / manifest.file
    found = sha256_file(path) if path.is_file() else "no file"
    if found != manifest.sha256:
        raise IntegrityError(
            "a shipped data set is not the one that its manifest names",
            where=str(path),
            got=found,
            expected=manifest.sha256,
            next_step="reinstall edgegen, or restore the file from version control",
        )
    return manifest, path
