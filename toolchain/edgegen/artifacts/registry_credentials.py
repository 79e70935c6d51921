"""Names and passwords from where docker, podman and skopeo keep them; edgegen keeps none of its own.

Looked at in this order: ``$REGISTRY_AUTH_FILE``, ``$DOCKER_CONFIG/config.json``, ``~/.docker/config.json``,
``$XDG_RUNTIME_DIR/containers/auth.json``. In each: ``credHelpers`` of the host, ``auths`` of the host, ``credsStore``.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.core.errors import ToolMissingError, UsageError

_MAX_FILE_BYTES = 1 << 20
_MAX_ANSWER_BYTES = 64 << 10
_HELPER_SECONDS = 60
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TOKEN_USER = "<token>"  # what a helper answers for a name where the secret is an identity token
_NOT_FOUND = "credentials not found"  # a helper's way to say that it knows nothing of a host


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What proves who one is: a name and a password, or an identity token."""

    user: str
    secret: str
    is_token: bool = False

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r}, secret=…)"

    def basic(self) -> str:
        """The ``Authorization`` header of RFC 7617."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.secret}".encode()).decode()


def find_credentials(host: str) -> Credentials | None:
    """Those for a registry's host (with its port), or None.

    Raises:
        UsageError: a configuration file that cannot be read.
        ToolMissingError: a credential helper is missing or fails.
    """
    for path in _files():
        found = _in_file(path, host)
        if found is not None:
            return found
    return None


def _files() -> Iterator[Path]:
    named = os.environ.get("REGISTRY_AUTH_FILE")
    if named:
        yield Path(named)
    docker = os.environ.get("DOCKER_CONFIG")
    yield (Path(docker) if docker else Path.home() / ".docker") / "config.json"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        yield Path(runtime) / "containers" / "auth.json"


def _in_file(path: Path, host: str) -> Credentials | None:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
        config = json.loads(data)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise _unusable(path, error) from error
    if len(data) > _MAX_FILE_BYTES or not isinstance(config, dict):
        raise _unusable(path, "not a JSON object of at most 1 MiB")
    helper = _table(config, "credHelpers", path).get(host)
    if helper is not None:
        return _ask_helper(helper, host, path)
    auths = _table(config, "auths", path)
    for name in (host, f"https://{host}", f"http://{host}", f"https://{host}/v1/", f"https://{host}/v2/"):
        entry = auths.get(name)
        # With a store, `docker login` leaves an empty entry behind.
        if isinstance(entry, dict) and (entry.get("auth") or entry.get("identitytoken")):
            return _entry(entry, path)
    store = config.get("credsStore")
    return None if store is None else _ask_helper(store, host, path)


def _entry(entry: Mapping[str, Any], path: Path) -> Credentials:
    token, auth = entry.get("identitytoken"), entry.get("auth", "")
    if isinstance(token, str) and token:
        return Credentials(user=_TOKEN_USER, secret=token, is_token=True)
    try:
        user, colon, secret = base64.b64decode(auth, validate=True).decode().partition(":")
    except (binascii.Error, ValueError, TypeError):
        colon = ""
    if not colon:
        raise _unusable(path, "an auth that is not the base64 of NAME:PASSWORD")
    return Credentials(user=user, secret=secret.rstrip("\x00"))


def _ask_helper(name: object, host: str, path: Path) -> Credentials | None:
    """Runs ``docker-credential-NAME get``: the host on stdin, a JSON object on stdout."""
    if not isinstance(name, str) or not _HELPER.fullmatch(name):
        raise _unusable(path, f"a credential helper named {name!r}"[:200])
    program = shutil.which(f"docker-credential-{name}")
    if program is None:
        raise ToolMissingError(
            "a credential helper is missing", where=f"docker-credential-{name}", expected=f"it, as {path} names it"
        )
    try:
        done = subprocess.run(
            [program, "get"], input=host.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolMissingError("a credential helper cannot be asked", where=program, got=error) from error
    said = done.stdout[:_MAX_ANSWER_BYTES]
    if done.returncode != 0:
        words = (said + done.stderr[:_MAX_ANSWER_BYTES]).decode(errors="replace")
        if _NOT_FOUND in words.lower():
            return None
        raise ToolMissingError("a credential helper failed", where=program, got=words)
    try:
        answer = json.loads(said)
        user, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError) as error:
        # What it said may hold a password: the error tells its kind alone.
        raise ToolMissingError("a credential helper's answer is unusable", where=program) from error
    if not isinstance(user, str) or not isinstance(secret, str):
        raise ToolMissingError("a credential helper's answer is unusable", where=program)
    return Credentials(user=user, secret=secret, is_token=user == _TOKEN_USER)


def _table(config: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    table = config.get(key) or {}
    if not isinstance(table, dict):
        raise _unusable(path, f"{key} is no object")
    return table


def _unusable(path: Path, got: object) -> UsageError:
    return UsageError("the file of registry credentials cannot be used", where=str(path), got=got)
