"""What personal data look like in text: mail addresses, phone, card and account numbers, network addresses.

Patterns only propose; a check digit, a table of lengths or a parser decides where there is one. Every pattern takes
time linear in the text: repetitions are bounded and begin where no earlier match could have gone on.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_IBAN_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 "
    "FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 "
    "LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 "
    "SA24 SC31 SE24 SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20"
)
_IBAN_LENGTH = {entry[:2]: int(entry[2:]) for entry in _IBAN_LENGTHS.split()}

_CARD_PREFIXES = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-5]|[689]\d)\d{11}"  # Diners Club
    r"|(?:6011|65\d\d|64[4-9]\d)\d{12}"  # Discover
    r"|35(?:2[89]|[3-8]\d)\d{12}"  # JCB
    r"|62\d{14,17}"  # UnionPay
)
_DATE = re.compile(r"\d{1,2}[ /.-]\d{1,2}[ /.-]\d{2,4}|\d{4}[ /.-]\d{1,2}[ /.-]\d{1,2}")
_WORTH_A_LOOK = re.compile(r"@|::|(?:\d\D{0,4}){4}|(?:[0-9A-Fa-f]{1,4}:){4}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One kind of personal data."""

    kind: str
    proposed: re.Pattern[str]
    confirmed: Callable[[str], int]
    """How many leading characters of the proposal are one; 0 for none."""


def matches(text: str) -> Iterator[tuple[int, int, Pattern]]:
    """(start, end, pattern) of everything that looks personal, in order; matches do not overlap."""
    if not _WORTH_A_LOOK.search(text):
        return
    taken: list[tuple[int, int, Pattern]] = []
    for pattern in PATTERNS:
        for proposal in pattern.proposed.finditer(text):
            start, end = proposal.start(), proposal.start() + pattern.confirmed(proposal.group())
            if end > start and all(end <= other[0] or start >= other[1] for other in taken):
                taken.append((start, end, pattern))
    yield from sorted(taken, key=lambda match: match[0])


def without_matches(text: str, number: str = "") -> str:
    """The text with a marker such as ``[e-mail]`` in place of every match.

    Args:
        number: stands in every marker after the kind, so that different texts stay different.
    """
    while found := list(matches(text)):  # what was beside a match may now look like one itself
        pieces, at = [], 0
        for start, end, pattern in found:
            pieces += [text[at:start], f"[{pattern.kind}{number}]"]
            at = end
        text = "".join([*pieces, text[at:]])
    return text


def _whole(text: str) -> int:
    return len(text)


def _iban(text: str) -> int:
    """ISO 13616: the country's length, and 1 as the remainder modulo 97 of the rearranged digits."""
    length = _IBAN_LENGTH.get(text[:2].upper(), 0)
    places = [place for place, character in enumerate(text) if character.isalnum()]
    if not length or len(places) < length:
        return 0
    end = places[length - 1] + 1
    if end < len(text) and text[end].isalnum():
        return 0
    number = "".join(character for character in text[:end].upper() if character.isalnum())
    digits = "".join(str(int(character, 36)) for character in number[4:] + number[:4])
    return end if int(digits) % 97 == 1 else 0


def _card(text: str) -> int:
    """A known issuer's prefix and length, and Luhn's check digit (ISO/IEC 7812)."""
    number = re.sub(r"[ -]", "", text)
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(number))]
    checked = sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0
    return len(text) if checked and _CARD_PREFIXES.fullmatch(number) else 0


def _network_address(text: str) -> int:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return 0
    # "a::b" and "::1" are legal, but in text they are mostly something else.
    long_enough = address.version == 4 or sum(bool(group) for group in text.split(":")) >= 3
    return len(text) if long_enough and not address.is_unspecified else 0


def _phone(text: str) -> int:
    digits = sum(character.isdigit() for character in text)
    decimal = re.fullmatch(r"\+?\d+\.\d+", text)
    return len(text) if 7 <= digits <= 15 and not decimal and not _DATE.match(text) else 0


def _pattern(kind: str, proposed: str, confirmed: Callable[[str], int] = _whole, flags: int = 0) -> Pattern:
    return Pattern(kind=kind, proposed=re.compile(proposed, flags), confirmed=confirmed)


PATTERNS = (
    _pattern("e-mail", r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])"),
    _pattern("IBAN", r"(?<![^\W_])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}", _iban, re.IGNORECASE | re.ASCII),
    _pattern("card number", r"(?<![\w.,-])(?:\d[ -]?){12,18}\d(?!\d|[.,]\d)", _card, re.ASCII),
    _pattern(
        "social security number",
        r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])",
        flags=re.ASCII,
    ),
    _pattern(
        "IP address", r"(?<![\w:.])(?:[0-9A-F]{0,4}:){2,7}[0-9A-F]{0,4}(?![\w:])", _network_address, re.ASCII | re.I
    ),
    _pattern("IP address", r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)", _network_address, re.ASCII),
    # ITU-T E.164 with any separators; then the United States', and European ones with a trunk 0.
    _pattern("phone number", r"(?<![\w+.])\+[1-9](?:[ ().-]{0,2}\d){6,14}(?!\w)", _phone, re.ASCII),
    _pattern(
        "phone number",
        r"(?<![\w+.(-])(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])[2-9]\d\d[ .-]\d{4}(?![\w-])",
        _phone,
        re.ASCII,
    ),
    _pattern("phone number", r"(?<![\w+.,-])0[1-9]([ .-])\d\d(?:\1\d\d){3}(?!\w)", _phone, re.ASCII),
    _pattern(
        "phone number",
        r"(?<![\w+.,:/-])\(?0\d{2,4}\)?[ /-]{1,3}\d{3,8}(?:[ -]\d{2,6}){0,2}(?!\w|[.,:/-]\d)",
        _phone,
        re.ASCII,
    ),
)
