"""``edgegen report``: what builds found, shown again or written as a page, Markdown, JUnit or a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgegen.cli.console import output_options, print_json, printable
from edgegen.core.errors import StorageError, UsageError

_PATH = click.Path(path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog="Example: edgegen report build/raspberrypi4 build/raspberrypi5 --csv candidates.csv")
@click.argument("places", metavar="WHAT...", nargs=-1, required=True, type=_PATH)
@click.option("--html", type=_FILE, help="Write the page here (of one build).")
@click.option("--markdown", type=_FILE, help="Write a summary here, as CI servers show it.")
@click.option("--junit", type=_FILE, help="Write the verdicts here as JUnit XML.")
@click.option("--csv", type=_FILE, help="Write the candidates here, a row each.")
@click.option("--parquet", type=_FILE, help="The same as Parquet.")
@output_options
def command(
    places: tuple[Path, ...],
    html: Path | None,
    markdown: Path | None,
    junit: Path | None,
    csv: Path | None,
    parquet: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show what builds found. WHAT is a result.json, a build's folder, a pulled one, or a bundle.

    A bundle is checked to the last byte first. Its page is the one that was bundled; of a result.json the page is
    drawn anew, without pictures of samples, which it does not hold.
    """
    from edgegen.bench.read_result import page_of, read_result
    from edgegen.bench.summary import junit_xml, summary_markdown

    if html is not None and len(places) > 1:
        raise UsageError("a page is of one build", got=f"{len(places)} builds", next_step="one --html a command")
    documents = [read_result(place) for place in places]
    if html is not None:
        _write(html, page_of(places[0]))
    if markdown is not None:
        _write(markdown, "\n".join(summary_markdown(document) for document in documents).encode())
    if junit is not None:
        _write(junit, junit_xml(documents))
    for path, form in ((csv, "csv"), (parquet, "parquet")):
        if path is not None:
            _write(path, _table(documents, form))
    if as_json:
        print_json(documents[0] if len(documents) == 1 else {"schema_version": 1, "results": documents})
    elif not quiet:
        from edgegen.cli.outcome import show

        for document in documents:
            show(printable(document))


def _table(documents: list[dict[str, Any]], form: str) -> bytes:
    """The candidates of all builds."""
    from edgegen.bench.result import candidate_frame

    frame = candidate_frame(documents)
    data: bytes = frame.to_csv(index=False).encode() if form == "csv" else frame.to_parquet(index=False)
    return data


def _write(path: Path, data: bytes) -> None:
    from edgegen.core.whole_file import put_file

    try:
        put_file(path, data)
    except OSError as error:
        raise StorageError("the report cannot be written", where=str(path), got=error.strerror) from error
