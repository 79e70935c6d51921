"""Files of waivers: what is read, and what is refused in a paragraph."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from edgegen.bench.waivers import Waiver, read_waivers
from edgegen.core.errors import UsageError

GOOD = """
schema_version = 1
[[waiver]]
budget = "latency"
target = "raspberrypi5"
reason = "the board is being replaced"
owner = "ada@example.org"
expires = 2027-01-31
"""


def test_waivers_are_read(tmp_path: Path) -> None:
    (tmp_path / "waivers.toml").write_text(GOOD)
    assert read_waivers(tmp_path / "waivers.toml") == (
        Waiver(
            budget="latency",
            target="raspberrypi5",
            reason="the board is being replaced",
            owner="ada@example.org",
            expires=datetime.date(2027, 1, 31),
        ),
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('owner = "ada@example.org"\n', "", "owner"),
        ('reason = "the board is being replaced"', 'reason = " "', "reason"),
        ("2027-01-31", '"2027-01-31"', "date"),
        ("2027-01-31", "2027-01-31T00:00:00", "date"),
        ("2027-01-31", "2027-02-31", "TOML"),
        ('budget = "latency"', 'budgets = "latency"', "budget"),
        ("schema_version = 1", "schema_version = 2", "schema_version"),
        ("schema_version = 1", "", "schema_version"),
        ("\n[[waiver]]", "\n[[waivers]]", "waiver"),
        ('"ada@example.org"', '"\\u001b[31m"', "owner"),
    ],
)
def test_waivers_that_lack_something_are_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    (tmp_path / "waivers.toml").write_text(GOOD.replace(old, new))
    with pytest.raises(UsageError, match=said):
        read_waivers(tmp_path / "waivers.toml")


def test_two_waivers_of_one_check_are_refused(tmp_path: Path) -> None:
    (tmp_path / "waivers.toml").write_text(GOOD + GOOD.replace("schema_version = 1\n", ""))
    with pytest.raises(UsageError, match="two waivers"):
        read_waivers(tmp_path / "waivers.toml")


@pytest.mark.parametrize("data", [b"\xff\xfe", b"a = " + b"[" * 9000, b"x" * (1 << 19)])
def test_hostile_files_of_waivers_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "waivers.toml").write_bytes(data)
    with pytest.raises(UsageError):
        read_waivers(tmp_path / "waivers.toml")
