"""What a bounded process may take, and how its end is told."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.errors import BuildError, EdgegenError, ExitCode, UsageError
from edgegen.export.confined import Bounds, confined

HERE = Path(__file__)


def greet(whom: str) -> dict[str, Any]:
    print("noise")
    return {"said": f"hello {whom}", "pid": os.getpid()}


def refuse() -> None:
    raise BuildError("no", where="m.onnx", got=3, expected="4", next_step="count again")


def crash() -> None:
    os.abort()


def sleep() -> None:
    time.sleep(60)


def hoard() -> int:
    return len(bytearray(3 << 30))


def flood() -> None:
    with Path("large").open("wb") as stream:
        stream.truncate(1 << 30)


def nest() -> None:
    nest()


def slip() -> None:
    raise KeyError("of edgegen's own making")


def leave() -> None:
    os._exit(0)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE.parent))


def _call(name: str, **arguments: Any) -> Any:
    bounds = Bounds(memory_bytes=1 << 30, seconds=4, file_bytes=1 << 20)
    return confined(f"{HERE.stem}:{name}", arguments, Path("m.onnx"), bounds)


def test_confined_gives_what_the_function_gives() -> None:
    told = _call("greet", whom="you")
    assert told["said"] == "hello you"
    assert told["pid"] != os.getpid()


def test_confined_errors_come_back_whole() -> None:
    with pytest.raises(BuildError) as caught:
        _call("refuse")
    assert caught.value.paragraph() == "no (m.onnx). Got: 3. Expected: 4. Next: count again."


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("crash", "SIGABRT"),
        ("sleep", "not done after 4 s"),
        ("hoard", "more than 1 GiB of memory"),
        ("flood", "a file of more than 1 MiB"),
        ("nest", "more levels within each other"),
    ],
)
def test_confined_bounds_hold(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        _call(name)


@pytest.mark.parametrize(
    ("name", "said"), [("slip", 'KeyError: "of edgegen\'s own making"'), ("leave", "exit status 0")]
)
def test_confined_bug_is_told_as_one(name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(EdgegenError, match="internal error") as caught:
        _call(name)
    assert caught.value.exit_code is ExitCode.INTERNAL
    assert said in str(caught.value.got)
    (report,) = tmp_path.glob("edgegen-error-*.txt")
    assert str(report) in str(caught.value.next_step)
    assert ("in slip" in report.read_text()) == (name == "slip")
