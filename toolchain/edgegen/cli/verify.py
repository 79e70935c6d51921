"""``edgegen verify``: checks a bundle that may come from a stranger, and who vouches for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.cli.access import access_of, access_options
from edgegen.cli.channels import trusting_of, trusting_options
from edgegen.cli.console import output_options, print_json, progress
from edgegen.cli.self_test import run_self_test

if TYPE_CHECKING:
    from edgegen.artifacts.policy import Policy, Trust
    from edgegen.artifacts.transfer_places import Access
    from edgegen.artifacts.verify import Verified


@click.command(epilog="Example: edgegen verify build/raspberrypi5 --key release.pub --target raspberrypi5")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), help="A policy file: whom to trust for what.")
@click.option("--key", "keys", multiple=True, type=click.Path(path_type=Path), help="A public key that is trusted.")
@click.option("--threshold", type=click.IntRange(min=1), help="How many of the --key must have signed. Default: 1.")
@click.option("--target", help="The device that it must be for.")
@click.option("--minimum-version", help="Older versions are refused.")
@click.option("--releases", "place", metavar="REGISTRY/NAME", help="Refuse what the releases there say was recalled.")
@click.option("--self-test", "proves", is_flag=True, help="Run the golden vectors too, within their tolerances.")
@click.option("--device", metavar="URL", help="With --self-test: where. Default: this machine; of C, the target's own.")
@trusting_options
@access_options
@output_options
def command(
    bundle: Path,
    policy_file: Path | None,
    keys: tuple[Path, ...],
    threshold: int | None,
    target: str | None,
    minimum_version: str | None,
    place: str | None,
    proves: bool,
    device: str | None,
    root: Path | None,
    state: Path | None,
    ca: Path | None,
    plain_http: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check every byte of a bundle, and with --policy or --key who signed it.

    BUNDLE is a build's folder, or the bundle/ inside it. With --self-test its golden vectors run last: exits 5 where
    an output left its tolerance, 4 where they cannot be run.
    """
    from datetime import UTC, datetime

    from edgegen.artifacts.policy import check_policy, check_target, check_version
    from edgegen.artifacts.verify import bundle_folder, verify

    if device is not None and not proves:
        raise click.UsageError("--device goes with --self-test")
    policy = policy_of(policy_file, keys, threshold)
    folder = bundle_folder(bundle)
    verified = verify(folder)
    checked = list(verified.checked)
    if target is not None:
        check_target(verified.manifest.target, target)
        checked.append(f"target {target}")
    if minimum_version is not None:
        check_version(verified.manifest.version, minimum_version)
        checked.append(f"version {verified.manifest.version} >= {minimum_version}")
    trust = None if policy is None else check_policy(verified, policy, datetime.now(UTC))
    checked += trust.checked if trust else ()
    if place is not None:
        checked.append(_current(place, verified.digest, root, state, access_of(ca, plain_http)))
    document: dict[str, Any] = {"schema_version": 1, "digest": verified.digest, "checked": checked}
    if proves:
        with progress(quiet=quiet) as shown:
            tested = run_self_test(folder, device, shown)
        checked.append(tested.said())
        document["self_test"] = tested.document()
    if as_json:
        print_json({**document, "signature": _signature(verified, trust), "exit_code": 0})
        return
    for line in checked:
        click.echo(f"  {line}")
    click.echo(f"intact: {verified.digest}; {_said(verified, trust)}")


def _current(place: str, digest: str, root: Path | None, state: Path | None, access: Access) -> str:
    """What the releases of a place say of a bundle: it was not recalled, and in which channels it is current."""
    from edgegen.artifacts.registry_reference import parse_reference
    from edgegen.artifacts.release_place import check_recalled, trusted_listing
    from edgegen.artifacts.transfer_places import source_of

    reference = parse_reference(place)
    with source_of(reference, access) as source:
        listing = trusted_listing(source, trusting_of(reference, root, state), access.patience)
    check_recalled(listing.statements, digest)
    channels = listing.document(digest)["current_in"]
    return f"not recalled; {'current in ' + ', '.join(channels) if channels else 'current in no channel'}"


def policy_of(file: Path | None, keys: tuple[Path, ...], threshold: int | None) -> Policy | None:
    """What the options --policy, --key and --threshold ask for; None: nobody is asked to be trusted."""
    from edgegen.artifacts.policy import Policy, TrustedKey, read_policy, trusted_key

    if file is not None and (keys or threshold is not None):
        raise click.UsageError("--policy names the keys and the threshold: leave --key and --threshold away")
    if file is not None:
        return read_policy(file)
    if not keys:
        if threshold is not None:
            raise click.UsageError("--threshold is about the keys that --key names")
        return None
    named: dict[str, TrustedKey] = {item.key.key_id: item for item in map(trusted_key, keys)}
    if (threshold or 1) > len(named):
        raise click.UsageError("--threshold asks for more keys than --key names")
    return Policy(keys=tuple(named.values()), threshold=threshold or 1)


def _signature(verified: Verified, trust: Trust | None) -> dict[str, Any]:
    """Who signed, for machines: status none, unknown (nobody was asked to be trusted) or trusted."""
    if trust is None:
        return {"status": verified.signature, "trusted": {}, "others": _ids(verified)}
    return {"status": "trusted", "trusted": dict(trust.signers), "others": list(trust.unknown)}


def _said(verified: Verified, trust: Trust | None) -> str:
    if trust is not None:
        return f"signed by {', '.join(sorted(trust.signers))}"
    if not verified.claims:
        return "unsigned"
    return f"signed by unknown ({', '.join(_ids(verified))}): --key or --policy says whom to trust"


def _ids(verified: Verified) -> list[str]:
    return sorted({key_id for claim in verified.claims for key_id in claim.core.signatures})
