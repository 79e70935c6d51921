"""SoftHSM in the place of a token: keys of several kinds that are made in it, and keys that lie in files too."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from cryptography.hazmat.primitives import serialization
from pkcs11.util.ec import encode_named_curve_parameters

from unit.artifacts.signed_bundle import signer
from unit.artifacts.wrapped_bundle import private_key

LIBRARIES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
PIN = b"1234"
RECEIVERS = "receivers"
"""The second token: rauc (libp11 0.4.12) finds no key at all in one that has an Ed25519 key too."""
COPIED = ("ec-root", "ec-online")
"""Labels of keys that ``signed_bundle.signer`` has by the same names."""
CERTIFIED = ("ec", "rsa")
"""Labels of keys that ``wrapped_bundle`` has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftToken:
    """The token ``fw``, and one for receivers of other forms."""

    module: str
    folder: Path

    def uri(self, name: str, token: str | None = None) -> str:
        """The URI of a key: p256, p384 or ed25519, one of ``COPIED`` or of ``CERTIFIED``."""
        place = token or (RECEIVERS if name in CERTIFIED else "fw")
        return f"pkcs11:token={place};object={name}?module-path={self.module}"

    def offering(self, mechanism: str) -> dict[str, str]:
        """The environment of a program to which the token offers one mechanism alone."""
        path = self.folder / f"{mechanism}.conf"
        path.write_text(f"directories.tokendir = {self.folder / 'tokens'}\nslots.mechanisms = {mechanism}\n")
        return {"SOFTHSM2_CONF": str(path)}


def soft_token(place: Path) -> SoftToken:
    """Makes the token; this process finds it by ``SOFTHSM2_CONF``."""
    found = next((path for path in LIBRARIES if Path(path).is_file()), None)
    if found is None or shutil.which("softhsm2-util") is None:
        message = "SoftHSM is missing: apt-get install softhsm2"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    (place / "tokens").mkdir()
    (place / "softhsm2.conf").write_text(f"directories.tokendir = {place / 'tokens'}\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(place / "softhsm2.conf")
    for label in ("fw", RECEIVERS):
        _util("--init-token", "--free", "--label", label, "--pin", PIN.decode(), "--so-pin", "5678")
    with pkcs11.lib(found).get_token(token_label="fw").open(rw=True, user_pin=PIN.decode()) as session:
        for name, curve in (("p256", "secp256r1"), ("p384", "secp384r1")):
            parameters = session.create_domain_parameters(
                pkcs11.KeyType.EC,
                {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)},
                local=True,
            )
            parameters.generate_keypair(store=True, label=name)
        parameters = session.create_domain_parameters(
            pkcs11.KeyType.EC_EDWARDS,
            {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("1.3.101.112")},
            local=True,
        )
        parameters.generate_keypair(mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN, store=True, label="ed25519")
    for label, keys in (("fw", {name: signer(name).private for name in COPIED}), (RECEIVERS, _certified())):
        for number, (name, private) in enumerate(keys.items()):
            pem = place / f"{name}.pem"
            form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            pem.write_bytes(private.private_bytes(serialization.Encoding.PEM, *form))
            key = ("--label", name, "--id", f"a{number}", "--pin", PIN.decode())
            _util("--import", str(pem), "--token", label, *key)
    return SoftToken(module=found, folder=place)


def _certified() -> dict[str, Any]:
    return {name: private_key(name) for name in CERTIFIED}


def _util(*arguments: str) -> None:
    subprocess.run(["softhsm2-util", *arguments], check=True, capture_output=True, timeout=60)
