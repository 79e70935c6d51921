"""The inventory: boards by name, in a file of the person's or the lab's.

``EDGEGEN_BOARDS`` names the file; without it, ``$XDG_CONFIG_HOME/edgegen/boards.toml`` or
``~/.config/edgegen/boards.toml``.

    schema_version = 1

    [boards.kitchen]
    url = "ssh://pi@10.0.0.7"
    target = "raspberrypi4"
    tags = ["lab"]

    [boards.bench]
    url = "serial:///dev/serial/by-id/usb-STMicroelectronics_STLINK-V3"
    target = "nucleo-l4r5zi"
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgegen.core.errors import UsageError
from edgegen.core.given_file import read_toml
from edgegen.core.records import read_record, setting
from edgegen.core.targets import alias_of, target_names

VARIABLE = "EDGEGEN_BOARDS"
_MAX_BYTES, _MAX_BOARDS = 1 << 20, 1000
SCHEMES = ("ssh", "labgrid", "serial", "rfc2217", "socket", "qemu")
"""What the URL of a board may begin with: kinds of device that are somewhere."""

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardEntry:
    """A board of the inventory."""

    url: str = setting(
        doc="where it is: ssh://user@host[:port], labgrid:PLACE, serial:///dev/ttyACM0, rfc2217://host:port, "
        "socket://host:port, or qemu: for the target's emulation"
    )
    target: str = setting(doc="name of its target profile")
    tags: tuple[str, ...] = setting((), doc="words that `board:tag=WORD` finds it by")
    emulated: bool = setting(False, doc="whatever it looks like, it is no real machine: no times are measured")
    energy: str = setting("", doc="port of the energy monitor in its supply, e.g. /dev/ttyACM0; empty: it has none")
    energy_calibrated: datetime.date | None = setting(
        None, doc="day on which the energy monitor was last calibrated; without it, or a year later, nothing is metered"
    )
    ssh_config: str = setting("", doc="a configuration file of the ssh client, instead of the user's own")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The file."""

    schema_version: Literal[1] = setting(doc="format of the file")
    boards: Mapping[str, BoardEntry] = setting({}, doc="name -> board")


def inventory_file() -> Path:
    """Where the inventory is, whether or not there is one."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "edgegen" / "boards.toml"


def read_inventory(path: Path | None = None) -> Mapping[str, BoardEntry]:
    """The boards by name; none where there is no file.

    Raises:
        UsageError: a file that cannot be read, or an entry that contradicts itself.
    """
    path = path or inventory_file()
    if not path.exists():
        return {}
    table = read_toml(path, "the inventory", limit_bytes=_MAX_BYTES)
    boards = read_record(Inventory, table, "", str(path)).boards
    if len(boards) > _MAX_BOARDS:
        raise UsageError("too many boards", where=str(path), got=len(boards), expected=f"at most {_MAX_BOARDS}")
    for name, entry in boards.items():
        _check(name, entry, str(path))
    return boards


def boards_of(target: str, boards: Mapping[str, BoardEntry]) -> dict[str, BoardEntry]:
    """Those of a target, which may be called by an alias there."""
    return {name: entry for name, entry in boards.items() if _resolved(entry.target) == target}


def _check(name: str, entry: BoardEntry, path: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(
            "not a board's name",
            where=path,
            got=repr(name[:80]),
            expected="letters, digits, '.', '_' and '-', at most 64",
        )
    scheme, colon, _ = entry.url.partition(":")
    where = f"{path}, [boards.{name}]"
    if not colon or scheme not in SCHEMES:
        raise UsageError(
            "no URL that a board of the inventory is reached by",
            where=where,
            got=entry.url,
            expected=f"one that begins with {', '.join(f'{known}:' for known in SCHEMES)}",
        )
    if entry.ssh_config and scheme not in ("ssh", "labgrid"):
        raise UsageError("ssh_config is for a board that is reached by ssh", where=where, got=entry.url)
    if entry.energy and scheme == "qemu":
        raise UsageError("an emulation has no supply to be metered", where=where, got=entry.energy)


def _resolved(target: str) -> str:
    """The profile's own name; a target of a project is not known here and keeps its name."""
    if target not in target_names():
        return target
    return alias_of(target) or target
