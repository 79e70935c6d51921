"""Wrapping a bundle from beginning to end: check it, ask the form, put the result where it belongs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgegen.artifacts.policy import Policy
from edgegen.artifacts.sealed import digest_of
from edgegen.artifacts.wrap.forms import form_named
from edgegen.artifacts.wrap.held import Held, hold
from edgegen.core.errors import BuildError, ToolMissingError, UsageError
from edgegen.core.lazy import load
from edgegen.core.records import read_record

EARLIEST = 315_532_800
"""1980-01-01, the first moment that a zip file can say: the time of every file where nobody says another."""
_WORK_PREFIX, _NEW_S = ".wrap-", 60.0
_LATEST = 4_354_819_198
"""The last one, at the end of 2107."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a form is given besides the bundle."""

    moment: int  # seconds since 1970: the time of every file in the result
    passphrase: Callable[[str], bytes]  # path of a key -> its passphrase; asked only where the key has one


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a form made."""

    path: Path  # the file or folder, in ``work``, under the name that it is to have
    checked: tuple[str, ...] = ()  # what was checked of it and with which tool, one clause each
    not_checked: str = ""  # why its own tool did not look at it; empty: it did
    not_reproducible: str = ""  # why its bytes change from run to run; empty: they do not
    must_be_named: bool = False  # under another name its receiver refuses it
    details: Mapping[str, Any] = field(default_factory=dict)  # name and version inside, and the like: for --json


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    """A bundle in another form."""

    form: str
    path: Path
    sha256: str  # of the file; of a folder: of the lines "<sha256>  <path>\n" of its files, sorted by path
    size_bytes: int  # of all files together
    bundle: Held
    made: Made

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        manifest = self.bundle.manifest
        return {
            "schema_version": 1,
            "form": self.form,
            "path": str(self.path),
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            "digest": self.bundle.digest,
            "name": manifest.name,
            "version": manifest.version,
            "target": manifest.target,
            "signature": self.bundle.signature(),
            "bundle_checked": list(self.bundle.checked),
            "checked": list(self.made.checked),
            "not_checked": self.made.not_checked or None,
            "reproducible": not self.made.not_reproducible,
            "not_reproducible": self.made.not_reproducible or None,
            "details": dict(self.made.details),
        }


def wrap_as(
    form_name: str,
    path: Path,
    out: Path,
    options: Mapping[str, Any],
    *,
    policy: Policy | None,
    passphrase: Callable[[str], bytes],
    into: bool = False,
) -> Wrapped:
    """Checks the bundle at ``path`` and writes it in another form.

    Args:
        out: where the result goes; if a folder is there, into it under the form's own name.
        options: of the form, by name.
        policy: whom to trust; None: nobody is asked who signed.
        into: ``out`` is a folder, whether or not it is there yet.

    Raises:
        UsageError: unknown form or option, no bundle, something in the place of the result, or a name that the form
            cannot have.
        IntegrityError: the bundle does not hold, or nobody trusted vouches for it.
        BuildError: the form does not fit the bundle, its tool refuses it, or the disk is full.
        ToolMissingError: a tool or library that the form cannot do without is absent.
    """
    form = form_named(form_name)
    settings = read_record(form.settings_record(), options, "", f"--as {form_name}")
    empty = sorted(name for name, value in options.items() if value in ("", ()))
    if empty:
        raise UsageError("an option says nothing", where=f"--as {form_name}", got=", ".join(empty))
    moment = _moment()
    bundle = hold(path, policy)
    if bundle.manifest.format not in form.formats:
        raise BuildError(
            f"a bundle of this format cannot be wrapped as {form_name}",
            where=str(path),
            got=f"{bundle.manifest.format} ({bundle.manifest.candidate})",
            expected=" or ".join(form.formats),
        )
    program, _, package = form.tool.partition(" ")
    if program and shutil.which(program) is None:
        raise ToolMissingError(
            f"{program} is not installed", where=f"--as {form_name}", next_step=f"apt install {package}"
        )
    function = load(form.function, extra=form.extra or None)
    into = into or out.is_dir()
    beside = out if into else out.parent
    try:
        beside.mkdir(parents=True, exist_ok=True)
        with _work_folder(beside) as work:
            made = function(bundle, work, settings, Tools(moment=moment, passphrase=passphrase))
            sha256, size = _sum_of(made.path)
            place = _place(out / made.path.name if into else out, made)
            _readable(made.path)
            os.replace(made.path, place)
    except OSError as error:
        raise BuildError(f"the {form_name} cannot be written", where=str(out), got=error) from error
    return Wrapped(form=form_name, path=place, sha256=sha256, size_bytes=size, bundle=bundle, made=made)


@contextmanager
def _work_folder(beside: Path) -> Iterator[Path]:
    """A private folder on the disk of the result. What wraps that were killed left there is removed."""
    with tempfile.TemporaryDirectory(dir=beside, prefix=_WORK_PREFIX) as name:
        handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            for leftover in beside.glob(f"{_WORK_PREFIX}*"):
                if leftover != Path(name) and _is_abandoned(leftover):
                    shutil.rmtree(leftover, ignore_errors=True)
            yield Path(name)
        finally:
            os.close(handle)


def _is_abandoned(folder: Path) -> bool:
    """Whether nobody holds it any more; one that is quite new may not be held yet."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return time.time() - os.fstat(handle).st_mtime > _NEW_S
    except OSError:
        return False
    finally:
        os.close(handle)


def _moment() -> int:
    given = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        seconds = EARLIEST if given is None else int(given)
    except ValueError as error:
        raise UsageError("SOURCE_DATE_EPOCH is no moment", got=given, expected="seconds since 1970") from error
    if not 0 <= seconds <= _LATEST:
        raise UsageError("SOURCE_DATE_EPOCH lies too far off", got=given, expected=f"0 to {_LATEST}")
    return max(seconds, EARLIEST)


def _place(place: Path, made: Made) -> Path:
    """Where the result goes, which must be free of what would be lost."""
    if made.must_be_named and place.name != made.path.name:
        raise UsageError(
            "whoever takes this file insists on its name",
            where="--out",
            got=place.name,
            expected=f"{made.path.name}, or the folder to write it into",
        )
    taken = place.is_dir() if made.path.is_file() else os.path.lexists(place)
    if taken:
        raise UsageError(
            "something is there already", where=str(place), next_step="remove it, or name another place with --out"
        )
    return place


def _sum_of(path: Path) -> tuple[str, int]:
    if path.is_file():
        return digest_of(path)
    names = sorted(item.relative_to(path).as_posix() for item in path.rglob("*") if item.is_file())
    found = {name: digest_of(path / name) for name in names}
    lines = "".join(f"{sha256}  {name}\n" for name, (sha256, _) in found.items())
    return hashlib.sha256(lines.encode()).hexdigest(), sum(size for _, size in found.values())


def _readable(made: Path) -> None:
    """Temporary files are private; what is handed over is not. Whoever may execute a file keeps that."""
    for path in (made, *(made.rglob("*") if made.is_dir() else ())):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
