"""Ed25519 signatures checked in plain Python (RFC 8032, section 5.1), for boards without a cryptographic library.

Checking uses public values only, so nothing here needs to take constant time. Points are (X, Y, Z, T) in extended
coordinates: x = X/Z, y = Y/Z, x·y = T/Z (RFC 8032, section 5.1.4).
"""

from __future__ import annotations

import hashlib

KEY_BYTES = 32
SIGNATURE_BYTES = 64

Point = tuple[int, int, int, int]

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT_OF_MINUS_ONE = pow(2, (_P - 1) // 4, _P)
_NEUTRAL: Point = (0, 1, 1, 0)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` (64 bytes) is that of ``message`` under the key ``public`` (32 bytes).

    The equation without the cofactor, as OpenSSL checks it: the encoding of [s]B - [h]A is R. Encodings that are not
    canonical are refused.
    """
    if len(signature) != SIGNATURE_BYTES:
        return False
    point = decode(public)
    s = int.from_bytes(signature[32:], "little")
    if point is None or s >= _ORDER:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % _ORDER
    x, y, z, t = point
    return _encode(_two_products(s, _BASE, h, (-x % _P, y, z, -t % _P))) == signature[:32]


def is_public_key(public: bytes) -> bool:
    """Whether the bytes are a point of the curve, and not one of the eight under which anything can be signed."""
    point = decode(public)
    if point is None:
        return False
    for _ in range(3):  # the cofactor is 8
        point = _double(point)
    return _encode(point) != _encode(_NEUTRAL)


def decode(data: bytes) -> Point | None:
    """The point that 32 bytes stand for, or None (RFC 8032, section 5.1.3)."""
    if len(data) != KEY_BYTES:
        return None
    number = int.from_bytes(data, "little")
    y, odd = number & (2**255 - 1), number >> 255
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if (v * x * x - u) % _P:
        x = x * _ROOT_OF_MINUS_ONE % _P
        if (v * x * x - u) % _P:
            return None
    if x == 0 and odd:
        return None
    if x & 1 != odd:
        x = _P - x
    return x, y, 1, x * y % _P


def _encode(point: Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, -1, _P)
    return ((y * inverse % _P) | ((x * inverse % _P & 1) << 255)).to_bytes(KEY_BYTES, "little")


def _add(first: Point, second: Point) -> Point:
    """RFC 8032, section 5.1.4: complete, so it may be given any two points."""
    a = (first[1] - first[0]) * (second[1] - second[0]) % _P
    b = (first[1] + first[0]) * (second[1] + second[0]) % _P
    c = 2 * first[3] * second[3] * _D % _P
    d = 2 * first[2] * second[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _double(point: Point) -> Point:
    a, b, c = point[0] ** 2 % _P, point[1] ** 2 % _P, 2 * point[2] ** 2 % _P
    h = a + b
    e, g = h - (point[0] + point[1]) ** 2 % _P, a - b
    f = c + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _two_products(m: int, first: Point, n: int, second: Point) -> Point:
    """[m]first + [n]second, both at once (Straus): one doubling a bit, at most one addition."""
    table = (_NEUTRAL, first, second, _add(first, second))
    total = _NEUTRAL
    for bit in range(max(m.bit_length(), n.bit_length()) - 1, -1, -1):
        total = _double(total)
        chosen = (m >> bit & 1) | (n >> bit & 1) << 1
        if chosen:
            total = _add(total, table[chosen])
    return total


def _base() -> Point:
    base = decode((4 * pow(5, -1, _P) % _P).to_bytes(KEY_BYTES, "little"))
    assert base is not None
    return base


_BASE = _base()
