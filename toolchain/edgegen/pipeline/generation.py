"""Models of sequences beside the one step that is judged: the file that reads a prompt, and what a text costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.artifacts.layout import PREFILL_FILES
from edgegen.bench.cost import measured_latency, read_reading, take_reading
from edgegen.core.budgets import Budget, BytesBudget
from edgegen.core.errors import BuildError, StorageError, ToolMissingError
from edgegen.core.models import COMPILED, FORMATS
from edgegen.core.results import Candidate, moved
from edgegen.core.stages import Finished, Stage
from edgegen.core.targets import TargetProfile
from edgegen.core.versions import driver_digest, machine_class, source_digest, versions
from edgegen.devices.device import Device, Identity, Paces, Reading
from edgegen.pipeline.data import paths
from edgegen.pipeline.make import Maker
from edgegen.pipeline.model import TOOLS, load_inputs, load_targets
from edgegen.pipeline.plan import PARENT, Planned
from edgegen.pipeline.prove import OUTPUTS, Made, Proof, load_outputs
from edgegen.train.deployed import DEPLOYED_FILES, deployed_settings
from edgegen.train.families import ReadsBlocks

ROWS, PROMPT, WRITTEN = 4, 16, 64
"""Held-out rows that are read through; tokens of the first that a text follows, and tokens of that text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What is known of a candidate that writes tokens."""

    rules: Mapping[str, Any]  # ``generation`` of the bundle's contract
    prefill: Path | None  # the file that reads blocks
    document: Mapping[str, Any]  # ``generation`` of ``result.json``


class Generating:
    """Makes, measures and judges what a text needs besides the step."""

    def __init__(
        self,
        maker: Maker,
        profile: TargetProfile,
        identity: Identity | None,
        connect: Callable[[], Device],
        budgets: Mapping[str, Budget],
    ) -> None:
        """``identity``: None where the device is not there: nothing is measured then."""
        self._budgets = budgets
        self._maker = maker
        self._profile = profile
        self._identity = identity
        self._connect = connect

    def found(
        self, candidate: Candidate | None, made: Mapping[str, Made], proofs: Mapping[str, Proof]
    ) -> Generation | None:
        """All about one candidate; None where it is no model of sequences, or was not made.

        Args:
            proofs: of the candidate and of the float model in its format.
        """
        family = getattr(self._maker.model, "family", None)
        item = None if candidate is None else made.get(candidate.name)
        if item is None or not isinstance(family, ReadsBlocks):
            return None
        planned, parent = item.planned, f"{PARENT}@{item.planned.name.format}"
        own = self._maker.remembering(planned) or self._maker.model.trained()
        settings = deployed_settings(own.files[DEPLOYED_FILES[0]].path)
        rules: Mapping[str, Any] = family.generation(settings)
        proof, reference = proofs.get(str(planned.name)), proofs.get(parent)
        blocks, exported, reason = self._prefill(planned)
        told, written = None, self._costs(None if proof is None else proof.reading, 1)
        pace = self._pace(planned, item, rules["context"])
        if pace is not None:
            told = {**_ALONE, **written, "instructions_per_token": pace[0]}
            written = {**written, "instructions_per_token": pace[1]}
        if blocks is not None and exported is not None:
            told = self._told(planned, blocks, exported, reference)
            length = _axis(exported, "tokens")
            rules = {**rules, "block": {"tokens": "tokens", "count": "count", "length": length}}
        return Generation(
            rules=rules,
            prefill=None if exported is None else _file(exported, planned),
            document={
                "context": rules["context"],
                "memory": _memory(rules, item.exported),
                "decode": written,
                "prefill": told,
                "no_prefill": reason,
                **self._beside(item, made.get(parent), rules),
            },
        )

    def _pace(self, planned: Planned, item: Made, context: int | None) -> Sequence[int] | None:
        """Instructions of a token that a microcontroller reads and of one that it writes; None where nobody counts."""
        identity = self._identity
        if planned.name.format not in COMPILED or identity is None or "counted" not in identity.gives:
            return None
        stage = Stage(
            name=f"pace of {planned.name.kind} on {self._profile.name}",
            version=1,
            quiet=True,
            inputs={"model": item.carried.sha256},
            settings={
                "profile": self._profile.digest,
                "device": identity.kind,
                "runtime": planned.runtime,
                "context": context,
            },
            tools={**identity.tools, "edgegen": source_digest("devices")},
        )

        def work(_: Path) -> Mapping[str, Any]:
            device = self._connect()
            try:
                found = device.pace(item.carried.path, planned.runtime, context) if isinstance(device, Paces) else None
            finally:
                device.close()
            return {"pace": None if found is None else list(found)}

        pace: Sequence[int] | None = self._maker.stages.run(stage, work).record["pace"]
        return pace

    # -- the file that reads blocks --------------------------------------------------------------------------------

    def _prefill(self, planned: Planned) -> tuple[Finished | None, Finished | None, str]:
        """Its torch form, the exported file, and why there is none."""
        if planned.name.format in COMPILED:
            return None, None, "a microcontroller reads a prompt a token after the other: one set of weights in flash"
        blocks = self._maker.reading_blocks(planned)
        if blocks is None:
            return None, None, "the model reads a token after the other: a block would be the same steps"
        try:
            exported = self._maker.exported_blocks(planned, blocks)
        except StorageError:
            raise
        except (BuildError, ToolMissingError) as error:
            return blocks, None, error.paragraph()
        refused = str(exported.record["refused"]) or self._too_large(planned, exported)
        return blocks, None if refused else exported, refused

    def _too_large(self, planned: Planned, exported: Finished) -> str:
        """Why the two files together break a budget that the first one is judged by; empty if they keep it."""
        budget = self._budgets.get("size")
        sizes = [item.record["export"]["size_bytes"] for item in (self._maker.exported(planned), exported)]
        if not isinstance(budget, BytesBudget) or not budget.required or sum(sizes) <= budget.max_bytes:
            return ""
        return (
            f"it has {sizes[1]:,} bytes and the model {sizes[0]:,}: together more than [budgets.size] max_bytes = "
            f"{budget.max_bytes:,} allows"
        )

    def _told(self, planned: Planned, blocks: Finished, exported: Finished, reference: Proof | None) -> dict[str, Any]:
        length, export = _axis(exported, "tokens"), exported.record["export"]
        told = {
            "file": PREFILL_FILES[planned.name.format],
            "sha256": export["sha256"],
            "size_bytes": export["size_bytes"],
            "block": length,
            **self._costs(None, length),
            "quality": {},
            "failed": "",
        }
        if self._identity is None:
            return told
        quality = self._maker.model.quality(of=blocks)
        path = _file(exported, planned)
        stage = Stage(
            name=f"measure {planned.name.kind}, reading blocks, on {self._profile.name}",
            version=1,
            inputs={"model": export["sha256"], "quality": quality.digest},
            settings={
                "runtime": planned.runtime,
                "profile": self._profile.digest,
                "device": self._identity.kind,
            },
            tools={**self._identity.tools, "edgegen": source_digest("devices", "bench")},
        )

        def work(folder: Path) -> Mapping[str, Any]:
            from edgegen.export.golden import npz_bytes

            device = self._connect()
            try:
                outputs, reading = take_reading(device, path, planned.runtime, load_inputs(quality))
            finally:
                device.close()
            (folder / OUTPUTS).write_bytes(npz_bytes(outputs))
            return {"reading": reading}

        try:
            measured = self._maker.stages.run(stage, work)
            figures = self._judged(measured, quality, reference)
        except StorageError:
            raise
        except (BuildError, ToolMissingError) as error:
            return {**told, "failed": error.paragraph()}
        return {**told, **self._costs(read_reading(measured.record["reading"]), length), "quality": figures}

    def _judged(self, measured: Finished, quality: Finished, reference: Proof | None) -> dict[str, Any]:
        """Scores after a block beside the float model's after as many steps, on the same tokens and kernels."""
        if reference is None or reference.outputs is None:
            return {}
        expected = reference.outputs
        stage = Stage(
            name="quality of what reads blocks",
            version=1,
            quiet=True,
            inputs={
                "outputs": measured.files[OUTPUTS].sha256,
                "parent": expected.name,
                "inputs": quality.digest,
            },
            settings={"output": self._maker.model.output},
            tools={**versions(TOOLS["torch"]), "edgegen": source_digest("metrics", "bench")},
        )

        def work(_: Path) -> Mapping[str, Any]:
            from edgegen.bench.quality import known_quality, likeness_quality

            outputs, output = load_outputs(measured.files[OUTPUTS].path), self._maker.model.output
            first = self._maker.first_output(load_outputs(expected))
            found: dict[str, Any] = dict(likeness_quality(first, outputs, output))
            targets = load_targets(quality)
            if targets is not None:
                found["known"] = known_quality(output, outputs, load_inputs(quality), targets)
            return found

        return dict(self._maker.stages.run(stage, work).record)

    def _costs(self, reading: Reading | None, tokens: int) -> dict[str, Any]:
        """What a token costs where a run takes so many; null where nobody counted or clocked."""
        counted = None if reading is None else reading.counted
        bytes_moved = None if counted is None else moved(counted.bytes_loaded, counted.bytes_stored)
        clock = None if reading is None or self._identity is None else measured_latency(reading, self._identity)
        return {
            "instructions_per_token": None if counted is None else round(counted.instructions / tokens),
            "bytes_per_token": None if bytes_moved is None else round(bytes_moved / tokens),
            "tokens_per_s": None if clock is None else float(f"{tokens * 1000 / clock.p50_ms:.6g}"),
            "peak_ram_bytes": None if reading is None else reading.peak_ram_bytes,
        }

    # -- a rolled-out sequence ---------------------------------------------------------------------------------------

    def _beside(self, item: Made, parent: Made | None, rules: Mapping[str, Any]) -> dict[str, Any]:
        """``rolled_out``, and why there is none."""
        if parent is None:
            return {"rolled_out": None, "no_rolled_out": "there is no float model in the same format"}
        try:
            return {"rolled_out": self._rolled_out(item, parent, rules), "no_rolled_out": ""}
        except StorageError:
            raise
        except (BuildError, ToolMissingError) as error:
            return {"rolled_out": None, "no_rolled_out": error.paragraph()}

    def _rolled_out(self, item: Made, parent: Made, rules: Mapping[str, Any]) -> dict[str, Any]:
        """The candidate beside the float model over whole rows, each with its own memory, by this host's kernels."""
        data, form = self._maker.model.data.prepared(), item.planned.name.format
        trained = deployed_settings(self._maker.model.trained().files[DEPLOYED_FILES[0]].path)
        parents_rules = self._maker.model.family.generation(trained)
        stage = Stage(
            name=f"rolled-out sequences of {item.planned.name.kind}",
            version=2,
            quiet=True,
            inputs={
                "model": item.exported.files[FORMATS[form]].sha256,
                "parent": parent.exported.files[FORMATS[form]].sha256,
                "data": data.digest,
            },
            settings={
                "rules": [dict(rules), dict(parents_rules)],
                "sizes": [ROWS, PROMPT, WRITTEN],
                "machine": machine_class(),
            },
            tools={
                **versions(TOOLS[form]),
                "edgegen": source_digest("export"),
                "edgegen_runtime": driver_digest(),
            },
        )

        def work(_: Path) -> Mapping[str, Any]:
            import numpy as np

            from edgegen.data.dataset import load_dataset
            from edgegen.export.rolled_out import rolled_out
            from edgegen_runtime.tokens import Bins, contract_tokenizer

            dataset = load_dataset(paths(data))
            tokenizer = contract_tokenizer(dataset.form.preprocessing)

            def spell(tokens: Sequence[int]) -> str:
                return "" if isinstance(tokenizer, Bins) else tokenizer.decode(np.array(tokens))

            return rolled_out(
                (item.model, rules),
                (parent.model, parents_rules),
                form,
                np.asarray(dataset.test.x[:ROWS]).astype(np.int64),
                prompt=PROMPT,
                written=WRITTEN,
                spell=spell,
            )

        return dict(self._maker.stages.run(stage, work).record)


