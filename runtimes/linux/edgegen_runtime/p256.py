"""ECDSA signatures on P-256 with SHA-256 checked in plain Python (FIPS 186-5, SEC 1 section 4.1.4).

Checking uses public values only, so nothing here needs to take constant time. Points are (X, Y, Z) in Jacobian
coordinates: x = X/Z², y = Y/Z³; Z = 0 is the point at infinity.
"""

from __future__ import annotations

import hashlib

COORDINATE_BYTES = 32

Point = tuple[int, int, int]

# SP 800-186, section 3.2.1.3.
_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_BASE: Point = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    1,
)
_INFINITY: Point = (1, 1, 0)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` (DER) is that of ``message`` under ``public``: x and y, 32 bytes each, big-endian."""
    numbers = _read_der(signature)
    if numbers is None or not is_public_key(public):
        return False
    r, s = numbers
    if not (0 < r < _ORDER and 0 < s < _ORDER):
        return False
    digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
    inverse = pow(s, -1, _ORDER)
    point = _two_products(digest * inverse % _ORDER, _BASE, r * inverse % _ORDER, (*_coordinates(public), 1))
    x, _, z = point
    if z == 0:
        return False
    return x * pow(z, -2, _P) % _P % _ORDER == r


def is_public_key(public: bytes) -> bool:
    """Whether 64 bytes are a point of the curve; its order is prime, so every one but infinity will do."""
    if len(public) != 2 * COORDINATE_BYTES:
        return False
    x, y = _coordinates(public)
    return x < _P and y < _P and (y * y - (x * x * x - 3 * x + _B)) % _P == 0


def _coordinates(public: bytes) -> tuple[int, int]:
    return int.from_bytes(public[:COORDINATE_BYTES], "big"), int.from_bytes(public[COORDINATE_BYTES:], "big")


def _read_der(signature: bytes) -> tuple[int, int] | None:
    """r and s of the one DER encoding that they have; None for anything else."""
    if len(signature) < 8 or signature[0] != 0x30 or signature[2] != 0x02:
        return None
    first = signature[3]
    if len(signature) < 6 + first or signature[4 + first] != 0x02:
        return None
    r = int.from_bytes(signature[4 : 4 + first], "big", signed=True)
    s = int.from_bytes(signature[6 + first :], "big", signed=True)
    if r <= 0 or s <= 0 or first > 33 or len(signature) > 72:
        return None
    return (r, s) if write_der(r, s) == signature else None


def write_der(r: int, s: int) -> bytes:
    """Both numbers (positive, at most 256 bits) as DER: SEQUENCE of two INTEGERs."""
    parts = b""
    for number in (r, s):
        content = number.to_bytes(number.bit_length() // 8 + 1, "big")
        parts += bytes((0x02, len(content))) + content
    return bytes((0x30, len(parts))) + parts


def _double(point: Point) -> Point:
    """dbl-2001-b of the Explicit-Formulas Database (a = -3); infinity stays infinity."""
    x, y, z = point
    delta, gamma = z * z % _P, y * y % _P
    beta = x * gamma % _P
    alpha = 3 * (x - delta) * (x + delta) % _P
    x3 = (alpha * alpha - 8 * beta) % _P
    z3 = ((y + z) ** 2 - gamma - delta) % _P
    return x3, (alpha * (4 * beta - x3) - 8 * gamma * gamma) % _P, z3


def _add(first: Point, second: Point) -> Point:
    """add-2007-bl of the Explicit-Formulas Database; its exceptions are dealt with one by one."""
    if first[2] == 0:
        return second
    if second[2] == 0:
        return first
    x1, y1, z1 = first
    x2, y2, z2 = second
    z1z1, z2z2 = z1 * z1 % _P, z2 * z2 % _P
    u1, u2 = x1 * z2z2 % _P, x2 * z1z1 % _P
    s1, s2 = y1 * z2 * z2z2 % _P, y2 * z1 * z1z1 % _P
    if u1 == u2:
        return _double(first) if s1 == s2 else _INFINITY
    h = u2 - u1
    i = 4 * h * h % _P
    j, r, v = h * i % _P, 2 * (s2 - s1), u1 * i % _P
    x3 = (r * r - j - 2 * v) % _P
    return x3, (r * (v - x3) - 2 * s1 * j) % _P, ((z1 + z2) ** 2 - z1z1 - z2z2) * h % _P


def _two_products(m: int, first: Point, n: int, second: Point) -> Point:
    """[m]first + [n]second, both at once (Straus): one doubling a bit, at most one addition."""
    table = (_INFINITY, first, second, _add(first, second))
    total = _INFINITY
    for bit in range(max(m.bit_length(), n.bit_length()) - 1, -1, -1):
        total = _double(total)
        chosen = (m >> bit & 1) | (n >> bit & 1) << 1
        if chosen:
            total = _add(total, table[chosen])
    return total
