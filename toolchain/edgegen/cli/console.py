"""What every command shares: ``--json`` and ``--quiet``, progress on stderr, and printing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgegen.core.ports import Progress, Silent

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

F = TypeVar("F", bound=Callable[..., Any])
_COLUMNS, _LOG_COLUMNS = 80, 120


def output_options(function: F) -> F:
    """Adds ``--json`` and ``--quiet``."""
    function = click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")(function)
    return click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else there.")(
        function
    )


set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the project file (TOML)."
)
offline_option = click.option("--offline", is_flag=True, help="Never touch the network.")


def plain_table(title: str | None = None) -> Table:
    """A table without lines, its title on the left."""
    from rich.table import Table

    return Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")


def wide_console() -> Console:
    """A console on stdout that takes 80 columns for granted, 120 in a log: a table that is cut to fewer loses names and
    numbers, while a narrow terminal folds its lines by itself.
    """
    from rich.console import Console

    console = Console(highlight=False)
    least = _COLUMNS if console.is_terminal or os.environ.get("COLUMNS") else _LOG_COLUMNS
    return console if console.width >= least else Console(highlight=False, width=least)


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def printable(value: Any) -> Any:
    """A document without what would move a terminal's cursor or begin a line of its own: it may have come from
    anywhere, and CI servers take commands from lines of a log.
    """
    if isinstance(value, str):
        return "".join(letter if letter.isprintable() else "?" for letter in value)
    if isinstance(value, Mapping):
        return {name: printable(item) for name, item in value.items()}
    return [printable(item) for item in value] if isinstance(value, list) else value


def forget_stdout() -> None:
    """What is written from now on goes nowhere: when nobody takes it, the interpreter would complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def whoever_reads() -> Iterator[None]:
    """Prints an outcome: a reader that has gone meanwhile (``| head``) does not change the exit code."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        forget_stdout()


@contextmanager
def progress(*, quiet: bool) -> Iterator[Progress]:
    """Progress for the length of the block: bars on a terminal, plain lines elsewhere (and under ``CI``)."""
    if quiet:
        yield Silent()
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if console.is_terminal and not os.environ.get("CI"):
        yield from _bars(console)
    else:
        yield _Lines(console)


def _bars(console: Any) -> Iterator[Progress]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("  [cyan]{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[detail]}"),
    )
    with RichProgress(*columns, console=console, transient=True) as bars:
        yield _Bars(bars)


class _Bars:
    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def say(self, message: str) -> None:
        self._bars.console.print(f"[green]●[/] {message}", markup=True)

    def advance(self, task: str, done: int, total: int, detail: str = "") -> None:
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task(task, total=total, detail=detail)
        self._bars.update(self._tasks[task], completed=done, total=total, detail=detail)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(task))


class _Lines:
    """For logs: what is said, and every task at its quarters."""

    def __init__(self, console: Any) -> None:
        self._console = console
        self._shown: dict[str, int] = {}

    def say(self, message: str) -> None:
        self._console.print(message, markup=False)

    def advance(self, task: str, done: int, total: int, detail: str = "") -> None:
        quarter = 4 * done // max(total, 1)
        if quarter > self._shown.get(task, 0):
            self._console.print(f"  {task}: {done}/{total} {detail}".rstrip(), markup=False)
        self._shown[task] = 0 if done >= total else quarter
