"""``edgegen verify``: checks a bundle that may come from a stranger, and who vouches for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.cli.console import output_options, print_json

if TYPE_CHECKING:
    from edgegen.artifacts.policy import Policy, Trust
    from edgegen.artifacts.verify import Verified


@click.command(epilog="Example: edgegen verify build/raspberrypi5 --key release.pub --target raspberrypi5")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), help="A policy file: whom to trust for what.")
@click.option("--key", "keys", multiple=True, type=click.Path(path_type=Path), help="A public key that is trusted.")
@click.option("--threshold", type=click.IntRange(min=1), help="How many of the --key must have signed. Default: 1.")
@click.option("--target", help="The device that it must be for.")
@click.option("--minimum-version", help="Older versions are refused.")
@output_options
def command(
    bundle: Path,
    policy_file: Path | None,
    keys: tuple[Path, ...],
    threshold: int | None,
    target: str | None,
    minimum_version: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check every byte of a bundle, and with --policy or --key who signed it.

    BUNDLE is a build's folder, or the bundle/ inside it.
    """
    from datetime import UTC, datetime

    from edgegen.artifacts.policy import check_policy, check_target, check_version
    from edgegen.artifacts.verify import verify

    policy = _policy(policy_file, keys, threshold)
    inside = bundle / "bundle"
    verified = verify(inside if inside.is_dir() else bundle)
    checked = list(verified.checked)
    if target is not None:
        check_target(verified.manifest.target, target)
        checked.append(f"target {target}")
    if minimum_version is not None:
        check_version(verified.manifest.version, minimum_version)
        checked.append(f"version {verified.manifest.version} >= {minimum_version}")
    trust = None if policy is None else check_policy(verified, policy, datetime.now(UTC))
    checked += trust.checked if trust else ()
    if as_json:
        document = {"schema_version": 1, "digest": verified.digest, "checked": checked}
        print_json({**document, "signature": _signature(verified, trust), "exit_code": 0})
        return
    for line in checked:
        click.echo(f"  {line}")
    click.echo(f"intact: {verified.digest}; {_said(verified, trust)}")


def _policy(file: Path | None, keys: tuple[Path, ...], threshold: int | None) -> Policy | None:
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
