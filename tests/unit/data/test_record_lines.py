"""Recording sensor rows: over a real socket, into a file that stays whole whatever ends the recording."""

import contextlib
import csv
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from edgegen.core.errors import StorageError, ToolMissingError, UsageError
from edgegen.core.ports import Silent
from edgegen.data.record import record
from edgegen.links.serial import open_lines
from support.told import Told

HEADER = "t_s,x,y,label,group\n"
XY = {"columns": ("x", "y"), "label": "still", "progress": Silent()}


@contextlib.contextmanager
def device(*pieces, stay=False):
    """A sensor behind a socket: sends ``pieces``, then closes unless it stays."""
    done = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError), listener.accept()[0] as peer:
            for piece in pieces:
                peer.sendall(piece)
            if stay:
                done.wait(10)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"socket://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        done.set()
        listener.close()
        thread.join(5)


def _rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def _numbers(count, start=0):
    return [f"{index},{index * 0.5}" for index in range(start, start + count)]


def _sent(lines):
    return "".join(f"{line}\n" for line in lines).encode()


def test_record_writes_what_a_device_sends(tmp_path):
    with device(_sent(_numbers(200)), stay=True) as url, open_lines(url) as link:
        done = record(link.lines(), tmp_path / "a.csv", rows=50, rate_hz=100, **XY)
    rows = _rows(tmp_path / "a.csv")
    assert (done.rows, done.refused, done.group) == (50, 0, "recording-0001")
    assert done.seconds == pytest.approx(0.49)
    assert [row["x"] for row in rows] == [str(index) for index in range(1, 51)]  # the first line may be half a line
    assert [float(row["t_s"]) for row in rows] == pytest.approx([index / 100 for index in range(50)])
    assert {(row["label"], row["group"]) for row in rows} == {("still", "recording-0001")}


def test_record_keeps_numbers_as_they_were_sent(tmp_path):
    record(["1e-3, +.5", "-7.,00012.50"], tmp_path / "a.csv", rows=2, rate_hz=1, first_line_whole=True, **XY)
    assert (tmp_path / "a.csv").read_text() == (
        HEADER + "0.000000,1e-3,+.5,still,recording-0001\n1.000000,-7.,00012.50,still,recording-0001\n"
    )


def test_record_appends_recordings_and_numbers_them(tmp_path):
    for label in ("still", "walk, fast", 'a "b"'):
        record(_numbers(9), tmp_path / "a.csv", rows=5, **{**XY, "label": label})
    record(_numbers(9), tmp_path / "a.csv", rows=5, group="mine", **XY)
    groups = [row["group"] for row in _rows(tmp_path / "a.csv")]
    assert groups == [f"recording-000{number}" for number in (1, 2, 3) for _ in range(5)] + ["mine"] * 5
    assert {row["label"] for row in _rows(tmp_path / "a.csv")} == {"still", "walk, fast", 'a "b"'}
    with pytest.raises(UsageError, match="of that name"):
        record(_numbers(9), tmp_path / "a.csv", rows=5, group="recording-0002", **XY)


def test_record_without_a_label_writes_no_such_column(tmp_path):
    record(_numbers(9), tmp_path / "a.csv", rows=5, **{**XY, "label": None})
    assert (tmp_path / "a.csv").read_text().startswith("t_s,x,y,group\n")


def test_the_clock_of_the_device_is_kept_and_decides_the_end(tmp_path):
    lines = [f"{index},{10 + index / 4}" for index in range(100)]
    done = record(lines, tmp_path / "a.csv", seconds=2, columns=("x", "t_s"), label="a", progress=Silent())
    assert (done.rows, done.seconds) == (9, 2.0)
    assert _rows(tmp_path / "a.csv")[0] == {"t_s": "10.25", "x": "1", "label": "a", "group": "recording-0001"}


@pytest.mark.parametrize("second", ["1,10.0", "1,9.0"])
def test_a_clock_that_does_not_advance_ends_the_recording_and_keeps_its_rows(tmp_path, second):
    lines = ["0,9.5", "0,10", second, "2,11"]
    with pytest.raises(UsageError, match=r"does not advance.*2 rows of 'recording-0001' are kept"):
        record(
            lines, tmp_path / "a.csv", rows=9, columns=("x", "t_s"), label="a", first_line_whole=True, progress=Silent()
        )
    assert len(_rows(tmp_path / "a.csv")) == 2


def test_without_a_clock_the_time_of_arrival_is_written(tmp_path):
    def slowly():
        for line in _numbers(6):
            yield line
            time.sleep(0.02)

    record(slowly(), tmp_path / "a.csv", rows=5, **XY)
    times = [float(row["t_s"]) for row in _rows(tmp_path / "a.csv")]
    assert times[0] == 0
    assert all(0.015 < later - earlier < 0.5 for earlier, later in itertools.pairwise(times))


