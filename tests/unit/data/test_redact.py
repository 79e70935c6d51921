"""Personal data taken out of rows and text: nothing of it is left, and what must stay apart stays apart."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.data.check.patterns import matches, without_matches
from edgegen.data.redact import Redactor, redact_text
from edgegen.data.settings import Column

PERSONAL = [
    "anna@example.org",
    "DE89 3704 0044 0532 0130 00",
    "4111 1111 1111 1111",
    "+49 30 901820",
    "078-05-1120",
    "192.168.0.17",
]


def _frame(**columns: list[str | None]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.array(cells, dtype="string") for name, cells in columns.items()})


@pytest.mark.parametrize("text", PERSONAL)
def test_every_kind_is_replaced_by_a_marker(text: str) -> None:
    redactor = Redactor({"note": Column(type="text")})
    frame = redactor.frame(_frame(note=[f"call {text} now", "nothing", None]))
    assert text not in str(frame["note"][0])
    assert frame["note"][0].startswith("call [")
    assert frame["note"][1] == "nothing"
    assert frame["note"].isna().tolist() == [False, False, True]
    assert frame["note"].dtype == "string"
    assert list(redactor.found.values()) == [1]


def test_cells_of_columns_that_tell_samples_apart_stay_apart() -> None:
    columns = {
        "who": Column(type="category", role="group"),
        "mail": Column(type="text", unique=True),
        "note": Column(type="category"),
    }
    redactor = Redactor(columns)
    cells = ["a@example.org", "b@example.org", "a@example.org"]
    first = redactor.frame(_frame(who=cells, mail=cells, note=cells))
    second = redactor.frame(_frame(who=["b@example.org"], mail=["c@example.org"], note=["c@example.org"]))
    assert first["who"].tolist() == ["[e-mail 1]", "[e-mail 2]", "[e-mail 1]"]
    assert second["who"].tolist() == ["[e-mail 2]"], "numbers go on over frames"
    assert second["mail"].tolist() == ["[e-mail 3]"]
    assert set(first["note"]) | set(second["note"]) == {"[e-mail]"}
    assert redactor.found == {"mail: e-mail": 4, "note: e-mail": 4, "who: e-mail": 4}


def test_numbers_are_left_alone() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0]})
    assert Redactor({"a": Column()}).frame(frame).equals(frame)


def test_text_keeps_its_lines(tmp_path: Path) -> None:
    source, target = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("one\nto anna@example.org\n\nlast +49 30 901820")
    found = redact_text(source, target)
    assert target.read_text() == "one\nto [e-mail]\n\nlast [phone number]"
    assert found == {"text: e-mail": 1, "text: phone number": 1}


@given(st.lists(st.sampled_from([*PERSONAL, " ", "-", "x", "7", "[", "]"]), max_size=8))
def test_nothing_personal_is_left_whatever_stands_beside_it(pieces: list[str]) -> None:
    assert not list(matches(without_matches("".join(pieces))))
    assert not list(matches(without_matches("".join(pieces), " 12")))
