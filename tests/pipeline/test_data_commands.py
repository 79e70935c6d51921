"""``edgegen data …`` as a person uses it: every kind of source, in and out, through the real entry point."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from edgegen.cli.main import _run
from support import sources
from support.postgres import PASSWORD, running_server
from support.projects import digits, write_project

TABLES = ("csv", "json", "jsonl", "parquet", "sql")


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE", str(cache))


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Runs a command with ``--json`` that must end with this code, and gives what it printed."""

    def run(*arguments: str, code: int = 0) -> dict[str, Any]:
        found = _run([*arguments, "--json", "--quiet"])
        printed = capsys.readouterr()
        assert found == code, printed.err
        document: dict[str, Any] = json.loads(printed.out)
        return document

    return run


def _table(folder: Path, kind: str = "csv", table: pd.DataFrame | None = None, more: str = "") -> Path:
    source = sources.table_source(folder, kind, sources.frame() if table is None else table)
    return sources.project(folder, source + sources.COLUMNS + more)


@pytest.mark.parametrize("kind", TABLES)
def test_every_kind_of_table_gives_the_same_set(tmp_path: Path, said: Callable[..., dict[str, Any]], kind: str) -> None:
    document = said("data", "inspect", "--project", str(_table(tmp_path / kind, kind)))
    csv = said("data", "inspect", "--project", str(_table(tmp_path / "csv")))
    assert document["form"]["shape"] == [4]  # a, b, and a column for each of the two sites
    assert sum(document["form"]["samples"].values()) == sources.ROWS
    assert document["checked"]["profile"]["columns"] == csv["checked"]["profile"]["columns"]
    page = (tmp_path / kind / "build" / "data.html").read_text()
    for shown in ("walk", "north", "mean ± deviation", "What quantization looks at", document["calibration"]["sha256"]):
        assert shown in page
    assert "built-in method" not in page


@pytest.mark.parametrize(
    ("write", "kind", "shape"),
    [
        (sources.pictures, "images", [1, 12, 12]),
        (sources.arrays, "images", [1, 12, 12]),
        (sources.clips, "audio", [1, 24, 40]),
    ],
)
def test_folders_and_arrays_are_inspected(
    tmp_path: Path, said: Callable[..., dict[str, Any]], write: Callable[[Path], str], kind: str, shape: list[int]
) -> None:
    folder = sources.project(tmp_path, write(tmp_path))
    document = said("data", "inspect", "--project", str(folder), "--out", str(tmp_path / "page.html"))
    assert document["form"]["kind"] == kind
    assert document["form"]["shape"] == shape
    assert len(document["form"]["classes"]) == 2
    assert document["calibration"]["samples"] == document["form"]["samples"]["train"]
    assert "data:image/png;base64," in (tmp_path / "page.html").read_text()


def test_terminal_shows_what_a_person_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["data", "inspect", "--project", str(_table(tmp_path)), "--quiet"]) == 0
    out = capsys.readouterr().out
    for shown in ("samples", "whole groups", "To look at", "person", "data.html"):
        assert shown in out


def test_second_look_runs_no_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _table(tmp_path, table=sources.frame(seed=77))
    for told in (True, False):
        assert _run(["data", "inspect", "--project", str(folder)]) == 0
        assert ("reading t.csv" in capsys.readouterr().err) == told


def test_proposed_columns_are_a_project_file_that_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], said: Callable[..., dict[str, Any]]
) -> None:
    sources.table_source(tmp_path, "csv", sources.frame().rename(columns={"kind": "label", "person": "subject"}))
    assert _run(["data", "columns", str(tmp_path / "t.csv")]) == 0
    proposed = capsys.readouterr().out
    folder = sources.project(tmp_path, f'source = "t.csv"\n[data.clean]\nmissing = "mean"\n\n{proposed}')
    document = said("data", "inspect", "--project", str(folder))
    assert document["form"]["classes"] == ["rest", "walk"]
    assert document["split"]["by"] == "group"


