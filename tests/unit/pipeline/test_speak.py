"""``edgegen speak``: a text streams from a device, equal to the host's own, and every failure is one paragraph."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgegen.artifacts.layout import PREPROCESSING, BundleManifest
from edgegen.cli.main import _run
from edgegen.core.models import C_LIBRARY
from edgegen.devices.mcu.interface import read_interface
from edgegen.devices.mcu.speech import spoken
from edgegen.pipeline import speak
from edgegen.pipeline.opened_bundle import Opened
from support.mcu_devices import bridged, client, host_firmware, running
from support.mcu_models import write_sequence_model

ALPHABET = "abcdefghijklmnopqrs"  # and what it lacks: 20 tokens
HOW = ("--tokens", "40", "--seed", "7", "--temperature", "1.5", "--quiet")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("speak")
    return host_firmware(folder, model=write_sequence_model(folder / "model"))


@pytest.fixture(autouse=True)
def opened(built: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What ``open_bundle`` gives; a test may put another ``manifest`` or ``contract`` there."""
    rules = {"token": "token", "scores": "logits", "position": "position", "context": 12}
    memory = [
        {"input": "state", "output": "next_state", "kept": "whole"},
        {"input": "keys", "output": "new_keys", "kept": "ring"},
    ]
    step = {"do": "tokens", "tokenizer": {"kind": "character", "alphabet": ALPHABET}}
    given: dict[str, Any] = {
        "contract": {
            "generation": {**rules, "memory": memory},
            "data": {"preprocessing": {"schema_version": 1, "input": {"kind": "text"}, "steps": [step]}},
        },
        "manifest": BundleManifest(
            schema_version=1,
            name="letters",
            version="1.0.0",
            target="mps2-an386",
            candidate="static-int8@c",
            recipe="static-int8",
            format="c",
            runtime="edgegen-c",
            runtime_version="1",
            model="model.c",
            inputs=(),
            outputs=(),
            seeds={},
            files=(),
        ),
    }

    def found(path: Path) -> Opened:
        contract = tmp_path / PREPROCESSING
        contract.write_text(json.dumps(given["contract"]), encoding="utf-8")
        files = {PREPROCESSING: contract, C_LIBRARY: built[1], "model.onnx": built[1]}
        return Opened(folder=path, digest="sha256:0", manifest=given["manifest"], files=files, sample={})

    monkeypatch.setattr(speak, "open_bundle", found)
    return given


def _wanted(built: tuple[Path, Path], prompt: str) -> list[int]:
    """The same text from the firmware as a process of its own."""
    with running(built[0]) as connection:
        host = client(connection)
        host.greeted()
        tokens = [1 + ALPHABET.index(letter) for letter in prompt]
        return list(spoken(host, read_interface(built[1].parent), tokens, 40, seed=7, temperature=1.5))


def _text(tokens: list[int]) -> str:
    return "".join(("\ufffd" + ALPHABET)[token] for token in tokens)


def test_speak_streams_the_text_of_the_device(built: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    wanted = _wanted(built, "cab")
    with running(built[0]) as connection, bridged(connection) as port:
        assert _run(["speak", "b", "-p", "cab", *HOW, "--device", f"socket://127.0.0.1:{port}"]) == 0
    assert capsys.readouterr().out == f"cab{_text(wanted)}\n"
    assert len(set(wanted)) > 3


def test_speak_tells_json_alone_when_asked(built: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    wanted = _wanted(built, "cab")
    with running(built[0]) as connection, bridged(connection) as port:
        assert _run(["speak", "b", "-p", "cab", *HOW, "--json", "--device", f"socket://127.0.0.1:{port}"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["tokens"], told["text"], told["prompt_tokens"]) == (wanted, _text(wanted), [3, 1, 2])
    assert (told["schema_version"], told["target"], told["seed"]) == (1, "mps2-an386", 7)


def test_speak_ends_with_a_paragraph_where_the_line_is_cut(
    built: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with running(built[0]) as connection, bridged(connection, most=700) as port:
        assert _run(["speak", "b", "-p", "cab", *HOW, "--device", f"socket://127.0.0.1:{port}"]) == 4
    said = capsys.readouterr().err.strip()
    assert "the device does not answer" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("", "the prompt is empty"),
        ("cXb", "never saw: 'X'"),
        ("a" * 13, "has 13 tokens, and the model looks back on 12"),
    ],
)
def test_speak_refuses_a_prompt_that_the_model_cannot_read(
    prompt: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["speak", "b", "-p", prompt, *HOW, "--device", "socket://127.0.0.1:1"]) == 2
    assert said in capsys.readouterr().err


def test_speak_refuses_what_is_no_model_of_text_in_c(
    opened: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = opened["manifest"]
    opened["manifest"] = replace(whole, format="onnx", runtime="onnxruntime", model="model.onnx")
    assert _run(["speak", "b", "-p", "cab", *HOW]) == 2
    assert "edgegen_runtime generate" in capsys.readouterr().err
    opened["manifest"] = whole
    del opened["contract"]["generation"]
    assert _run(["speak", "b", "-p", "cab", *HOW]) == 2
    assert "writes no tokens" in capsys.readouterr().err


def test_speak_refuses_a_device_that_keeps_no_memory(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["speak", "b", "-p", "cab", *HOW, "--device", "null:"]) == 2
    assert "writes no texts by itself" in capsys.readouterr().err


def test_speak_refuses_numbers_out_of_range(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (("--tokens", "0"), ("--seed", "-1"), ("--seed", "4294967296"), ("--temperature", "-0.1")):
        assert _run(["speak", "b", "-p", "cab", *wrong]) == 2
        assert wrong[0] in capsys.readouterr().err
