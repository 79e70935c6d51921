"""Candidates that remember otherwise than their parent: fewer heads, layers or units, judged on the same tokens."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.artifacts.verify import core_files
from edgegen.core.cache import Cache
from edgegen.core.errors import BuildError, ExitCode
from edgegen.core.ports import Silent
from edgegen.core.stages import Stages
from edgegen.pipeline.make import Maker
from edgegen.pipeline.model import ModelMaker, load_inputs, load_targets
from edgegen.pipeline.order import order
from edgegen.train.autoregressive import AUTOREGRESSIVE
from support.projects import LETTERS, edgegen
from unit.runtime.example_models import run_runtime

PROJECT = f"""{LETTERS}
[model]
family = "autoregressive"
cell = "{{cell}}"
layers = 2
width = 64
heads = 4

[compress]
recipes = ["float32", "pruned", "pruned+dynamic-int8", "distilled", "sparse"]

[compress.pruned]
ratio = 0.5
steps = 5
scope = "layer"

[compress.sparse]
ratio = 0.3
steps = 5

[compress.distilled]
steps = 5
learning_rate = 0.0001
student = {{student}}

[quality]
samples = 12
second_training = false

[export]
formats = ["onnx"]

[budgets.size]
max_bytes = 1_000_000
"""
CELLS = {
    "transformer": {
        "student": "{ layers = 1 }",
        "memory": dict.fromkeys(("keys", "values"), ((1, 4, 16, 16), (1, 2, 16, 16))),
    },
    "gru": {"student": "{ hidden = [16] }", "memory": {"state": ((1, 2, 32), (1, 2, 16))}},
}


def project(folder: Path, cell: str) -> Path:
    draw = np.random.Generator(np.random.PCG64(1))
    words = ("bad", "face", "head", "cage", "beach", "deaf", "hedge")
    lines = (" ".join(words[number] for number in draw.integers(0, len(words), 8)) for _ in range(300))
    (folder / "letters.txt").write_text("\n".join(lines))
    (folder / "edgegen.toml").write_text(PROJECT.format(cell=cell, student=CELLS[cell]["student"]), encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=list(CELLS))
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Any:
    """The cell, the project's folder after a build for the null target, and ``result.json``."""
    folder = project(tmp_path_factory.mktemp("memory"), request.param)
    done = edgegen("build", "--target", "null", "--json", cache=cache, cwd=folder)
    assert done.code == ExitCode.OK, done.err
    return request.param, folder, done.document


def maker_of(folder: Path, cache: Path) -> tuple[Maker, dict[str, Any]]:
    ordered = order(folder, target="null")
    store = Cache(cache)
    model = ModelMaker(ordered.project, ordered.settings, Stages(store.store(), Silent()), store, Silent())
    return Maker(model, Silent()), {str(item.name): item for item in ordered.planned}


def test_a_candidate_of_less_memory_is_built_judged_and_chosen(built: Any) -> None:
    cell, _, document = built
    found = {item["name"]: item for item in document["candidates"]}
    assert {item["status"] for item in found.values()} == {"chosen", "eligible"}, found
    for name in ("pruned@onnx", "pruned+dynamic-int8@onnx", "distilled@onnx"):
        assert found[name]["size_bytes"] < found["float32@onnx"]["size_bytes"]
        assert found[name]["quality"]["task"]["top1_agreement_ratio_mean"] > 0.2
        assert np.isfinite(found[name]["quality"]["known"]["perplexity_mean"])
        said = " ".join(text for told in found[name]["passes"] for text in told["changed"])
        assert "it remembers otherwise" in said
        assert all(memory in said for memory in CELLS[cell]["memory"])
    assert document["chosen"]["candidate"] != "float32@onnx"


def test_the_bundle_tells_the_chosen_model_s_own_tensors(built: Any) -> None:
    cell, folder, _ = built
    files = core_files(folder / "build/null/bundle")
    contract = json.loads(files["preprocessing.json"].read_text())
    shapes = {spec["name"]: tuple(spec["shape"]) for spec in contract["inputs"]}
    for name, sizes in CELLS[cell]["memory"].items():
        assert shapes[name] in sizes
    with np.load(io.BytesIO(files["golden.npz"].read_bytes())) as golden:
        for name, shape in shapes.items():
            assert golden[f"input/{name}"].shape[1:] == shape[1:]


