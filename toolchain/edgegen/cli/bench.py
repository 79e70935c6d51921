"""``edgegen bench``: fits a target's cost model to a device that has a clock."""

from __future__ import annotations

from pathlib import Path

import click

from edgegen.cli.console import offline_option, output_options, plain_table, print_json, progress


@click.command(epilog="Example: edgegen bench --calibrate --target linux-x86_64 --device host: --save mymachine")
@click.option(
    "--calibrate", is_flag=True, required=True, help="Clock generated models and fit the target's cost model to them."
)
@click.option("--target", "-t", required=True, help="Whose cost model; edgegen targets lists what there is.")
@click.option("--device", metavar="URL", help="A device that measures. Default: the target's own.")
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), help="Folder of the project.")
@click.option("--save", metavar="NAME", help="Write the calibrated profile into the project's targets/NAME/.")
@offline_option
@output_options
def command(
    calibrate: bool,
    target: str,
    device: str | None,
    project: Path | None,
    save: str | None,
    offline: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Fit a cost model to what a device's clock says of small generated models.

    Prints the [cost_model] table with its band, which is the error on models that the fit had not seen, and what it was
    fitted on. A profile with it predicts latency and can pass a budget of predicted latency.
    """
    from edgegen.core.cache import Cache
    from edgegen.core.project import load_project, project_folder
    from edgegen.pipeline.bench_calibrate import calibrate as run

    folder = project_folder() if project is None else load_project(project).folder
    cache = Cache()
    with progress(quiet=quiet) as teller, cache.in_use():
        found = run(target, device=device, project=folder, save=save, cache=cache, progress=teller, offline=offline)
    if as_json:
        print_json(found.document())
        return
    from rich.console import Console

    table = plain_table("Measured, and over what a fit without the model predicts")
    for name in ("model", "ms", "ratio"):
        table.add_column(name, no_wrap=True, justify="left" if name == "model" else "right")
    for item in found.timed:
        table.add_row(item.name, f"{item.measured_ms:.4f}", f"{found.fit.ratios[item.name]:.2f}")
    Console(highlight=False).print(table)
    click.echo(f"\n{found.table()}", nl=False)
    if found.saved is not None:
        click.echo(f"\nwritten: {found.saved}")
