"""A file that is replaced is never half of one."""

from __future__ import annotations

import os

import pytest

from edgegen.core.whole_file import put_file, replace_file


def test_a_file_is_replaced_and_readable_by_others(tmp_path):
    path = tmp_path / "new" / "file"
    replace_file(path, b"first")
    replace_file(path, b"second")
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(path.parent) == ["file"]


def test_a_failure_leaves_the_earlier_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    replace_file(path, b"first")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]


def test_a_pipe_that_a_person_names_is_written_to_and_stays_one(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    put_file(path, b"what it takes")
    assert os.read(reader, 100) == b"what it takes"
    os.close(reader)
    assert path.is_fifo()


def test_a_link_that_a_person_names_keeps_pointing_there(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "file")
    put_file(link, b"content")
    assert link.is_symlink()
    assert (tmp_path / "file").read_bytes() == b"content"