def test_a_text_s_costs_are_told_and_the_bundle_writes_one(built: Any) -> None:
    cell, folder, document = built
    told, files = document["generation"], folder / "build/null/files"
    assert told["decode"]["instructions_per_token"] > 0
    assert told["decode"]["tokens_per_s"] is None  # the null device has no clock
    assert 0 <= told["rolled_out"]["same_tokens"] <= told["rolled_out"]["written_tokens"]
    memory = told["memory"]
    if cell == "gru":
        assert (told["context"], told["prefill"], memory["bytes_per_token"]) == (None, None, 0)
        assert "a token after the other" in told["no_prefill"]
        assert not (files / "prefill.onnx").exists()
    else:
        assert memory["bytes_at_full_context"] == 16 * memory["bytes_per_token"]
        assert told["prefill"]["size_bytes"] == (files / "prefill.onnx").stat().st_size
        assert told["prefill"]["block"] == 16
        assert told["prefill"]["quality"]["task"]["top1_agreement_ratio_mean"] > 0.2
        assert "prefill.onnx" in {item["path"] for item in document["chosen"]["files"]}
    (size,) = (item for item in document["verdicts"] if item["budget"] == "size")
    shipped = [item for item in document["chosen"]["files"] if item["path"].endswith(".onnx")]
    assert len(shipped) == (1 if cell == "gru" else 2)
    assert size["value"] == sum(item["size_bytes"] for item in shipped)
    done = run_runtime("generate", files, "--prompt", "bad face", "--tokens", "20", "--seed", "1", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("bad face")
    assert len(done.stdout) == len("bad face") + 21
    assert "### A text" in (folder / "build/null/summary.md").read_text()


def test_every_candidate_is_asked_the_same_questions(built: Any, cache: Path) -> None:
    cell, folder, _ = built
    maker, planned = maker_of(folder, cache)
    parent, smaller, float32 = (
        load_inputs(maker.quality(planned[name])) for name in ("float32@onnx", "pruned@onnx", "float32@onnx")
    )
    for name, array in parent.items():
        assert np.array_equal(array, float32[name])
        assert np.array_equal(array, smaller[name]) == (name not in CELLS[cell]["memory"])
    drawn = [load_targets(maker.quality(planned[name])) for name in ("float32@onnx", "pruned@onnx")]
    assert np.array_equal(*drawn)
    assert maker.quality(planned["float32@onnx"]).key == maker.model.quality().key
    assert maker.calibration(planned["pruned@onnx"]).key != maker.model.calibration().key
    assert maker.validation(planned["pruned@onnx"], 4).key != maker.model.validation(4).key


@pytest.mark.parametrize("name", ["distilled@onnx", "sparse@onnx"])
def test_what_is_remembered_is_the_candidate_s_own(built: Any, cache: Path, name: str) -> None:
    """A step from the drawn memory gives what the changed model gives after reading the whole row."""
    import torch

    from edgegen.train.deployed import load_deployed

    _, folder, _ = built
    maker, planned = maker_of(folder, cache)
    item = planned[name]
    own = maker.remembering(item)
    assert own is not None
    module, _, _ = load_deployed({name: blob.path for name, blob in own.files.items()})
    inputs = {name: np.array(array) for name, array in load_inputs(maker.quality(item)).items()}
    with torch.no_grad():
        stepped = module(*(torch.from_numpy(array) for array in inputs.values()))[0].numpy()
    part = np.load(maker.model.data.prepared().files["test-x.npy"].path).astype(np.int64)
    with torch.no_grad():
        whole = module.whole(torch.from_numpy(part[:, :-1])).numpy().reshape(-1, stepped.shape[1])
    for row in stepped:
        assert np.abs(whole - row).max(axis=1).min() < 1e-4


def test_a_model_that_answers_other_questions_is_refused(tmp_path: Path, cache: Path) -> None:
    folder = project(tmp_path, "transformer")
    text = (folder / "edgegen.toml").read_text().replace("{ layers = 1 }", "{ vocabulary = 5 }")
    text = text.replace('"pruned", "pruned+dynamic-int8", ', "").replace(', "sparse"', "")
    (folder / "edgegen.toml").write_text(text)
    maker, planned = maker_of(folder, cache)
    with pytest.raises(BuildError) as error:
        maker.exported(planned["distilled@onnx"])
    assert "would take or give other tensors" in error.value.paragraph()


def test_a_prompt_file_that_the_size_budget_has_no_room_for_is_left_out(built: Any, cache: Path) -> None:
    cell, folder, document = built
    room = next(item["size_bytes"] for item in document["chosen"]["files"] if item["path"] == "model.onnx") + 100
    asked = ("--set", f"budgets.size.max_bytes={room}", "--out", str(folder / "small"))
    done = edgegen("build", "--target", "null", "--json", *asked, cache=cache, cwd=folder)
    assert done.code == ExitCode.OK, done.err
    told = done.document["generation"]
    assert told["prefill"] is None
    if cell == "transformer":
        assert f"max_bytes = {room:,}" in told["no_prefill"]
        assert "No second file" in (folder / "small/null/summary.md").read_text()
    assert not (folder / "small/null/files/prefill.onnx").exists()
    contract = json.loads((folder / "small/null/files/preprocessing.json").read_text())
    assert "block" not in contract["generation"]


def test_a_step_that_changed_the_questions_is_refused(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from edgegen.pipeline.make import _memory
    from edgegen.train.deployed import save_deployed
    from support.texts import fresh, settings

    parent: Any = SimpleNamespace(
        family=AUTOREGRESSIVE, settings=settings(), project=SimpleNamespace(family="autoregressive")
    )
    for changes in ({}, {"hidden": (8, 8)}, {"heads": 2, "head_length": 6}, {"context": 6}, {"vocabulary": 5}):
        changed = settings(**changes)
        save_deployed(fresh(changed), "autoregressive", changed, tmp_path)
        if "vocabulary" in changes:
            with pytest.raises(BuildError, match="shrunk changed what the model takes or gives"):
                _memory("shrunk", tmp_path, parent)
        else:
            assert list(_memory("shrunk", tmp_path, parent))[:2] == ["keys", "values"]
