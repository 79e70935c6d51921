"""Lines over a real socket, a real terminal and a loop: whole, in order, bounded, and damage is counted."""

import contextlib
import os
import socket
import sys
import threading
import time
from collections import deque

import pytest
from hypothesis import given
from hypothesis import settings as rounds
from hypothesis import strategies as st

from edgegen.core.errors import ExitCode, ToolMissingError, UsageError
from edgegen.core.ports import Silent
from edgegen.links.serial import LineLink, open_lines
from support.told import Told


@contextlib.contextmanager
def server(*pieces, stay=False, answer=False):
    """A TCP server on this machine: sends ``pieces`` (numbers are pauses in seconds), then closes unless it stays."""
    done = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError), listener.accept()[0] as peer:
            for piece in pieces:
                if isinstance(piece, bytes):
                    peer.sendall(piece)
                else:
                    time.sleep(piece)
            while answer and (data := peer.recv(100)):
                peer.sendall(b"you said " + data)
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


def _until_lost(link):
    """All lines, and the error that ended them."""
    lines = []
    with pytest.raises(ToolMissingError) as caught:
        deque(map(lines.append, link.lines()), maxlen=0)
    assert caught.value.exit_code == ExitCode.NOT_JUDGED
    return lines, caught.value


def test_lines_come_whole_and_in_order_however_they_are_cut():
    pieces = [b"one\ntw", 0.02, b"o\r", 0.02, b"\nthr", b"ee\n\nfi\xc3", 0.02, b"\xbcve\nrest"]
    with server(*pieces) as url, open_lines(url) as link:
        lines, error = _until_lost(link)
    assert lines == ["one", "two", "three", "", "fiüve"]
    assert "closed" in error.got
    assert "5 lines" in error.got
    assert "4 bytes" in error.got


@rounds(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=20)), st.data())
def test_lines_do_not_depend_on_how_bytes_arrive(texts, data):
    stream = "".join(f"{text}\n" for text in texts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    with LineLink(_Pieces(pieces), "pieces", 5.0, 100, Silent()) as link:
        assert [link.line() for _ in texts] == texts
    assert (link.count, link.garbled, link.overlong) == (len(texts), 0, 0)


class _Pieces:
    """A port that gives these bytes and is then gone."""

    def __init__(self, pieces):
        self._pieces = list(pieces)

    def read(self):
        if not self._pieces:
            raise ConnectionError("gone")
        return self._pieces.pop(0)

    def write(self, data):
        raise ConnectionError("gone")

    def close(self):
        raise OSError("pulled out")


def test_a_line_that_is_no_utf_8_is_shown_and_counted():
    told = Told()
    with server(b"good\nb\xffd \xc3\x28\nlast\n") as url, open_lines(url, progress=told) as link:
        lines, _ = _until_lost(link)
    assert lines == ["good", r"b\xffd \xc3(", "last"]
    assert (link.count, link.garbled) == (3, 1)
    assert any("line 2 is no UTF-8" in said for said in told.said)
    assert any("3 lines, of which 1 are no UTF-8 and 0 too long" in said for said in told.said)


def test_many_damaged_lines_are_told_few_times_and_counted_all():
    told = Told()
    with server(b"\xff\n" * 500) as url, open_lines(url, progress=told) as link:
        _until_lost(link)
    assert link.garbled == 500
    assert len(told.said) == 4


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_line_that_is_too_long_is_cut_and_counted(end):
    with server(b"x" * 10 + end + b"y" * 11 + end + b"ok" + end) as url, open_lines(url, max_line_bytes=10) as link:
        lines, _ = _until_lost(link)
    assert lines == ["x" * 10, "y" * 10 + "... [cut at 10 bytes]", "ok"]
    assert link.overlong == 1


def test_an_endless_line_takes_no_memory_and_ends_in_time():
    with server(*[b"x" * 100_000] * 50, stay=True) as url, open_lines(url, timeout_s=0.5, max_line_bytes=100) as link:
        with pytest.raises(ToolMissingError, match="5000000 bytes of a line that does not end"):
            link.line()
        assert len(link._head) <= 101


def test_a_device_that_stalls_is_given_up_after_the_timeout():
    with server(b"one\ntw", stay=True) as url, open_lines(url, timeout_s=0.3) as link:
        assert link.line() == "one"
        started = time.monotonic()
        with pytest.raises(ToolMissingError, match=r"no line came within 0\.3 s.*baud"):
            link.line()
        assert 0.25 < time.monotonic() - started < 2


def test_a_line_may_be_sent_and_answered():
    with server(answer=True) as url, open_lines(url) as link:
        link.send("grüße")
        assert link.line() == "you said grüße"


def test_sending_to_a_device_that_is_gone_is_an_error_of_its_own():
    with LineLink(_Pieces([]), "x", 1.0, 10, Silent()) as link, pytest.raises(ToolMissingError, match="lost"):
        link.send("hello")


@pytest.mark.skipif(sys.platform != "linux", reason="pseudo terminals as Linux has them")
def test_lines_come_over_a_terminal_and_its_end_is_noticed():
    pytest.importorskip("serial")
    master, slave = os.openpty()
    path = os.ttyname(slave)
    with open_lines(path, baud=9600, timeout_s=2) as link:
        os.close(slave)
        os.write(master, b"first\r\nsec")
        assert link.line() == "first"
        os.write(master, b"ond\n")
        assert link.line() == "second"
        with pytest.raises(ToolMissingError, match="cannot be opened"):
            open_lines(path)
        os.close(master)
        with pytest.raises(ToolMissingError, match="lost"):
            link.line()


def test_lines_come_over_a_loop():
    pytest.importorskip("serial")
    with open_lines("loop://", timeout_s=1) as link:
        for text in ("one", "two"):
            link.send(text)
        assert [link.line(), link.line()] == ["one", "two"]


@pytest.mark.parametrize(
    "url",
    [
        "socket://",
        "socket://host",
        "socket://host:port",
        "socket://host:99999",
        "socket://h:1/path",
        "socket://h:1?logging=debug",
        "spy:///dev/ttyUSB0?file=/tmp/x",
        "alt:///dev/ttyUSB0?class=x",
        "hwgrep://.*",
        "http://host:80",
        "ttyUSB0",
        "",
    ],
)
def test_what_is_no_port_is_refused(url):
    with pytest.raises(UsageError):
        open_lines(url)


@pytest.mark.parametrize("numbers", [{"baud": 0}, {"timeout_s": 0}, {"max_line_bytes": 0}])
def test_numbers_that_are_not_positive_are_refused(numbers):
    with pytest.raises(UsageError, match="positive"):
        open_lines("loop://", **numbers)


def test_a_port_that_is_not_there_is_told_with_what_to_do():
    pytest.importorskip("serial")
    with pytest.raises(ToolMissingError, match="check that the device is there"):
        open_lines("/dev/ttyNOTHERE")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
    with pytest.raises(ToolMissingError, match="cannot be opened"):
        open_lines(f"socket://127.0.0.1:{number}")


def test_a_missing_pyserial_is_told_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(ToolMissingError, match=r"edgegen\[serial\]"):
        open_lines("loop://")
