"""Where edgegen keeps what it can make again, and how large that may grow.

``EDGEGEN_CACHE`` names the folder; without it, ``$XDG_CACHE_HOME/edgegen`` or ``~/.cache/edgegen``.
``EDGEGEN_CACHE_MAX_BYTES`` caps the store (default 10 GiB); provisioned tools are not counted.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path

from edgegen.core.errors import StorageError, ToolMissingError, UsageError
from edgegen.core.locks import locked
from edgegen.core.store import Store

_DEFAULT_MAX_BYTES = 10 << 30


class Cache:
    """The cache folder: ``store/`` (stages, an OCI layout), ``tools/`` (provisioned), ``checkpoints/``."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or _default_root()
        if ":" in str(self.root):
            # The emulator finds its libraries through a search path, whose parts are separated by colons.
            raise UsageError(
                "the cache folder's path holds a colon",
                where=str(self.root),
                expected="a path without ':'",
                next_step="name another folder with EDGEGEN_CACHE",
            )
        self.tools = self.root / "tools"
        self.checkpoints = self.root / "checkpoints"

    def store(self) -> Store:
        """The store of finished stages."""
        return Store(self.root / "store")

    def in_use(self) -> AbstractContextManager[None]:
        """Held by every build: prune waits for none and refuses while one is held.

        Raises:
            StorageError: the cache's folder cannot be made or written.
        """
        got = None
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            got = error.strerror
        if got is not None or not os.access(self.root, os.W_OK):
            raise StorageError(
                "the cache cannot be written",
                where=str(self.root),
                got=got or "a read-only folder",
                next_step="EDGEGEN_CACHE=FOLDER names another",
            )
        return locked(self.root / "in-use.lock", shared=True)

    def sweep(self) -> None:
        """Removes what killed builds left half-done; does nothing while another build is at work."""
        try:
            with self.alone():
                self.store().clear_scratch()
        except ToolMissingError:
            return

    def alone(self) -> AbstractContextManager[None]:
        """Held by prune. Raises ToolMissingError while a build is running."""
        return locked(self.root / "in-use.lock", timeout_s=0)


def max_bytes() -> int:
    """The cap on the store in bytes.

    Raises:
        UsageError: the environment variable is not a positive whole number.
    """
    text = os.environ.get("EDGEGEN_CACHE_MAX_BYTES")
    if text is None:
        return _DEFAULT_MAX_BYTES
    if not text.isdecimal() or int(text) == 0:
        raise UsageError(
            "not a size",
            where="EDGEGEN_CACHE_MAX_BYTES",
            got=text,
            expected="a whole number of bytes, e.g. 10737418240",
        )
    return int(text)


def _default_root() -> Path:
    named = os.environ.get("EDGEGEN_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "edgegen"
