"""``edgegen data …``: the data's steps alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgegen.cli.console import output_options, print_json, progress, set_option

_PROJECT = click.option("--project", type=click.Path(file_okay=False, path_type=Path), help="Folder of the project.")


@click.group(epilog="Example: edgegen data inspect")
def command() -> None:
    """Look at, check, record, draw, compare and export data."""


@command.command(epilog="Example: edgegen data inspect --project my-model")
@_PROJECT
@click.option("--out", type=click.Path(path_type=Path), help="The page. Default: build/data.html.")
@set_option
@output_options
def inspect(project: Path | None, out: Path | None, overrides: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Prepare the data and show what they are: parts, columns, leaks, privacy, representation, calibration."""
    from edgegen.pipeline.inspect import inspect_data

    with progress(quiet=quiet) as teller:
        inspected = inspect_data(project, out=out, overrides=overrides, progress=teller)
    if as_json:
        print_json(inspected.document)
        return
    from edgegen.cli.inspected import show

    show(inspected)


@command.command(epilog="Example: edgegen data columns sensor.csv >> edgegen.toml")
@click.argument("source")
@click.option("--table", help="Name of the table, where the source is a database.")
@click.option("--separator", default=",", show_default=True, help="What stands between two cells of a CSV file.")
@click.option("--encoding", default="utf-8", show_default=True, help="The file's encoding.")
@output_options
def columns(source: str, table: str | None, separator: str, encoding: str, as_json: bool, quiet: bool) -> None:
    """Propose [data.columns] for a table, read off its first rows; look it over before it is used."""
    from edgegen.pipeline.inspect import columns_toml, proposed_columns

    proposed = proposed_columns(source, table=table, separator=separator, encoding=encoding)
    if as_json:
        print_json({"schema_version": 1, "columns": proposed})
        return
    click.echo(columns_toml(proposed))


@command.command(
    epilog="Example: edgegen data record /dev/ttyUSB0 walk.csv --channels ax,ay,az --label walk --rows 3000"
)
@click.argument("url")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--channels", required=True, help="Names of the numbers in a line, with commas between them.")
@click.option("--label", help="What the recording shows.")
@click.option("--group", help="Name of the recording. Default: numbered.")
@click.option("--seconds", type=float, help="End after that much time.")
@click.option("--rows", type=click.IntRange(min=1), help="End after so many rows.")
@click.option("--rate-hz", type=float, help="The device's sampling rate. Default: the time of arrival is kept.")
@click.option("--baud", type=click.IntRange(min=1), default=115_200, show_default=True, help="Rate of a serial line.")
@output_options
def record(
    url: str,
    file: Path,
    channels: str,
    label: str | None,
    group: str | None,
    seconds: float | None,
    rows: int | None,
    rate_hz: float | None,
    baud: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Append a labelled recording of a device's lines to a CSV file. URL is a port, or socket://host:port."""
    from edgegen.core.records import write_record
    from edgegen.data.record import record as take
    from edgegen.links.serial import open_lines

    with progress(quiet=quiet) as teller, open_lines(url, baud=baud, progress=teller) as link:
        recorded = take(
            link.lines(),
            file,
            columns=channels.split(","),
            label=label,
            group=group,
            seconds=seconds,
            rows=rows,
            rate_hz=rate_hz,
            progress=teller,
        )
    _tell({"file": str(file), **write_record(recorded)}, as_json=as_json)


@command.command(epilog="Example: edgegen data draw drawn.npz --samples 1000")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_PROJECT
@click.option("--samples", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, help="How many.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the draw.")
@set_option
@output_options
def draw(
    file: Path, project: Path | None, samples: int, seed: int, overrides: tuple[str, ...], as_json: bool, quiet: bool
) -> None:
    """Draw samples of the project's own generator into an .npz that stays marked as synthetic for ever after."""
    from edgegen.core.records import write_record
    from edgegen.pipeline.inspect import draw_samples

    with progress(quiet=quiet) as teller:
        drawn = draw_samples(project, file, samples=samples, seed=seed, overrides=overrides, progress=teller)
    _tell({"file": str(file), **write_record(drawn)}, as_json=as_json)


@command.command(epilog="Example: edgegen data export rows.parquet")
@click.argument("destination")
@_PROJECT
@click.option("--table", help="Name of the table, where the destination is a database.")
@set_option
@output_options
def export(
    destination: str, project: Path | None, table: str | None, overrides: tuple[str, ...], as_json: bool, quiet: bool
) -> None:
    """Write the collected, typed rows as CSV, JSON, JSON lines, Parquet, or into a database by its URL."""
    from edgegen.pipeline.inspect import export_rows

    with progress(quiet=quiet) as teller:
        rows = export_rows(project, destination, table=table, overrides=overrides, progress=teller)
    _tell({"destination": destination, "rows": rows}, as_json=as_json)


@command.command(epilog="Example: edgegen data drift last-year/ --project this-year/")
@click.argument("reference", type=click.Path(file_okay=False, path_type=Path))
@_PROJECT
@set_option
@output_options
def drift(reference: Path, project: Path | None, overrides: tuple[str, ...], as_json: bool, quiet: bool) -> int:
    """Compare the project's data with those of another project; exit 1 if they have drifted apart."""
    from edgegen.core.errors import ExitCode
    from edgegen.pipeline.inspect import compare_data

    with progress(quiet=quiet) as teller:
        document = compare_data(reference, project, overrides=overrides, progress=teller)
    if as_json:
        print_json(document)
    else:
        from edgegen.cli.inspected import show_drift

        show_drift(document)
    return int(ExitCode.BUDGET_FAILED if document["drifted"] else ExitCode.OK)


def _tell(record: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json({"schema_version": 1, **record})
        return
    for key, value in record.items():
        click.echo(f"{key:<12}{value}")
