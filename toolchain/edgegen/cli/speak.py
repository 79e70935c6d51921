"""``edgegen speak``: a bundle's language model writes on a microcontroller, and its text streams to stdout."""

from __future__ import annotations

from pathlib import Path

import click

from edgegen.cli.console import offline_option, output_options, print_json, progress


@click.command(epilog='Example: edgegen speak build/nucleo-l4r5zi --prompt "And the LORD said" --seed 3')
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--prompt", "-p", required=True, help="Text to go on with.")
@click.option("--tokens", "-n", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="To write.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Equal ones: equal texts."
)
@click.option(
    "--temperature",
    type=click.FloatRange(0, 1000),
    default=0.8,
    show_default=True,
    help="Scores are divided by it; 0: always the likeliest token.",
)
@click.option("--target", "-t", help="Default: the one that the bundle was built for.")
@click.option("--device", metavar="URL", help="qemu:, serial:///dev/ttyACM0, ... Default: the target's own.")
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), help="Folder of the project.")
@offline_option
@output_options
def command(
    bundle: Path,
    prompt: str,
    tokens: int,
    seed: int,
    temperature: float,
    target: str | None,
    device: str | None,
    project: Path | None,
    offline: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Let a bundle's language model go on with a text, on a board or its emulated core.

    BUNDLE is a build's folder, or the bundle/ inside it, of a model in C. The text streams as the device writes it; a
    seed gives the same text on every core. A board runs the model's firmware (edgegen flash).
    """
    from edgegen.core.cache import Cache
    from edgegen.core.project import project_folder
    from edgegen.pipeline.speak import Speech, Text

    cache = Cache()
    text = Text(prompt=prompt, tokens=tokens, seed=seed, temperature=temperature)
    folder = project_folder() if project is None else project
    with (
        progress(quiet=quiet) as teller,
        cache.in_use(),
        Speech(
            bundle,
            text,
            target=target,
            device=device,
            project=folder,
            cache=cache,
            progress=teller,
            offline=offline,
        ) as speech,
    ):
        for piece in speech.pieces():
            if not as_json:
                click.echo(piece, nl=False)
        if as_json:
            print_json(speech.document())
        else:
            click.echo()