def test_refused_lines_are_counted_told_and_leave_their_gap_in_time(tmp_path):
    told = Told()
    lines = _numbers(40)
    lines[10:10] = ["x,y", "", "  "]  # the column names again, and nothing: both passed over
    lines[20] = "12;3"
    lines[30] = "nan,1"
    done = record(lines, tmp_path / "a.csv", rows=38, rate_hz=10, first_line_whole=True, **{**XY, "progress": told})
    times = [round(float(row["t_s"]) * 10) for row in _rows(tmp_path / "a.csv")]
    assert done.refused == 2
    assert times == sorted(set(range(40)) - {17, 27})
    assert "'12;3'" in told.text
    assert "x is no number: 'nan,1'" in told.text


def test_garbled_bytes_are_never_rows(tmp_path):
    good = _sent(_numbers(200))
    noise = b"".join(bytes(random.Random(seed).choices(range(1, 256), k=12)) + b"\n" for seed in range(8))
    pieces = [good, noise, b"3,\xff4\n", b"5," + b"6" * 5000 + b"\n", good]
    with device(*pieces, stay=True) as url, open_lines(url) as link:
        done = record(link.lines(), tmp_path / "a.csv", rows=390, **XY)
    assert done.refused >= 10
    assert {row["y"] for row in _rows(tmp_path / "a.csv")} <= {line.split(",")[1] for line in _numbers(200)}


@pytest.mark.parametrize(
    "line", ["", "1", "1,2,3", "a,b", "1,0x10", "1,1_0", "1,inf", "1,1e999", "1,٣", "1,", "1," + "2" * 41, "1,2\r3"]
)
def test_what_is_no_row_of_numbers_is_refused(tmp_path, line):
    with pytest.raises(UsageError):
        record([line], tmp_path / "a.csv", rows=1, first_line_whole=True, **XY)
    assert _rows(tmp_path / "a.csv") == []


def test_too_many_refused_lines_end_the_recording(tmp_path):
    lines = [line for pair in zip(_numbers(50), ["boot message"] * 50, strict=True) for line in pair]
    with pytest.raises(UsageError, match=r"10 of 20; 10 rows of .* are kept.*at most 10%"):
        record(lines, tmp_path / "a.csv", rows=50, first_line_whole=True, **XY)
    assert len(_rows(tmp_path / "a.csv")) == 10


def test_a_share_of_refused_lines_may_be_allowed(tmp_path):
    lines = [line for pair in zip(_numbers(50), ["boot message"] * 50, strict=True) for line in pair]
    assert record(lines, tmp_path / "a.csv", rows=49, refused_share=0.6, **XY).refused == 49


def test_a_connection_that_is_lost_keeps_the_rows_before(tmp_path):
    says = r"lost.*30 rows of 'recording-0001' are kept"
    with (
        device(_sent(_numbers(31)), b"31,1") as url,
        open_lines(url) as link,
        pytest.raises(ToolMissingError, match=says),
    ):
        record(link.lines(), tmp_path / "a.csv", rows=100, **XY)
    assert len(_rows(tmp_path / "a.csv")) == 30


def test_a_device_that_stalls_keeps_the_rows_before(tmp_path):
    says = r"no line came within 0\.2 s.*30 rows"
    with (
        device(_sent(_numbers(31)), b"31,1", stay=True) as url,
        open_lines(url, timeout_s=0.2) as link,
        pytest.raises(ToolMissingError, match=says),
    ):
        record(link.lines(), tmp_path / "a.csv", rows=100, **XY)
    assert (tmp_path / "a.csv").read_bytes().endswith(b"recording-0001\n")


def test_a_stream_that_ends_early_is_said(tmp_path):
    told = Told()
    assert record(_numbers(9), tmp_path / "a.csv", rows=100, **{**XY, "progress": told}).rows == 8
    assert "ended after 8 rows" in told.text
    with pytest.raises(UsageError, match="before the first row"):
        record(_numbers(1), tmp_path / "b.csv", rows=100, **XY)


_CHILD = """
import sys, time
from pathlib import Path
from edgegen.core.ports import Silent
from edgegen.data.record import record
def lines():
    number = 0
    while True:
        number += 1
        yield f"{number},{number / 2}"
        if number % 100 == 0:
            time.sleep(0.02)
            print(number, flush=True)
record(lines(), Path(sys.argv[1]), columns=("x", "y"), label="still", rows=10**9, progress=Silent())
"""


