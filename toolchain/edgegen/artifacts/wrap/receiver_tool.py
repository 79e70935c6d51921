"""Calls the program of a form's receiver: what it refuses is told in its own words."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from edgegen.core.errors import BuildError, ToolMissingError

_TIMEOUT_S = 600


def run_tool(
    command: Sequence[str], package: str, *, keep_open: Sequence[int] = (), says: str = "", **variables: str
) -> str:
    """What the program says on stdout.

    Args:
        command: the program and its arguments.
        package: of Debian, that has it.
        keep_open: descriptors that the program may read from.
        says: of a program whose status cannot be believed the words that mean success.
        variables: of the environment, besides what is there.

    Raises:
        ToolMissingError: it is not installed.
        BuildError: it ends with another status than 0, or not at all.
    """
    # Times are told to the tools by name where they matter; mksquashfs refuses to be told twice.
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False,
            stdin=subprocess.DEVNULL, env={**environment, "LC_ALL": "C", **variables}, pass_fds=tuple(keep_open),
        )  # fmt: skip
    except FileNotFoundError as error:
        raise ToolMissingError(f"{command[0]} is not installed", next_step=f"apt install {package}") from error
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{command[0]} does not come to an end", got=f"{_TIMEOUT_S} s") from error
    if says not in done.stdout + done.stderr if says else done.returncode:
        raise BuildError(
            f"{' '.join(command[:2])} does not take what was made for it", got=f"{done.stdout}{done.stderr}"[-500:]
        )
    return done.stdout
