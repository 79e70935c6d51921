"""Histories: lines that outlive kills and other writers, bounded reading, and what pandas and Parquet make of them."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
from example_runs import clocked, run, times, with_figure

from edgegen.bench import history
from edgegen.bench.history import append_run, read_history
from edgegen.bench.runs import line_of
from edgegen.core.errors import StorageError, UsageError


def test_history_gives_back_what_was_appended(tmp_path: Path) -> None:
    runs = (run(), with_figure("instructions", 760_000), clocked(times(1)))
    for item in runs:
        append_run(tmp_path / "in" / "bench.jsonl", item)
    found = read_history(tmp_path / "in" / "bench.jsonl")
    assert (found.runs, found.torn) == (runs, 0)
    assert found.of("linux-x86_64", "digits") == runs[2:]


@pytest.mark.parametrize("left", [1, 40, 400])
def test_history_with_a_torn_last_line_keeps_the_others_and_tells(tmp_path: Path, left: int) -> None:
    path = tmp_path / "bench.jsonl"
    append_run(path, run())
    with path.open("ab") as stream:
        stream.write(line_of(run()).encode()[:left])
    found = read_history(path)
    assert (len(found.runs), found.torn) == (1, 1)
    append_run(path, with_figure("instructions", 1.0))
    again = read_history(path)
    assert (len(again.runs), again.torn) == (2, 1)
    assert again.runs[1].figure("instructions").value == 1.0


def test_history_torn_at_any_place_keeps_the_other_line(tmp_path: Path) -> None:
    line = line_of(run(name='a "quoted" \\ name')).encode()
    assert json.loads(line)["name"] == 'a "quoted" \\ name'
    for left in range(1, len(line)):
        found = history.parse_history(line + b"\n" + line[:left], "bench.jsonl")
        assert (len(found.runs), found.torn) == (1, 1), line[:left]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("750045", "9" * 400, "more than 64 bits"),
        ('"name":"digits"', '"name":"digits\\n::error::x"', "name is no plain text"),
        ('"target":"raspberrypi5"', '"target":"\\u001b[2J"', "target is no plain text"),
        ('"metric":"bytes_loaded"', '"metric":"size_bytes"', "one figure twice"),
    ],
    ids=["number", "line", "escape", "twice"],
)
def test_history_with_a_hostile_run_is_refused(old: str, new: str, said: str) -> None:
    assert old in line_of(run())
    with pytest.raises(UsageError, match=said):
        history.parse_history(line_of(run()).replace(old, new).encode(), "bench.jsonl")


def test_history_of_a_whole_line_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    path.write_text(line_of(run()) + "\n<<<<<<< HEAD\n" + line_of(run()) + "\n")
    with pytest.raises(UsageError, match="line 2"):
        read_history(path)


def test_history_makes_the_folder_of_its_parquet_file_or_tells_why_not(tmp_path: Path) -> None:
    found = history.parse_history(line_of(run()).encode(), "bench.jsonl")
    found.to_parquet(tmp_path / "new" / "bench.parquet")
    assert (tmp_path / "new" / "bench.parquet").read_bytes()[:4] == b"PAR1"
    with pytest.raises(StorageError, match="Got: "):
        found.to_parquet(tmp_path / "new" / "bench.parquet" / "x")


def _write(path: Path, writer: int) -> None:
    for number in range(20):
        append_run(path, with_figure("instructions", float(100 * writer + number)))


def test_history_of_several_writers_at_once_holds_every_line(tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(path, number)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = {item.figure("instructions").value for item in read_history(path).runs}
    assert found == {100 * writer + number for writer in range(4) for number in range(20)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"surprise": 1}, "surprise"),
        ({"fingerprint": "0" * 16}, "fingerprint"),
        ({"figures": [{"metric": "x", "kind": "guessed", "value": 1}]}, "kind"),
        ({"figures": [{"metric": "x", "kind": "exact", "value": "1"}]}, "value"),
        ({"figures": None}, "figures"),
        ({"machine": {"core": 3}}, "machine"),
    ],
)
def test_history_of_a_line_that_is_no_run_is_refused(tmp_path: Path, change: dict, said: str) -> None:
    (tmp_path / "bench.jsonl").write_text(json.dumps(json.loads(line_of(run())) | change) + "\n")
    with pytest.raises(UsageError, match=said):
        read_history(tmp_path / "bench.jsonl")


@pytest.mark.parametrize("line", ["[]", "3", '{"a":1,"a":2}', "[" * 5000, '{"value": 1e999}', "\xff"])
def test_history_of_hostile_lines_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "bench.jsonl").write_bytes(line.encode("latin-1") + b"\n")
    with pytest.raises(UsageError):
        read_history(tmp_path / "bench.jsonl")


def test_history_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bench.jsonl"
    append_run(path, run())
    monkeypatch.setattr(history, "MAX_BYTES", 100)
    with pytest.raises(UsageError, match="too large"):
        read_history(path)


def test_history_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("mine")
    (tmp_path / "bench.jsonl").symlink_to(tmp_path / "other")
    with pytest.raises(StorageError):
        append_run(tmp_path / "bench.jsonl", run())
    assert (tmp_path / "other").read_text() == "mine"


def test_history_that_is_not_there_says_how_to_begin_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--record"):
        read_history(tmp_path / "bench.jsonl")


def test_history_as_pandas_has_a_row_a_figure_and_a_process(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    for item in (run(), clocked(times(2))):
        append_run(tmp_path / "bench.jsonl", item)
    frame = read_history(tmp_path / "bench.jsonl").to_frame()
    assert len(frame) == 5 + 1 + 7
    latency = frame[(frame.metric == "latency_p50_ms") & frame.process.isna()]
    assert latency.value.item() == pytest.approx(frame[frame.process.notna()].value.median())


def test_history_as_parquet_reads_back_the_same(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    for item in (run(), clocked(times(3))):
        append_run(tmp_path / "bench.jsonl", item)
    found = read_history(tmp_path / "bench.jsonl")
    found.to_parquet(tmp_path / "bench.parquet")
    pandas.testing.assert_frame_equal(
        pandas.read_parquet(tmp_path / "bench.parquet"), found.to_frame(), check_dtype=False
    )
