"""``python -m edgegen_runtime``: run a model over an npz file, or clock it; one JSON object on stdout.

``python -m edgegen_runtime generate`` lets a model of sequences go on with a text: see ``generate_command``.
``verify`` says whether this device may run a bundle, ``self-test`` runs its golden vectors, ``update`` brings a new
one: see their modules. What only looks at bytes and signatures does without numpy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from enum import IntEnum
from importlib import import_module
from typing import TextIO

from edgegen_runtime.errors import (
    ArgumentsError,
    ArraysError,
    InputsError,
    ModelRefusedError,
    PreprocessError,
    RuntimeMissingError,
)
from edgegen_runtime.strict import RefusedError, UnreachableError

_COMMANDS = {
    "generate": "generate_command",
    "verify": "verify_command",
    "self-test": "packaged",
    "update": "update_command",
}


class Status(IntEnum):
    """Exit statuses; those of the native runner mean the same."""

    DONE = 0
    BAD_INPUT = 2  # arguments, or arrays that do not fit the model
    MODEL_REFUSED = 3
    NO_RUNTIME = 4  # or no source of an update
    NO_ROOM = 5  # memory or disk
    NOT_TRUSTED = 6  # damaged, not signed by a known key, for another device, older than what was here, failed


def main(argv: list[str] | None = None) -> int:
    """Runs one action and returns a ``Status``; what went wrong is one line on stderr."""
    given = sys.argv[1:] if argv is None else argv
    name = _COMMANDS.get(given[0]) if given else None
    try:
        command = import_module(f"{__package__}.{name or 'run_command'}")
    except ModuleNotFoundError as error:  # numpy, which a device that verifies alone does without
        return _failed(Status.NO_RUNTIME, error)
    arguments = command.parse(given if name is None else given[1:])
    return _run(lambda stdout: command.act(arguments, stdout))


def _run(action: Callable[[TextIO], None]) -> int:
    try:
        # Runtimes print where they like; stdout is for what was asked alone.
        if sys.stdout is not None:
            sys.stdout.flush()
        with os.fdopen(os.dup(1), "w", encoding="utf-8") as stdout:
            os.dup2(2, 1)
            action(stdout)
    except (ArgumentsError, ArraysError, InputsError, PreprocessError) as error:
        return _failed(Status.BAD_INPUT, error)
    except ModelRefusedError as error:
        return _failed(Status.MODEL_REFUSED, error)
    except RefusedError as error:
        return _failed(Status.NOT_TRUSTED, error)
    except (RuntimeMissingError, UnreachableError) as error:
        return _failed(Status.NO_RUNTIME, error)
    except (MemoryError, OSError) as error:
        return _failed(Status.NO_ROOM, error)
    return Status.DONE


def _failed(status: Status, error: Exception) -> int:
    words = " ".join(str(error).split())[:2000] or type(error).__name__
    print(f"edgegen_runtime: {words}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
