"""What ``push``, ``pull`` and ``inspect`` share: how to reach a place, and one that knows the target's other names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from edgegen.artifacts.transfer_places import Access

F = TypeVar("F", bound=Callable[..., Any])


def access_options(function: F) -> F:
    """Adds ``--ca`` and ``--plain-http``."""
    function = click.option(
        "--plain-http", is_flag=True, help="HTTP without TLS. This machine itself (127.0.0.1) needs no such word."
    )(function)
    return click.option(
        "--ca",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="Certificate of your own authority (PEM), trusted beside the system's.",
    )(function)


def access_of(ca: Path | None, plain_http: bool, mount_from: str | None = None) -> Access:
    """How to reach the place."""
    from edgegen.artifacts.registry_http import Trust
    from edgegen.artifacts.transfer_places import Access

    return Access(trust=Trust(ca=ca, plain_http=plain_http), mount_from=mount_from)


def known_target(name: str | None) -> str | None:
    """The target that a name stands for: an alias gives its device; a name of one's own stays as it is."""
    from edgegen.core.targets import alias_of, target_names

    return (alias_of(name) or name) if name is not None and name in target_names() else name


def plain(text: object) -> str:
    """A stranger's text on one line, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))[:200]
