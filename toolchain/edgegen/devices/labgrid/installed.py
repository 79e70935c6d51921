"""Where labgrid is on this machine, and what its failures mean to a person."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgegen.core.errors import TargetError, ToolMissingError
from edgegen.core.lazy import nearest

ENVIRONMENT, COORDINATOR = "LG_ENV", "LG_COORDINATOR"
CLIENT = "labgrid-client"

_OLD_COORDINATOR = "LG_CROSSBAR"
# What pip writes at the head of a program; where the path is long or has a blank, a shell that calls the Python.
_SHEBANG = re.compile(rb"""#!(?:/bin/sh\n'''exec' "?(?P<long>/[^"\n]+?)"? "\$0"|(?P<plain>/\S+))""")


def labgrids_python() -> str:
    """The Python that has labgrid: this one, or the one of the ``labgrid-client`` on PATH.

    Raises:
        ToolMissingError: neither has it.
    """
    if importlib.util.find_spec("labgrid") is not None:
        return sys.executable
    client = shutil.which(CLIENT)
    if client is not None:
        with Path(client).open("rb") as stream:
            head = _SHEBANG.match(stream.read(4096))
        if head:
            return os.fsdecode(head["plain"] or head["long"])
    raise ToolMissingError(
        "labgrid is not installed",
        got=f"{client} does not say which Python has it" if client else None,
        expected=f"a {CLIENT} on PATH, or labgrid in edgegen's own environment",
        next_step="pipx install labgrid, or pip install 'edgegen[labgrid]'",
    )


def check_coordinator() -> str:
    """What a person does where it does not answer."""
    old = os.environ.get(_OLD_COORDINATOR)
    if old and not os.environ.get(COORDINATOR):
        return f"set {COORDINATOR}=HOST:20408; {_OLD_COORDINATOR} is of labgrid before 25, whose coordinator is another"
    return f"check that labgrid-coordinator runs there, and {COORDINATOR}; `{CLIENT} places` must answer"


def failure(asked: str, told: Mapping[str, Any]) -> TargetError | ToolMissingError:
    """The error for what the keeper says of its failure."""
    where, got = f"labgrid:{asked}", str(told.get("text", ""))
    names: Sequence[str] = [str(name) for name in told.get("names", [])]
    known = f"one of {', '.join(names)}{nearest(asked, names)}" if names else None
    why = told.get("why")
    if why == "unknown":
        return TargetError(
            "the labgrid coordinator has no such place",
            where=f"{where} at {got}",
            got=asked,
            expected=known or "a place; it has none",
            next_step=f"{CLIENT} places",
        )
    if why == "target":
        return TargetError("labgrid's environment file has no such target", where=got, got=asked, expected=known)
    if why == "environment":
        return TargetError("labgrid's environment file cannot be used", where=where, got=got, next_step=ENVIRONMENT)
    if why == "token":
        return ToolMissingError(
            "no labgrid place is reserved with this token",
            where=where,
            got=got or "no token",
            next_step=f"{CLIENT} reserve, then {CLIENT} wait TOKEN until it has one",
        )
    if why == "coordinator":
        return ToolMissingError(
            "the labgrid coordinator does not answer", where=where, got=got, next_step=check_coordinator()
        )
    return ToolMissingError(
        "the labgrid place has not all that it is said to have",
        where=where,
        got=got,
        next_step=f"see that its labgrid-exporter runs; `{CLIENT} -p {asked} show` tells",
    )