def test_columns_of_a_database_and_of_a_packed_file_are_proposed(
    tmp_path: Path, said: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sources.table_source(tmp_path, "sql", sources.frame())
    sources.frame().to_csv(tmp_path / "t.csv.gz", index=False, sep=";")
    database = said("data", "columns", "sqlite:///t.db", "--table", "measured")["columns"]
    packed = said("data", "columns", "t.csv.gz", "--separator", ";")["columns"]
    assert database == packed
    assert {name: column["type"] for name, column in packed.items()} == {
        **dict.fromkeys("ab", "number"),
        **dict.fromkeys(("site", "kind", "person"), "category"),
    }


# -- out again ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl", "parquet"])
def test_exported_rows_read_back_as_equal_rows(
    tmp_path: Path, said: Callable[..., dict[str, Any]], ending: str
) -> None:
    folder = _table(tmp_path / "one")
    out = tmp_path / "two" / f"t.{ending}"
    out.parent.mkdir()
    assert said("data", "export", str(out), "--project", str(folder))["rows"] == sources.ROWS
    again = sources.project(tmp_path / "two", f'source = "t.{ending}"\n{sources.COLUMNS}')
    first, second = (said("data", "inspect", "--project", str(place)) for place in (folder, again))
    assert first["checked"]["profile"]["columns"] == second["checked"]["profile"]["columns"]


def test_exported_to_sqlite_and_read_back(tmp_path: Path, said: Callable[..., dict[str, Any]]) -> None:
    folder = _table(tmp_path / "one")
    url = f"sqlite:///{tmp_path / 'two' / 'out.db'}"
    (tmp_path / "two").mkdir()
    assert said("data", "export", url, "--table", "measured", "--project", str(folder))["rows"] == sources.ROWS
    taken = said("data", "export", url, "--table", "measured", "--project", str(folder), code=2)
    assert "exists already" in taken["error"]["what"]
    collect = '[data.collect]\ntable = "measured"\n'
    again = sources.project(tmp_path / "two", f'source = "sqlite:///out.db"\n{collect}{sources.COLUMNS}')
    assert sum(said("data", "inspect", "--project", str(again))["form"]["samples"].values()) == sources.ROWS


def test_exported_to_postgresql_and_read_back(
    tmp_path: Path, said: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with running_server() as server:
        folder = _table(tmp_path / "one")
        said("data", "export", server.url, "--table", "measured", "--project", str(folder))
        data = f'source = "{server.url}"\n[data.collect]\nquery = "SELECT * FROM measured ORDER BY person, a"\n'
        again = sources.project(tmp_path / "two", data + sources.COLUMNS)
        document = said("data", "inspect", "--project", str(again))
    assert sum(document["form"]["samples"].values()) == sources.ROWS
    assert PASSWORD not in json.dumps(document)
    assert "edgegen@" not in document["collected"]["source"]


@pytest.mark.parametrize(
    ("destination", "more", "says"),
    [
        ("rows.xlsx", [], "cannot be told from the name"),
        ("sqlite:///x.db", [], "--table"),
        ("rows.csv", ["--table", "t"], "only a database"),
        ("nowhere/rows.csv", [], "nowhere"),
    ],
)
def test_unusable_destination(
    tmp_path: Path,
    said: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    destination: str,
    more: list[str],
    says: str,
) -> None:
    folder = _table(tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    error = said("data", "export", destination, *more, "--project", str(folder), code=2)["error"]
    assert says in json.dumps(error)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one"]


# -- personal data -------------------------------------------------------------------------------------------------


def _personal() -> pd.DataFrame:
    table = sources.frame()
    table.loc[17, "site"] = "anna.meier@example.org"
    table.loc[40:59, "person"] = "bo@example.org"
    table.loc[60:99, "person"] = "cy@example.org"
    return table


def test_redacted_cells_reach_neither_rows_nor_models(
    tmp_path: Path, said: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "cache"
    monkeypatch.setenv("EDGEGEN_CACHE", str(own))
    folder = _table(tmp_path / "p", table=_personal(), more='[data.check]\nprivacy = "redact"\n')
    document = said("data", "inspect", "--project", str(folder))
    assert document["collected"]["redacted"] == {"person: e-mail": 60, "site: e-mail": 1}
    assert "site=[e-mail]" in document["form"]["features"]
    groups = {name for part in document["split"]["groups"].values() for name in part}
    assert {"[e-mail 1]", "[e-mail 2]"} <= groups, "groups stay apart"
    said("data", "export", str(tmp_path / "out.csv"), "--project", str(folder))
    written = [*own.rglob("*"), *(folder / "build").rglob("*"), tmp_path / "out.csv"]
    assert any(path.suffix == ".html" for path in written)
    for path in written:
        assert not path.is_file() or b"example.org" not in path.read_bytes(), path
    for blob in (path for path in own.rglob("*") if path.is_file() and path.read_bytes()[:4] == b"PAR1"):
        assert "example.org" not in pd.read_parquet(blob).to_csv()


def test_redacted_text_reaches_no_token(
    tmp_path: Path, said: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "cache"
    monkeypatch.setenv("EDGEGEN_CACHE", str(own))
    source = sources.text(tmp_path)
    personal = "write to anna.meier@example.org, or call +49 30 901820\n"
    (tmp_path / "t.txt").write_text(personal + (tmp_path / "t.txt").read_text())
    data = f'{source}[data.check]\nprivacy = "redact"\n[data.text]\ncontext = 16\n'
    folder = sources.project(tmp_path, data, family="autoregressive")
    document = said("data", "inspect", "--project", str(folder))
    assert document["collected"]["redacted"] == {"text: e-mail": 1, "text: phone number": 1}
    assert "[" in document["form"]["vocabulary"]
    assert "@" not in document["form"]["vocabulary"]
    for path in own.rglob("*"):
        assert not path.is_file() or b"example.org" not in path.read_bytes()


def test_refused_cells_are_named_and_never_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _table(tmp_path, table=_personal(), more='[data.check]\nprivacy = "refuse"\n')
    for arguments in (["inspect"], ["export", str(tmp_path / "out.csv")]):
        assert _run(["data", *arguments, "--project", str(folder), "--quiet"]) == 2
        said = capsys.readouterr()
        assert "row 18, column 'site'" in said.err
        assert "example.org" not in said.err + said.out
    assert not (tmp_path / "out.csv").exists()
    assert not (tmp_path / "build").exists()


def test_personal_cells_are_said_by_default_and_not_shown(tmp_path: Path, said: Callable[..., dict[str, Any]]) -> None:
    folder = _table(tmp_path, table=_personal())
    document = said("data", "inspect", "--project", str(folder))
    assert [(cells["column"], cells["first"]) for cells in document["checked"]["private"]] == [
        ("site", 18),
        ("person", 41),
    ]
    assert "example.org" not in json.dumps(document["checked"]["profile"])


# -- labels --------------------------------------------------------------------------------------------------------

REVIEW = """
[data.label]
find_issues = true
review = "review.csv"
"""


def test_label_review_from_suspicion_to_corrected_labels(
    tmp_path: Path, said: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_project(tmp_path / "project")
    with np.load(folder / "digits.npz") as found:
        images, labels = found["images"], found["labels"].copy()
    right = labels.copy()
    wrong = np.random.default_rng(5).choice(len(labels), 12, replace=False)
    labels[wrong] = (labels[wrong] + 3) % 10
    np.savez(folder / "digits.npz", images=images, labels=labels)
    toml = (folder / "edgegen.toml").read_text()
    (folder / "edgegen.toml").write_text(toml.replace("[train]", f"{REVIEW}\n[train]"))
    look = ("data", "inspect", "--project", str(folder))

    first = said(*look)
    review = pd.read_csv(folder / "review.csv", dtype=str, keep_default_na=False)
    found = {int(sample) for sample in review["sample"]} & set(wrong.tolist())
    assert first["labels"]["suspected"] == len(review) == first["labels"]["undecided"]
    assert len(found) >= 6, "most of the corrupted training labels are among the suspects"

    written = (folder / "review.csv").read_text()
    assert said(*look) == first, "writing the review changed nothing"
    assert (folder / "review.csv").read_text() == written
    (folder / "review.csv").unlink()
    assert said(*look) == first
    assert (folder / "review.csv").read_text() == written, "found anew where it had gone"

    decided = review["sample"].astype(int).isin(found)
    review.loc[decided, "decision"] = [str(right[int(sample)]) for sample in review.loc[decided, "sample"]]
    review.loc[~decided, "decision"] = "keep"
    review.to_csv(folder / "review.csv", index=False)
    second = said(*look)
    assert second["labels"]["decided"]["change"] == len(found)
    assert second["labels"]["undecided"] == 0
    counts = np.zeros(10, int)
    for part in second["split"]["classes"].values():
        counts += [part[str(number)] for number in range(10)]
    corrected = labels.copy()
    corrected[sorted(found)] = right[sorted(found)]
    assert counts.tolist() == np.bincount(corrected, minlength=10).tolist()
    page = (folder / "build" / "data.html").read_text()
    assert f"keep {len(review) - len(found)}, change {len(found)}" in page.replace("&#39;", "'")


def test_dropped_samples_come_into_no_part(tmp_path: Path, said: Callable[..., dict[str, Any]]) -> None:
    folder = _table(tmp_path, more='[data.label]\nreview = "review.csv"\n')
    kinds = sources.frame()["kind"]
    (folder / "review.csv").write_text(
        "sample,given,suggested,confidence,decision\n" + "".join(f"{row},{kinds[row - 1]},,,drop\n" for row in (3, 8))
    )
    document = said("data", "inspect", "--project", str(folder))
    assert sum(document["form"]["samples"].values()) == sources.ROWS - 2


# -- drift ---------------------------------------------------------------------------------------------------------


def test_drift_of_a_shifted_feature(tmp_path: Path, said: Callable[..., dict[str, Any]]) -> None:
    one = _table(tmp_path / "one", table=sources.frame(rows=1000))
    other = _table(tmp_path / "other", table=sources.frame(rows=1000, shift=0.5, seed=9))
    document = said("data", "drift", str(one), "--project", str(other), code=1)
    drifted = {item["name"] for item in document["features"] if item["drifted"]}
    assert drifted == {"a"}, "though each set is standardized by its own figures"
    shift = next(item["wasserstein"] for item in document["features"] if item["name"] == "a")
    assert shift == pytest.approx(0.5, abs=0.06)


def test_no_drift_between_draws_of_one_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = _table(tmp_path / "one", table=sources.frame(rows=1000))
    other = _table(tmp_path / "other", table=sources.frame(rows=1000, seed=9))
    assert _run(["data", "drift", str(one), "--project", str(other), "--quiet"]) == 0
    assert "no drift was found" in capsys.readouterr().out


# -- recorded from a device ----------------------------------------------------------------------------------------


@contextmanager
def _device(lines: int) -> Iterator[str]:
    """A device behind a TCP port: ``x,y`` a line."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"".join(f"{number},{-number}.5\n".encode() for number in range(lines)))
            time.sleep(0.2)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"socket://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join(5)
        listener.close()


@contextmanager
def _terminal(lines: int) -> Iterator[str]:
    """The same behind a serial port: a pseudo-terminal in raw mode."""
    controller, port = os.openpty()
    tty.setraw(port)
    done = threading.Event()

    def send() -> None:
        for number in range(lines):
            if done.is_set():
                return
            os.write(controller, f"{number},{-number}.5\n".encode())
            time.sleep(0.001)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield os.ttyname(port)
    finally:
        done.set()
        thread.join(5)
        os.close(port)
        os.close(controller)


@pytest.mark.parametrize("device", [_device, _terminal])
def test_recorded_windows_are_a_set(
    tmp_path: Path, said: Callable[..., dict[str, Any]], device: Callable[[int], Any]
) -> None:
    for label in ("still", "walk"):
        for _ in range(2):
            with device(400) as url:
                recorded = said(
                    *("data", "record", url, str(tmp_path / "sensor.csv"), "--channels", "x,y"),
                    *("--label", label, "--rows", "120", "--rate-hz", "50"),
                )
            assert recorded["rows"] == 120
    columns = """
[data.columns]
t_s = { type = "number", role = "time" }
x = { type = "number" }
y = { type = "number" }
label = { type = "category", role = "label" }
group = { type = "category", role = "group" }

[data.window]
length = 20
step = 20

[data.split]
test_groups = ["recording-0002", "recording-0004"]

[data.check]
duplicates = "say"
"""
    folder = sources.project(tmp_path, f'source = "sensor.csv"\n{columns}')
    document = said("data", "inspect", "--project", str(folder))
    assert document["form"]["shape"] == [2, 20]
    assert document["form"]["classes"] == ["still", "walk"]
    assert sum(document["form"]["samples"].values()) == 24
    assert "<polyline" in (tmp_path / "build" / "data.html").read_text()


# -- drawn from a model --------------------------------------------------------------------------------------------


def test_drawn_samples_stay_synthetic_for_ever_after(
    tmp_path: Path, project: Path, said: Callable[..., dict[str, Any]]
) -> None:
    drawn = said("data", "draw", str(tmp_path / "drawn.npz"), "--samples", "40", "--project", str(project))
    assert drawn["samples"] == 40
    folder = sources.project(tmp_path, 'source = "drawn.npz"\n')
    document = said("data", "inspect", "--project", str(folder))
    assert document["collected"]["synthetic"]
    assert "synthetic: drawn from small-digits" in document["collected"]["origin"]
    assert "The data are synthetic" in (tmp_path / "build" / "data.html").read_text()
    assert digits()[0].shape[1:] == (28, 28)
