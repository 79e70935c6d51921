"""What ``verify`` and ``update`` ask alike: whom this device trusts, what it is, and whether its clock is right."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edgegen_runtime.admission import Rules
from edgegen_runtime.errors import ArgumentsError
from edgegen_runtime.public_keys import read_public_key
from edgegen_runtime.strict import RefusedError

_MOST = 1_000_000  # days: more than dates can tell apart; keys: more than anybody has


def add_trust_options(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Adds the options to a command line; ``required``: at least one key must be named."""
    parser.add_argument(
        "--key",
        type=Path,
        action="append",
        required=required,
        default=None if required else [],
        metavar="PUB",
        help="a key that is trusted",
    )
    parser.add_argument("--threshold", type=_count, default=1, help="how many of the keys must have signed")
    parser.add_argument("--target", help="what this device is; a bundle for another is refused")
    parser.add_argument("--max-age-days", type=_count, help="how long ago a signature may have been made")
    parser.add_argument("--no-clock", action="store_true", help="this device's clock cannot be believed: judge no date")


def rules_of(arguments: argparse.Namespace) -> Rules:
    """The rules that the options name.

    Raises:
        ArgumentsError: a key cannot be read, or more are asked for than are named.
    """
    try:
        keys = {key.key_id: key for key in map(read_public_key, arguments.key)}
    except RefusedError as error:
        raise ArgumentsError(str(error)) from error
    if arguments.threshold > len(keys):
        raise ArgumentsError(f"--threshold is at most {len(keys)}: as many different keys are named")
    return Rules(
        keys=tuple(keys.values()),
        threshold=arguments.threshold,
        target=arguments.target,
        max_age=None if arguments.max_age_days is None else timedelta(days=arguments.max_age_days),
    )


def now_of(arguments: argparse.Namespace) -> datetime | None:
    """What time it is; None where the clock cannot be believed."""
    return None if arguments.no_clock else datetime.now(UTC)


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= _MOST:
        raise argparse.ArgumentTypeError(f"{value} is not 1 to {_MOST}")
    return value
