"""Rounds of pruning on disk: a killed step goes on with the round that was being tuned."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgegen.compress.context import StepContext
from edgegen.core.digests import sha256_json
from edgegen.core.records import write_record
from edgegen.train.checkpoint import read_checkpoint, write_checkpoint
from edgegen.train.families import read_family


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The model after some rounds."""

    module: nn.Module
    settings: Any
    told: list[dict[str, Any]]  # a row a round, JSON-ready


class StoredRounds:
    """Where the latest finished round is kept; nowhere if the context keeps none."""

    def __init__(self, context: StepContext, key: Mapping[str, Any], family: str) -> None:
        self._context = context
        self._family = family
        self._run = sha256_json({**key, "round": "finished"})

    def taken_up(self) -> Round | None:
        """The latest round of an earlier run with an equal key."""
        if self._place is None:
            return None
        state = read_checkpoint(self._place, self._run, self._context.progress)
        if state is None:
            return None
        builder, settings = read_family(self._family, json.loads(state["settings"]), str(self._place))
        with torch.random.fork_rng(devices=[]):
            module = builder.deployed(builder.build(settings)).eval()
        module.load_state_dict(state["weights"])
        told = json.loads(state["told"])
        self._context.progress.say(f"prune: going on after round {len(told)}")
        return Round(module=module, settings=settings, told=told)

    def keep(self, state: Round) -> None:
        """Replaces the one before."""
        if self._place is not None:
            content = {
                "settings": json.dumps(write_record(state.settings)),
                "told": json.dumps(state.told),
                "weights": state.module.state_dict(),
            }
            write_checkpoint(self._place, self._run, content)

    def drop(self) -> None:
        """The step is done."""
        if self._place is not None:
            self._place.unlink(missing_ok=True)

    @property
    def _place(self) -> Path | None:
        folder = self._context.checkpoints
        return None if folder is None else folder / f"{self._run[:32]}.pt"
