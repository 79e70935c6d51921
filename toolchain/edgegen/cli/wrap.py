"""``edgegen wrap``: a bundle in a form that a team uses already. The options behind ``--as`` are the form's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.artifacts.token_uri import in_token
from edgegen.artifacts.wrap.forms import FORMS
from edgegen.cli.console import output_options, print_json
from edgegen.cli.passphrase import passphrase_option, passphrase_source
from edgegen.cli.verify import policy_of

if TYPE_CHECKING:
    from edgegen.artifacts.wrap.order import Wrapped

_FORM = "edgegen.form"


class _Wrap(click.Command):
    """Has the options of the form that the command line names, and no others."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Looks which form is meant before the options are read."""
        ctx.meta[_FORM] = _named(args)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own, then the form's."""
        own = super().get_params(ctx)
        form = ctx.meta.get(_FORM)
        return own if form not in FORMS else [*own[:-1], *form_options(form), own[-1]]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The forms, from their table, where none was named."""
        if ctx.meta.get(_FORM) not in FORMS:
            with formatter.section("Forms (--as FORM --help shows the options of one)"):
                formatter.write_dl([(name, form.help) for name, form in FORMS.items()])
        super().format_epilog(ctx, formatter)


def form_options(name: str) -> list[click.Option]:
    """The options of a form, from its record."""
    from dataclasses import MISSING, fields
    from typing import get_origin, get_type_hints

    record = FORMS[name].settings_record()
    hints = get_type_hints(record)
    found = []
    for item in fields(record):
        kind = hints[item.name]
        given: dict[str, Any] = {"multiple": get_origin(kind) is tuple, "type": _click_type(kind)}
        if kind is bool:
            given = {"is_flag": True}
        required = item.default is MISSING and item.default_factory is MISSING
        words = item.metadata["doc"][:1].upper() + item.metadata["doc"][1:] + "."
        if item.default not in (MISSING, None, False, "", ()):
            words += f" Default: {item.default}."
        found.append(
            click.Option(
                [f"--{item.name.replace('_', '-')}", f"form_{item.name}"],
                help=words,
                required=required,
                default=None if kind is not bool else False,
                **given,
            )
        )
    return found


@click.command(cls=_Wrap, epilog="Example: edgegen wrap build/raspberrypi5 --as deb --out dist --key release.pub")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--as", "form", required=True, metavar="FORM", help="What to wrap it as.")
@click.option("--out", "-o", required=True, help="File to write, or the folder to write it into (there, or with a /).")
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), help="A policy file: whom to trust for what.")
@click.option("--key", "keys", multiple=True, type=click.Path(path_type=Path), help="A public key that is trusted.")
@click.option("--threshold", type=click.IntRange(min=1), help="How many of the --key must have signed. Default: 1.")
@passphrase_option
@output_options
def command(
    bundle: Path,
    form: str,
    out: str,
    policy_file: Path | None,
    keys: tuple[Path, ...],
    threshold: int | None,
    passphrase_file: Path | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Wrap a bundle in a form that teams use already.

    BUNDLE is a build's folder, a pulled one, or the bundle/ inside. Every byte of it is checked first.
    """
    from edgegen.artifacts.wrap.order import wrap_as

    wrapped = wrap_as(
        form,
        bundle,
        Path(out),
        _given(options),
        policy=policy_of(policy_file, keys, threshold),
        passphrase=lambda key: passphrase_source(passphrase_file, key if in_token(key) else Path(key).name)(),
        into=out.endswith("/"),
    )
    if as_json:
        print_json({**wrapped.document(), "exit_code": 0})
        return
    _tell(wrapped)


def _tell(wrapped: Wrapped) -> None:
    for line in wrapped.made.checked:
        click.echo(f"  {line}")
    if wrapped.made.not_checked:
        click.echo(f"  not checked: {wrapped.made.not_checked}")
    if wrapped.made.not_reproducible:
        click.echo(f"  other bytes in every run: {wrapped.made.not_reproducible}")
    click.echo(f"{wrapped.path}: {wrapped.size_bytes:,} bytes, sha256:{wrapped.sha256}")
    signature = wrapped.bundle.signature()
    signers = ", ".join(sorted(signature["trusted"]) or ["unknown: --key or --policy says whom to trust"])
    click.echo(
        f"from {wrapped.bundle.digest}; {'unsigned' if signature['status'] == 'none' else f'signed by {signers}'}"
    )


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The form's options that were given, by their name in its record."""
    found = {name.removeprefix("form_"): value for name, value in options.items()}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}
    return {name: value for name, value in plain.items() if value not in (None, [])}


def _named(args: Sequence[str]) -> str:
    """The form that a command line names; empty where it names none."""
    for at, word in enumerate(args):
        if word == "--as":
            return args[at + 1] if at + 1 < len(args) else ""
        if word.startswith("--as="):
            return word.removeprefix("--as=")
    return ""


def _click_type(kind: Any) -> Any:
    """How the command line reads a field of this type: of ``X | None`` and ``tuple[X, ...]`` as an ``X``."""
    from typing import Literal, get_args, get_origin

    if get_origin(kind) is Literal:
        return click.Choice([str(value) for value in get_args(kind)])
    inner = [part for part in get_args(kind) if part not in (type(None), ...)]
    if inner:
        return _click_type(inner[0])
    return kind if kind in (int, float) else str
