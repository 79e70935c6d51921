"""What a device remembers over a power cut: small JSON files with a checksum, replaced in one step."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgegen_runtime.disk import Disk, replace_durably
from edgegen_runtime.strict import RefusedError, strict_json

SLOTS = ("a", "b")
FIRST_TRIES = 3

_MAX_BYTES = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotState:
    """Which slot is the device's model, and which may become it."""

    sequence: int = 0  # counts up with every change
    active: str | None = None  # the slot that was proven here last
    pending: str | None = None  # a slot that was installed and has yet to prove itself
    tries: int = 0  # boots that the pending one has left
    confirmed: Mapping[str, str] = field(default_factory=dict)  # slot -> digest of a bundle that proved itself in it
    minimum_version: str | None = None  # the newest version that proved itself
    failed: str | None = None  # digest of the last bundle that did not
    failed_why: str = ""


def read_slot_state(folder: Path) -> SlotState:
    """The newer of the two copies that are whole; a fresh state where there is none.

    Raises:
        RefusedError: there are copies, and none is whole.
    """
    found, broken = [], []
    for path in _copies(folder):
        try:
            table = read_kept(path)
        except RefusedError as error:
            broken.append(str(error))
            continue
        if table is not None:
            found.append(_slot_state(table, path.name))
    if broken and not found:
        raise RefusedError(f"what the device remembers is damaged: {'; '.join(broken)}")
    return max(found, key=lambda state: state.sequence, default=SlotState())


def write_slot_state(disk: Disk, folder: Path, state: SlotState) -> None:
    """Writes over the older copy: the newer one is whole whatever happens to this write."""
    write_kept(disk, _copies(folder)[state.sequence % 2], asdict(state))


def read_kept(path: Path) -> dict[str, Any] | None:
    """What a file holds, or None if there is no such file.

    Raises:
        RefusedError: it is damaged.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RefusedError(f"{path.name} cannot be read: {error.strerror}") from error
    head, _, body = data.partition(b"\n")
    if head != _checksum(body):
        raise RefusedError(f"{path.name} is damaged: its checksum does not hold")
    return strict_json(body, path.name)


def write_kept(disk: Disk, path: Path, table: Mapping[str, Any]) -> None:
    """Replaces a file in one step and returns when it is on the disk. Raises OSError."""
    body = json.dumps(table, sort_keys=True, allow_nan=False).encode()
    replace_durably(disk, path, _checksum(body) + b"\n" + body)


def _copies(folder: Path) -> tuple[Path, Path]:
    return folder / "state.0", folder / "state.1"


def _checksum(body: bytes) -> bytes:
    return b"crc32 %08x" % zlib.crc32(body)


def _slot_state(table: Mapping[str, Any], what: str) -> SlotState:
    if set(table) != set(asdict(SlotState())):
        raise RefusedError(f"{what} is of another version of this program")
    slots = (table["active"], table["pending"], *table["confirmed"])
    if not all(slot in (None, *SLOTS) for slot in slots):
        raise RefusedError(f"{what} names a slot that is none")
    return SlotState(**table)
