"""``edgegen sign``: vouches for a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from edgegen.cli.console import output_options, print_json
from edgegen.cli.passphrase import passphrase_option


@click.command(epilog="Example: edgegen sign build/raspberrypi5 --key ~/.config/edgegen/keys/release.key")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--key", "keys", multiple=True, required=True, metavar="FILE|pkcs11:URI",
    help="A private key (edgegen keys new), or one in a token. May be repeated: each signs.",
)  # fmt: skip
@passphrase_option
@click.option(
    "--expires-days", type=click.IntRange(1, 1_000_000), help="The signature counts for that long. Default: for ever."
)
@click.option("--cosign", is_flag=True, help="Write cosign's form of the signature too (tag sha256-<hex>.sig).")
@click.option("--reference", help="Name of the published artifact in cosign's form. Default: the project's name.")
@output_options
def command(
    bundle: Path,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    expires_days: int | None,
    cosign: bool,
    reference: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Sign a bundle: BUNDLE is a build's folder, or the bundle/ inside it. What failed a budget is not signed."""
    from edgegen.artifacts.sign import moment_of_signing, sign_bundle
    from edgegen.artifacts.verify import bundle_folder
    from edgegen.cli.signers import opened

    inside = bundle_folder(bundle)
    moment = moment_of_signing(expires_days)
    with opened(keys, passphrase_file) as signers:
        signed = sign_bundle(inside, signers, moment=moment, with_cosign=cosign, reference=reference)
    if as_json:
        document = {
            "schema_version": 1,
            "digest": signed.digest,
            "added": list(signed.added),
            "kept": list(signed.kept),
            "cosign_tag": signed.cosign_tag,
            "exit_code": 0,
        }
        print_json(document)
        return
    for key_id in signed.added:
        click.echo(f"  signed by {key_id}")
    for key_id in signed.kept:
        click.echo(f"  already signed by {key_id}")
    if signed.cosign_tag:
        click.echo(f"  cosign's form at the tag {signed.cosign_tag}")
    click.echo(f"signed: {signed.digest}")
