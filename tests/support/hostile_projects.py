"""Declarations, parts, checks and reviews that contradict their data or reach out of the project."""

from __future__ import annotations

from pathlib import Path

from support.hostile_case import COLUMNS, ROWS, Cases, Make, csv, csv_rows, typed
from support.tables import put

CASES = Cases()
add = CASES.add

# -- declarations, parts, checks -----------------------------------------------------------------------------------

_GROUPED = csv_rows(header="a,kind,who", rows=[f"{line},p{number % 4}" for number, line in enumerate(ROWS)])
_WHO = COLUMNS + 'who = { type = "category", role = "group" }\n'
_SAME = "a,kind\n" + "".join(f"{number % 5},x\n{number % 5},y\n" for number in range(30))


def _declared(more: str, *, content: str | None = None, columns: str = COLUMNS) -> Make:
    return csv(csv_rows() if content is None else content, columns=columns, more=more)


add("no column declared", _declared("", columns=""), "[data.columns]", "edgegen data columns")
add("column of an unknown type", _declared("", columns=COLUMNS.replace('"number"', '"float"')), "float")
add("two labels", typed("u", '"category", role = "label"'), "[data.columns]", "kind, c")
add("factor of zero", _declared("", columns=COLUMNS.replace('"number"', '"number", factor = 0')), "'a'", "factor")
add(
    "minimum above the maximum",
    _declared("", columns=COLUMNS.replace('"number"', '"number", minimum = 2, maximum = 1')),
    "'a'",
)
add(
    "group in both parts",
    _declared('[data.split]\nby = "random"\n', content=_GROUPED, columns=_WHO),
    "'p0'",
    "train",
    "test",
)
add("equal rows in both parts", _declared('[data.split]\nby = "random"\n', content=_SAME), "row", "train", "test")
add("group that is not there", _declared('[data.split]\ntest_groups = ["p9"]\n', content=_GROUPED, columns=_WHO), "p9")
add(
    "one group alone",
    _declared("", content=_GROUPED.replace("p1", "p0").replace("p2", "p0").replace("p3", "p0"), columns=_WHO),
    "[data.split]",
    "empty",
)
add(
    "class of one row",
    _declared('[data.split]\nby = "stratified"\n', content=csv_rows((3, "2.5,z"))),
    "'z'",
    "[data.split]",
)
add("nothing left to train on", _declared("[data.split]\ntest_ratio = 0.6\nvalidation_ratio = 0.5\n"), "[data.split]")
add("split as a source gives it", _declared('[data.split]\nby = "given"\n'), "[data.split] by")
add(
    "mail address where none may be",
    _declared('[data.check]\nprivacy = "refuse"\n', content=csv_rows((8, "1.5,anna@example.org"))),
    "row 8",
    "column 'kind'",
)
add(
    "person who can be singled out",
    _declared(
        "[data.check]\nk_anonymity = 5\n",
        columns=COLUMNS.replace('role = "label"', 'role = "label", quasi_identifier = true'),
        content=csv_rows((8, "7.5,z")),
    ),
    "row 8",
    "kind",
)
add(
    "value hardly represented",
    _declared(
        "[data.check]\nleast_share = 0.3\n",
        columns=COLUMNS.replace('role = "label"', 'role = "label", sensitive = true'),
        content=csv_rows((8, "7.5,z")),
    ),
    "'kind'",
)
add(
    "feature that is a program",
    _declared("[data.features]\nb = \"__import__('os').system('touch evil')\"\n"),
    "[data.features] b",
)
add("feature of an unknown column", _declared('[data.features]\nb = "a + c"\n'), "c")
add("feature that divides by zero", _declared('[data.features]\nb = "1 / (a - 2.5)"\n'), "row 3", "'b'")
add("feature named as a column", _declared('[data.features]\na = "a + 1"\n'), "[data.features] a")
add(
    "window longer than the recording",
    _declared("[data.window]\nlength = 90000\nstep = 1\n", columns='[data.columns]\na = { type = "number" }\n'),
    "[data.window]",
)
add("gap that nothing fills", _declared("", content=csv_rows((3, ",x"))), "row 3", "'a'")
add(
    "test value that no category has",
    _declared('[data.split]\ntest_groups = ["p0"]\n', content=_GROUPED.replace("0.5,x", "0.5,z", 1), columns=_WHO),
    "z",
)


def _review(content: str | bytes | None, path: str = "review.csv") -> Make:
    def make(folder: Path) -> str:
        put(folder / "t.csv", csv_rows())
        if content is not None:
            put(folder / path, content)
        return f'source = "t.csv"\n{COLUMNS}[data.label]\nreview = "{path}"\n'

    return make


_HEAD = "sample,given,suggested,confidence,decision\n"


def _review_link(folder: Path) -> str:
    keys = _review(None)(folder)
    (folder / "review.csv").symlink_to("/etc/passwd")
    return keys


add("review out of the project", _review(None, "../review.csv"), "[data.label] review")
add("review by a link out of the project", _review_link, "[data.label] review")
add("review that is not there", _review(None), "[data.label] review")
add("review of other columns", _review("a,b\n1,2\n"), "review.csv", "line 1")
add("review in Latin-1", _review(_HEAD.encode() + b"1,\xe9,y,0.9,keep\n"), "review.csv")
add("review with a sample twice", _review(f"{_HEAD}1,x,y,0.9,keep\n1,x,y,0.9,drop\n"), "review.csv", "line 3")
add("review of a sample that is not there", _review(f"{_HEAD}99,x,y,0.9,keep\n"), "review.csv", "line 2", "99")
add("review about other data", _review(f"{_HEAD}1,y,x,0.9,keep\n"), "review.csv", "line 2")
add("review with a class that is none", _review(f"{_HEAD}1,x,y,0.9,q\n"), "review.csv", "line 2", "'q'")
add("review with a line too short", _review(f"{_HEAD}1,x\n"), "review.csv", "line 2")
add("review with no probability", _review(f"{_HEAD}1,x,y,often,keep\n"), "review.csv", "line 2", "often")
add(
    "review that drops everything",
    _review(_HEAD + "".join(f"{row},{'xy'[(row - 1) % 2]},,,drop\n" for row in range(1, 41))),
    "[data.split]",
)
