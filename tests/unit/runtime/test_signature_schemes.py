"""Both schemes in plain Python: published vectors, agreement with a library, and every turned bit."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegen_runtime import ed25519, p256
from edgegen_runtime.public_keys import PublicKey, parse_public_key
from edgegen_runtime.strict import RefusedError
from edgegen_runtime.version_order import version_order
from support.signature_vectors import ED25519, P256, P256_KEY
from unit.artifacts.signed_bundle import signer

ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.mark.parametrize("vector", ED25519)
def test_ed25519_holds_for_the_rfcs_vectors(vector: tuple[str, str, str]) -> None:
    public, message, signature = map(bytes.fromhex, vector)
    assert ed25519.is_public_key(public)
    assert ed25519.verify(public, message, signature)
    assert not ed25519.verify(public, message + b"\0", signature)


def test_ed25519_refuses_every_turned_bit() -> None:
    public, message, signature = map(bytes.fromhex, ED25519[2])
    for data, at in ((public, 0), (message, 1), (signature, 2)):
        for bit in range(8 * len(data)):
            turned = bytearray(data)
            turned[bit // 8] ^= 1 << bit % 8
            parts = [public, message, signature]
            parts[at] = bytes(turned)
            assert not ed25519.verify(*parts)


def test_ed25519_refuses_a_second_form_of_a_signature() -> None:
    public, message, signature = map(bytes.fromhex, ED25519[2])
    s = int.from_bytes(signature[32:], "little") + ORDER
    assert not ed25519.verify(public, message, signature[:32] + s.to_bytes(32, "little"))
    for length in (0, 63, 65):
        assert not ed25519.verify(public, message, (signature + b"\0")[:length])


@pytest.mark.parametrize(
    "public",
    [
        (1).to_bytes(32, "little"),  # the neutral point: under it R = [s]B is a signature of anything
        (2**255 - 20).to_bytes(32, "little"),  # of order 2
        bytes(32),  # of order 4
        (2**255 - 19 + 1).to_bytes(32, "little"),  # the neutral point, written otherwise
        (2).to_bytes(32, "little"),  # no point
        bytes(31),
    ],
)
def test_ed25519_takes_no_key_under_which_all_holds(public: bytes) -> None:
    assert not ed25519.is_public_key(public)


@pytest.mark.parametrize(("message", "r", "s"), P256)
def test_p256_holds_for_the_rfcs_vectors(message: bytes, r: int, s: int) -> None:
    public = bytes.fromhex(P256_KEY)
    signature = p256.write_der(r, s)
    assert p256.verify(public, message, signature)
    assert not p256.verify(public, message + b".", signature)
    assert not p256.verify(public[32:] + public[:32], message, signature)


def test_p256_refuses_every_turned_bit_of_a_signature() -> None:
    message, r, s = P256[0]
    whole = p256.write_der(r, s)
    for bit in range(8 * len(whole)):
        turned = bytearray(whole)
        turned[bit // 8] ^= 1 << bit % 8
        assert not p256.verify(bytes.fromhex(P256_KEY), message, bytes(turned))


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        bytes(72),
        p256.write_der(1, 1)[:-1],
        p256.write_der(P256[0][1], P256[0][2]) + b"\0",
        b"\x30\x81" + p256.write_der(P256[0][1], P256[0][2])[1:],
        p256.write_der(0, P256[0][2]),
        p256.write_der(2**256, P256[0][2]),
        b"\x30\x06\x02\x01\x80\x02\x01\x01",
        b"\x30\x07\x02\x02\x00\x01\x02\x01\x01",
    ],
)
def test_p256_refuses_another_encoding(signature: bytes) -> None:
    assert not p256.verify(bytes.fromhex(P256_KEY), P256[0][0], signature)


def test_p256_takes_points_of_the_curve_alone() -> None:
    assert p256.is_public_key(bytes.fromhex(P256_KEY))
    for public in (bytes(64), bytes.fromhex(P256_KEY)[:-1] + b"\0", bytes.fromhex(P256_KEY)[:-1], b"\xff" * 64):
        assert not p256.is_public_key(public)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(message=st.binary(max_size=300), name=st.sampled_from(["a", "ec", "ec2", "b"]), turned=st.integers(0, 511))
def test_plain_python_and_the_library_agree(message: bytes, name: str, turned: int) -> None:
    key, signature = signer(name), signer(name).sign(message)
    wrong = bytearray(signature)
    wrong[turned // 8 % len(signature)] ^= 1 << turned % 8
    for plain in (False, True):
        assert key.public.verifies(message, signature, plain=plain)
        assert not key.public.verifies(message + b".", signature, plain=plain)
        assert not key.public.verifies(message, bytes(wrong), plain=plain)


def test_plain_python_and_the_library_agree_on_noise() -> None:
    dice = random.Random(7)
    keys = [PublicKey(kind=signer(name).public.kind, raw=signer(name).public.raw, der=b"") for name in ("a", "ec")]
    for key in keys:
        for length in (0, 1, 8, 63, 64, 65, 70, 71, 72):
            noise = dice.randbytes(length)
            assert key.verifies(b"m", noise) is key.verifies(b"m", noise, plain=True) is False


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\nA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAAQ%b=\n-----END PUBLIC KEY-----\n" % (b"A" * 41),
        b" " * 20_000,
    ],
)
def test_public_keys_refuse(pem: bytes) -> None:
    with pytest.raises(RefusedError):
        parse_public_key(pem, "x")


def test_versions_are_put_in_order() -> None:
    ordered = "0.9 1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1 1.0.1 1.2 1.10 2"
    keys = [version_order(version) for version in ordered.split()]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
    assert version_order("1.0") == version_order("1") == version_order("1.0.0+build.7")
    for version in ("", "v1", "1..2", "1.", "latest", "1.2-", "1" * 30):
        with pytest.raises(RefusedError):
            version_order(version)