def test_a_killed_recording_leaves_whole_lines_and_the_next_one_goes_on(tmp_path):
    path = tmp_path / "a.csv"
    with subprocess.Popen([sys.executable, "-c", _CHILD, str(path)], stdout=subprocess.PIPE) as child:
        deadline = time.monotonic() + 20
        while (not path.exists() or path.stat().st_size < 1000) and time.monotonic() < deadline:
            child.stdout.readline()
        with pytest.raises(ToolMissingError, match="holds the lock"):
            record(_numbers(9), path, rows=5, **XY)
        child.send_signal(signal.SIGKILL)
    assert path.read_bytes().endswith(b"\n")
    before = _rows(path)
    assert [row["x"] for row in before] == [str(number) for number in range(2, len(before) + 2)]
    record(_numbers(9), path, rows=5, **XY)
    assert [row["group"] for row in _rows(path)] == ["recording-0001"] * len(before) + ["recording-0002"] * 5


ROW = "0.000000,1,2,still,recording-0001\n"


@pytest.mark.parametrize("cut", range(1, len(ROW)))
def test_a_torn_last_line_is_left_out_and_shown_or_kept_if_whole(tmp_path, cut):
    path = tmp_path / "a.csv"
    path.write_text(HEADER + ROW + ROW[:cut])
    told = Told()
    record(_numbers(9), path, rows=1, **{**XY, "progress": told})
    whole = cut == len(ROW) - 1
    assert path.read_text().startswith(HEADER + ROW + ROW * whole + "0.000000,1,0.5,still,recording-0002\n")
    assert ("torn" in told.text) != whole
    assert whole or repr(ROW[:cut]) in told.text


@pytest.mark.parametrize("cut", range(len(HEADER)))
def test_a_torn_header_is_written_again(tmp_path, cut):
    path = tmp_path / "a.csv"
    path.write_text(HEADER[:cut])
    record(_numbers(9), path, rows=1, **XY)
    assert path.read_text() == HEADER + "0.000000,1,0.5,still,recording-0001\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("t_s,x,z,label,group\n", "other columns"),
        ("t_s,x,y,group\n", "other columns"),
        ("\n", "other columns"),
        ("\x00\x01\x02", "other columns"),
        ("x" * 100_000, "other columns"),
        (HEADER + "1,2\n" + ROW, "line 2"),
        (HEADER + ROW + '0,1,2,"still,recording-0001\n' + ROW, "line 3"),
    ],
)
def test_a_file_of_something_else_is_not_touched(tmp_path, text, says):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        record(_numbers(9), path, rows=5, **XY)
    assert path.read_text() == text


def test_bytes_that_are_no_utf_8_in_the_file_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(HEADER.encode() + b"0,1,2,\xff,r\n")
    with pytest.raises(UsageError, match="line 2"):
        record(_numbers(9), path, rows=5, **XY)


@pytest.mark.parametrize("place", ["folder", "pipe", "under a file"])
def test_a_place_that_cannot_hold_a_file_is_refused(tmp_path, place):
    path = tmp_path / "a.csv"
    if place == "folder":
        path.mkdir()
    elif place == "pipe":
        os.mkfifo(path)
    else:
        path.touch()
        path = path / "b.csv"
    with pytest.raises(UsageError):
        record(_numbers(9), path, rows=5, **XY)


_FULL = """
import resource, sys
from pathlib import Path
from edgegen.core.errors import StorageError
from edgegen.core.ports import Silent
from edgegen.data.record import record
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    lines = (f"{n},1" for n in range(1000))
    record(lines, Path(sys.argv[1]), columns=("x", "y"), label="a", rows=900, progress=Silent())
except StorageError as error:
    print(error)
"""


def test_a_full_disk_is_told_and_the_next_recording_mends_the_file(tmp_path):
    path = tmp_path / "a.csv"
    command = [sys.executable, "-c", _FULL, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "cannot be written" in done.stdout
    assert path.stat().st_size == 1000
    assert StorageError.exit_code == 3
    record(_numbers(9), path, rows=5, **XY)
    assert [row["group"] for row in _rows(path)][-6:] == ["recording-0001", *["recording-0002"] * 5]


@pytest.mark.parametrize(
    "keys",
    [
        {"columns": ()},
        {"columns": ("t_s",)},
        {"columns": ("x", "x")},
        {"columns": ("x", "label")},
        {"columns": ("x", "a,b")},
        {"columns": ("x", 'a"')},
        {"columns": ("x", "a\nb")},
        {"columns": ("x", "t_s"), "rate_hz": 10},
        {"label": ""},
        {"label": "a\nb"},
        {"label": "=SUM(A1)"},
        {"group": "\x1b[31m"},
        {"rows": None},
        {"rows": 0},
        {"rows": -1},
        {"seconds": float("nan")},
        {"rate_hz": 0},
        {"rate_hz": float("inf")},
    ],
)
def test_settings_that_contradict_each_other_make_no_file(tmp_path, keys):
    with pytest.raises(UsageError):
        record(_numbers(9), tmp_path / "a.csv", **{**XY, "rows": 5, **keys})
    assert not list(tmp_path.iterdir())
