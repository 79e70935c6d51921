"""``edgegen bisect``: the commit, or the step of a recipe, that made a figure worse."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgegen.cli.console import output_options, plain_table, print_json, progress, set_option, wide_console
from edgegen.core.errors import UsageError

if TYPE_CHECKING:
    from edgegen.bench.regression import Rules
    from edgegen.core.ports import Progress
    from edgegen.pipeline.bisect import Found

_COLOURS = {"good": "green", "bad": "bold red", "skip": "magenta"}
_SHORT = 16


@click.command(
    epilog="Examples: edgegen bisect v1.0 HEAD --target raspberrypi5. "
    "edgegen bisect float32@onnx pruned+static-int8@onnx --target raspberrypi5"
)
@click.argument("good")
@click.argument("bad")
@click.option("--target", "-t", help="Build and judge for this target.")
@click.option("--run", "run", metavar="COMMAND", help="Judge a commit by this: 0 good, 1 bad, anything else skips it.")
@click.option("--metric", "metrics", multiple=True, help="Judge by this figure too; of recipes by it alone.")
@click.option(
    "--tolerance", "tolerances", multiple=True, metavar="[NAME=]RATIO", help="As of edgegen gate: what is not worse."
)
@click.option("--timeout", type=click.FloatRange(min=1), metavar="SECONDS", help="After which a commit is skipped.")
@click.option("--restart", is_flag=True, help="Forget what an earlier bisection of the same saw.")
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), help="Folder of the project.")
@set_option
@output_options
def command(
    good: str,
    bad: str,
    target: str | None,
    run: str | None,
    metrics: tuple[str, ...],
    tolerances: tuple[str, ...],
    timeout: float | None,
    restart: bool,
    project: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> int:
    """Find what made a figure worse, by halving what lies between GOOD and BAD.

    Two commits: each is built in a working tree of its own, with the cache of finished stages, and held against GOOD
    as edgegen gate does; one that cannot be built is skipped. What was seen is kept, so the same command goes on where
    it was ended. Two candidates: the steps of BAD's recipe after those of GOOD's.
    """
    from edgegen.bench.regression import Rules
    from edgegen.cli.gate import read_tolerances
    from edgegen.pipeline.bisect_steps import are_recipes

    rules = Rules(tolerances=read_tolerances(tolerances), metrics=metrics)
    recipes = are_recipes(good, bad)
    if target is None and (run is None or recipes):
        raise UsageError("there is no target to build for", where="edgegen bisect", next_step="add --target NAME")
    with progress(quiet=quiet) as teller:
        if recipes:
            assert target is not None
            found = _steps(good, bad, target, rules, project, overrides, teller)
        else:
            found = _commits(good, bad, target, run, rules, project, overrides, timeout, teller, restart=restart)
    if as_json:
        print_json(found.document())
    else:
        _show(found)
    return int(found.exit_code)


def _steps(
    good: str, bad: str, target: str, rules: Rules, project: Path | None, overrides: tuple[str, ...], teller: Progress
) -> Found:
    from edgegen.core.cache import Cache
    from edgegen.pipeline.bisect_steps import bisect_steps

    with tempfile.TemporaryDirectory(prefix="edgegen-bisect-") as out:
        return bisect_steps(
            good, bad, target=target, rules=rules, project=project, overrides=overrides, out=Path(out), cache=Cache(),
            progress=teller,
        )  # fmt: skip


def _commits(
    good: str, bad: str, target: str | None, run: str | None, rules: Rules, project: Path | None,
    overrides: tuple[str, ...], timeout: float | None, teller: Progress, *, restart: bool,
) -> Found:  # fmt: skip
    from edgegen.core.cache import Cache
    from edgegen.core.project import project_folder
    from edgegen.pipeline.bisect_commits import Wanted, bisect_commits

    folder = project or (Path.cwd() if run is not None else project_folder()) or Path.cwd()
    wanted = Wanted(target=target, run=run, rules=rules, overrides=overrides, timeout_s=timeout)
    return bisect_commits(good, bad, wanted, folder=folder, cache=Cache(), progress=teller, restart=restart)


def _show(found: Found) -> None:
    from rich.markup import escape

    console = wide_console()
    looks = "1 look" if len(found.seen) == 1 else f"{len(found.seen)} looks"
    console.print(f"[italic]{looks} between {escape(_short(found.good))} and {escape(_short(found.bad))}[/]")
    table = plain_table()
    for title in ("", "", "why"):
        table.add_column(title)
    for seen in found.seen:
        table.add_row(escape(_short(seen.item)), f"[{_COLOURS[seen.answer]}]{seen.answer}[/]", escape(seen.said))
    console.print(table)
    if found.first_bad is not None:
        console.print(f"\n[bold red]the first bad one: {escape(found.first_bad)}[/]", soft_wrap=True)
        return
    console.print(f"\n[magenta]it is one of {len(found.suspects)}, which cannot be judged:[/]")
    for item in found.suspects:
        console.print(f"  {escape(item)}", soft_wrap=True)


def _short(name: str) -> str:
    """A commit by its first digits; a candidate whole."""
    return name if "@" in name else name[:_SHORT]
