"""``edgegen report``: what a build found, again: from its folder, its bundle and its result alone."""

from __future__ import annotations

import csv
import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from support.projects import Ran, edgegen


@pytest.fixture(name="report")
def _report(project: Path, cache: Path):
    def run(*arguments: str) -> Ran:
        return edgegen("report", *arguments, cache=cache, cwd=project)

    return run


def test_a_builds_folder_is_shown_as_the_build_showed_it(report, project: Path) -> None:
    done = report("build/null")
    document = json.loads((project / "build" / "null" / "result.json").read_text())
    assert done.code == 0, done.err
    assert document["chosen"]["candidate"] in done.out
    assert document["chosen"]["bundle_digest"] in done.out.replace("\n", "")
    assert json.loads(report("build/null", "--json").out) == document


def test_a_bundle_gives_its_own_page_and_a_result_one_drawn_anew(report, project: Path, tmp_path: Path) -> None:
    own = (project / "build" / "null" / "report.html").read_bytes()
    shutil.copy(project / "build" / "null" / "result.json", tmp_path / "result.json")
    assert report("build/null/bundle", "--html", "own.html", "--quiet").code == 0
    assert (project / "own.html").read_bytes() == own
    done = report(str(tmp_path / "result.json"), "--html", "anew.html", "--quiet")
    assert (done.code, done.out) == (0, "")
    anew = (project / "anew.html").read_text()
    assert "<html" in anew
    assert json.loads((tmp_path / "result.json").read_text())["chosen"]["candidate"].split("@")[0] in anew


def test_several_builds_become_one_table_one_summary_and_one_junit_file(report, project: Path) -> None:
    files = ("--csv", "all.csv", "--parquet", "all.parquet", "--markdown", "all.md", "--junit", "all.xml")
    done = report("build/null", "build/null/bundle", *files)
    assert done.code == 0, done.err
    document = json.loads((project / "build" / "null" / "result.json").read_text())
    with (project / "all.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * len(document["candidates"])
    assert [row["name"] for row in rows[: len(document["candidates"])]] == [
        item["name"] for item in document["candidates"]
    ]
    assert {row["target"] for row in rows} == {document["target"]}
    import pandas

    assert len(pandas.read_parquet(project / "all.parquet")) == len(rows)
    assert len(ET.parse(project / "all.xml").getroot().findall("testsuite")) == 2
    assert (project / "all.md").read_text().count(f"## {document['name']}") == 2


def test_what_a_strangers_result_says_moves_no_cursor(report, project: Path, tmp_path: Path) -> None:
    document = json.loads((project / "build" / "null" / "result.json").read_text())
    document["name"] = "\x1b[2J[bold]digits"
    (tmp_path / "result.json").write_text(json.dumps(document))
    done = report(str(tmp_path))
    assert done.code == 0, done.err
    assert "\x1b[2J" not in done.out
    assert "[bold]digits" in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nowhere",), 2, "there is no result"),
        (("build/null", "build/null", "--html", "x.html"), 2, "a page is of one build"),
        (("build/null", "--csv", "/proc/none/x.csv"), 3, "cannot be written"),
        ((), 2, "Missing argument"),
    ],
)
def test_a_report_is_refused(report, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = report(*arguments)
    assert (done.code, said in done.err) == (code, True), done.err


def test_a_bundle_with_a_flipped_byte_has_no_report(report, project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "build" / "null" / "bundle", tmp_path / "bundle")
    blob = max((tmp_path / "bundle" / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(data)
    assert report(str(tmp_path / "bundle")).code == 5