def _memory(rules: Mapping[str, Any], exported: Finished) -> dict[str, Any]:
    """Bytes of what a device keeps between two steps; a ring has its full size from the first token on."""
    sizes = {
        spec["name"]: _elements(spec["shape"]) * _ELEMENT_BYTES.get(spec["dtype"], 1)
        for spec in exported.record["export"]["inputs"]
    }
    whole = sum(sizes[kept["input"]] for kept in rules["memory"])
    rings = sum(sizes[kept["input"]] for kept in rules["memory"] if kept["kept"] == "ring")
    return {
        "kept": "ring" if rings else "state",
        "bytes_per_token": rings // rules["context"] if rings else 0,
        "bytes_at_full_context": whole,
    }


_ALONE = {"file": "", "sha256": "", "size_bytes": 0, "block": 1, "quality": {}, "failed": ""}
"""What there is to tell of a prompt that the model itself reads, without scores until its last token."""

_ELEMENT_BYTES = {"float32": 4, "float16": 2, "int32": 4, "int64": 8, "int16": 2}


def _elements(shape: list[int]) -> int:
    found = 1
    for axis in shape:
        found *= axis
    return found


def _axis(exported: Finished, name: str) -> int:
    """The second axis of an input."""
    return next(int(spec["shape"][1]) for spec in exported.record["export"]["inputs"] if spec["name"] == name)


def _file(exported: Finished, planned: Planned) -> Path:
    return exported.files[FORMATS[planned.name.format]].path
