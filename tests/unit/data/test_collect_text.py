"""One text file: whatever the encoding it becomes UTF-8, only line ends change, and damage is placed."""

import gzip

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as rounds
from hypothesis import strategies as st

from edgegen.core.errors import UsageError
from edgegen.data.collect import text as module
from support.media import gather
from support.told import Told

LINES = "Die Straße liegt im Schatten; ñandú, 日本語, ok.\n" * 40


def _collected(tmp_path, data, name="book.txt", **keys):
    (tmp_path / name).write_bytes(data)
    told = Told()
    record, _ = gather(tmp_path, name, progress=told, **keys)
    return record, (tmp_path / "collected" / "text.txt").read_bytes(), told.text


def test_collect_keeps_utf_8_to_the_byte(tmp_path):
    record, data, said = _collected(tmp_path, LINES.encode())
    assert data == LINES.encode()
    assert (record.carrier, record.kind, record.name, record.samples) == ("text", "text", "book", len(data))
    assert not said


def test_collect_unpacks_gz(tmp_path):
    record, data, _ = _collected(tmp_path, gzip.compress(LINES.encode()), "book.txt.gz")
    assert data == LINES.encode()
    assert record.name == "book"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-32"])
def test_collect_decodes_the_encoding_that_is_named(tmp_path, encoding):
    text = LINES.replace("日本語", "ü")
    assert _collected(tmp_path, text.encode(encoding), collect={"encoding": encoding})[1] == text.encode()


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_are_made_one_kind_and_said(tmp_path, end):
    _, data, said = _collected(tmp_path, LINES.replace("\n", end).encode())
    assert data == LINES.encode()
    assert "line ends" in said


def test_a_byte_order_mark_is_left_out_and_said(tmp_path):
    _, data, said = _collected(tmp_path, b"\xef\xbb\xbf" + LINES.encode())
    assert data == LINES.encode()
    assert "byte order mark" in said


@rounds(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"])), st.integers(1, 7))
def test_chunks_do_not_show_in_the_text(tmp_path, monkeypatch, text, chunk):
    monkeypatch.setattr(module, "_CHUNK_BYTES", chunk)
    whole = text + "x" * 1000
    _, data, _ = _collected(tmp_path, whole.encode())
    assert data.decode() == whole.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize("chunk", [1, 3, 1000, 1 << 20])
def test_a_byte_that_is_not_of_the_encoding_is_placed(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(module, "_CHUNK_BYTES", chunk)
    start = LINES.encode()
    with pytest.raises(UsageError, match=rf"line 41, byte {len(start) + 2}.*xe4"):
        _collected(tmp_path, start + b"ab\xe4bc" + start)
    assert not list((tmp_path / "collected").iterdir())


@pytest.mark.parametrize("cut", [1, 2])
def test_a_character_that_is_cut_off_at_the_end_is_placed(tmp_path, cut):
    data = LINES.encode() + "語".encode()
    with pytest.raises(UsageError, match=rf"line 41, byte {len(LINES.encode())}"):
        _collected(tmp_path, data[:-cut])


def test_a_nul_is_refused_with_its_line(tmp_path):
    with pytest.raises(UsageError, match=r"NUL.*line 3"):
        _collected(tmp_path, b"one\ntwo\nth\0ree\n" + LINES.encode())


def test_utf_16_under_the_name_of_utf_8_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"not utf-8"):
        _collected(tmp_path, LINES.encode("utf-16"))


def test_too_little_text_is_refused(tmp_path):
    with pytest.raises(UsageError, match="999 characters"):
        _collected(tmp_path, "ü".encode() * 999)
    assert _collected(tmp_path, "ü".encode() * 1000)[0].samples == 2000


@pytest.mark.parametrize("encoding", ["klingon", "rot13", "zlib", "base64", "hex", ""])
def test_what_is_no_character_encoding_is_refused(tmp_path, encoding):
    with pytest.raises(UsageError, match="encoding"):
        _collected(tmp_path, LINES.encode(), collect={"encoding": encoding})


@pytest.mark.parametrize("packed", [False, True])
def test_more_than_the_limit_is_refused(tmp_path, monkeypatch, packed):
    monkeypatch.setattr(module, "MOST_BYTES", 10_000)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 4096)
    data = b"x" * 10_001
    with pytest.raises(UsageError, match="too long"):
        _collected(tmp_path, gzip.compress(data) if packed else data, "book.gz" if packed else "book.txt")


@pytest.mark.parametrize("damage", ["cut", "flipped", "plain", "tail"])
def test_a_damaged_gz_is_refused(tmp_path, damage):
    whole = gzip.compress(np.random.default_rng(0).bytes(4000).hex().encode())
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    data = {"cut": whole[:-20], "flipped": bytes(flipped), "plain": LINES.encode(), "tail": whole + b"more"}[damage]
    with pytest.raises(UsageError, match=r"book\.gz"):
        _collected(tmp_path, data, "book.gz")
    assert not list((tmp_path / "collected").iterdir())


def test_a_folder_is_no_text(tmp_path):
    (tmp_path / "books").mkdir()
    with pytest.raises(UsageError, match="not a file"):
        gather(tmp_path, "books", kind="text")
