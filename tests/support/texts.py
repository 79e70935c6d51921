"""A small model of sequences in every form, its prompt file beside it, and the text that each goes on with."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgegen.core.models import FORMATS
from edgegen.export.formats import convert
from edgegen.train.autoregressive import AUTOREGRESSIVE, AutoregressiveSettings
from edgegen.train.deployed import model_signature, save_deployed, save_reading_blocks
from edgegen_runtime.generate import Model, Reading, Rules, Sampling, generate, read_rules
from edgegen_runtime.session import Port

VOCABULARY, CONTEXT, BLOCK = 9, 12, 5
PROMPT = (3, 1, 4, 1, 5, 8, 2)


def settings(cell: str = "transformer", **changes: Any) -> AutoregressiveSettings:
    chosen = AutoregressiveSettings(
        cell=cell, layers=2, width=24, heads=4, vocabulary=VOCABULARY, context=CONTEXT, prefill=BLOCK
    )  # type: ignore[arg-type]
    return replace(chosen, **changes)


def fresh(chosen: AutoregressiveSettings) -> Any:
    """A model whose every weight takes part, equal for equal sizes however it reads."""
    torch.manual_seed(3)
    model = AUTOREGRESSIVE.build(chosen)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def write_forms(folder: Path, chosen: AutoregressiveSettings, forms: Sequence[str] = ("onnx", "litert")) -> None:
    """``step/`` and, where the model reads blocks, ``block/`` with its files in the torch form and in these formats."""
    step, block = folder / "step", folder / "block"
    step.mkdir(parents=True)
    block.mkdir()
    save_deployed(fresh(chosen), "autoregressive", chosen, step)
    names = ("deployed.json", "deployed.safetensors")
    if not save_reading_blocks({name: step / name for name in names}, block):
        shutil.rmtree(block)
    for place in (step, block):
        if place.is_dir():
            for form in forms:
                convert(place, place, form="torch", to=form)


def rules_of(chosen: AutoregressiveSettings, *, blocks: bool) -> Rules:
    told = AUTOREGRESSIVE.generation(chosen)
    if blocks:
        told["block"] = {"tokens": "tokens", "count": "count", "length": BLOCK}
    return read_rules({"generation": told})


def fed(chosen: AutoregressiveSettings, infer: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Model:
    """A model of these settings that ``infer`` runs."""
    takes, _ = model_signature("autoregressive", chosen)
    return Model(inputs=tuple(Port(name=spec.name, dtype=spec.dtype, shape=spec.shape) for spec in takes), infer=infer)


def in_torch(chosen: AutoregressiveSettings) -> Model:
    """The same in torch itself."""
    module, (takes, gives) = fresh(chosen), model_signature("autoregressive", chosen)

    def infer(inputs: Mapping[str, Any]) -> dict[str, Any]:
        with torch.no_grad():
            given = module(*(torch.from_numpy(inputs[spec.name].copy()) for spec in takes))
        return {spec.name: value.numpy() for spec, value in zip(gives, given, strict=True)}

    return fed(chosen, infer)


def on_runner(
    chosen: AutoregressiveSettings, folder: Path, form: str, run: Callable[[Path, str, Any], Mapping[str, Any]]
) -> Reading:
    """A reading of the files of one format, each run by ``run`` (path, format, inputs)."""
    blocks = AUTOREGRESSIVE.reading_blocks(chosen) if (folder / "block").is_dir() else None
    files = {name: folder / name / FORMATS[form] for name in ("step", "block")}
    step = fed(chosen, lambda inputs: run(files["step"], form, inputs))
    block = None if blocks is None else fed(blocks, lambda inputs: run(files["block"], form, inputs))
    return Reading(rules_of(chosen, blocks=block is not None), step, block)


def torch_reading(chosen: AutoregressiveSettings, *, blocks: bool) -> Reading:
    reading = AUTOREGRESSIVE.reading_blocks(chosen) if blocks else None
    return Reading(rules_of(chosen, blocks=blocks), in_torch(chosen), None if reading is None else in_torch(reading))


def greedy(reading: Reading, tokens: int) -> list[int]:
    return list(generate(reading, PROMPT, tokens, Sampling(temperature=0), seed=0))


def whole(chosen: AutoregressiveSettings, tokens: Sequence[int]) -> Any:
    """Scores (tokens, vocabulary) of the token after each one, by the full forward pass."""
    with torch.no_grad():
        row = torch.tensor(list(tokens), dtype=torch.int64)[None]
        return AUTOREGRESSIVE.scores(fresh(chosen), row)[0].numpy()


def random_tokens(count: int, seed: int = 1) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(0, VOCABULARY, count)]
