"""Where a key's passphrase comes from: a file, the environment, or a person at the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from edgegen.core.errors import UsageError
from edgegen.core.given_file import read_file

VARIABLE = "EDGEGEN_PASSPHRASE"
_MAX_BYTES = 4096

passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    help=f"File whose first line is the passphrase. Else: {VARIABLE}, else it is asked for.",
)


def passphrase_source(file: Path | None, key: str, *, confirm: bool = False) -> Callable[[], bytes]:
    """Gives the passphrase when it is called, and not before: not every key has one.

    Args:
        key: whose it is, for the question.
        confirm: asks twice, for a new key.
    """

    def ask() -> bytes:
        if file is not None:
            return _first_line(file)
        given = os.environ.get(VARIABLE)
        if given is not None:
            return given.encode()
        if not sys.stdin.isatty():
            raise UsageError(
                "there is nobody to ask for the passphrase", where=key, expected=f"--passphrase-file or {VARIABLE}"
            )
        text: str = click.prompt(f"Passphrase of {key}", hide_input=True, confirmation_prompt=confirm, err=True)
        return text.encode()

    return ask


def _first_line(path: Path) -> bytes:
    data = read_file(path, "the passphrase's file", limit_bytes=_MAX_BYTES)
    return data.split(b"\n", 1)[0].removesuffix(b"\r")
