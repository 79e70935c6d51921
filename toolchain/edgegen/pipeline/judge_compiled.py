"""Figures of a quantized file that becomes C, beside the float file's.

Outputs are those of the compiler's reference on this host, which every build of the sources gives to the byte; cost is
a firmware's, where the target counts.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgegen.compress.quantize.variants import Judged
from edgegen.core.digests import sha256_file
from edgegen.core.errors import BudgetError, BuildError, StorageError
from edgegen.core.models import C_LIBRARY, FORMATS
from edgegen.core.stages import Finished, Stage, Stages
from edgegen.devices.device import Device, Identity
from edgegen.export.formats import finished
from edgegen.pipeline.make import kernels_digest
from edgegen.pipeline.model import load_inputs, tools
from edgegen.pipeline.order import Order
from edgegen.pipeline.prove import OUTPUTS, load_outputs, run_here
from edgegen.pipeline.weighing import weighed
from edgegen.train.families import Output

_FORMAT = "c"


class CompiledJudge:
    """Judges files as ``judge.Judge`` does; each is compiled first."""

    def __init__(
        self,
        stages: Stages,
        inputs: Finished,
        output: Output,
        parent: Path,
        form: str,
        ordered: Order,
        isa: str,
        device: Device,
        identity: Identity | None,
    ) -> None:
        """``parent``: the float file of ``form``. ``identity``: None where the device is not there."""
        self._stages, self._inputs, self._output = stages, inputs, output
        self._parent, self._form, self._isa = parent, form, isa
        self._profile = ordered.profile
        self._device = device
        self._identity = identity if identity is not None and "counted" in identity.gives else None
        self.kernels = f"the compiler's reference, whose bytes every core gives; {ordered.profile.name}"

    @property
    def counts(self) -> bool:
        """Whether instructions are counted."""
        return self._identity is not None

    def judge(self, path: Path) -> Judged:
        """What a file gives and costs as C; told as failed where it cannot be compiled, or the device cannot hold it.

        Of the float file: that it is like itself, and its size.
        """
        if path == self._parent:
            return Judged(figures=self.on_host(path), bytes=path.stat().st_size, instructions=None)
        try:
            compiled = self._compiled(path)
            constants = int(compiled.record["constant_bytes"])
            figures = self.on_host(path)
            reading = None
            if self._identity is not None:
                library, profile = compiled.files[C_LIBRARY], self._profile
                reading = weighed(self._stages, library, self._inputs, profile, self._identity, lambda: self._device)
        except StorageError:
            raise
        except (BuildError, BudgetError) as error:
            return Judged(figures={}, bytes=path.stat().st_size, instructions=None, failed=error.paragraph())
        if reading is None or reading.counted is None:
            return Judged(figures=figures, bytes=constants, instructions=None)
        return Judged(
            figures=figures,
            bytes=reading.model_flash_bytes or constants,
            instructions=reading.counted.instructions,
        )

    def on_host(self, path: Path) -> dict[str, float]:
        """Paired figures of a file's C beside the float file.

        Raises:
            BuildError: it cannot be compiled, or its outputs are of no use.
        """
        from edgegen.bench.quality import likeness_quality

        ran = self._ran(path, self._form if path == self._parent else _FORMAT)
        reference, outputs = (
            load_outputs(done.files[OUTPUTS].path) for done in (self._ran(self._parent, self._form), ran)
        )
        parts = likeness_quality(reference, outputs, self._output)
        return {key: value for figures in parts.values() for key, value in figures.items()}

    def _ran(self, path: Path, form: str) -> Finished:
        return run_here(
            self._stages,
            "run on this host",
            path,
            form,
            lambda: load_inputs(self._inputs),
            key={"model": sha256_file(path), "inputs": self._inputs.digest},
        )

    def _compiled(self, path: Path) -> Finished:
        stage = Stage(
            name="compile a variant",
            version=1,
            quiet=True,
            inputs={"model": sha256_file(path)},
            settings={"isa": self._isa},
            tools=tools(_FORMAT, "export") | {"kernels": kernels_digest()},
        )

        def work(folder: Path) -> Mapping[str, Any]:
            with tempfile.TemporaryDirectory() as name:
                source = Path(name) / "source"
                source.mkdir()
                (source / FORMATS[self._form]).symlink_to(path)
                made, told = finished(source, Path(name) / "made", format_name=_FORMAT, isa=self._isa)
                assert told is not None, "C is made by a finisher"
                shutil.copyfile(made / C_LIBRARY, folder / C_LIBRARY)
            return {"constant_bytes": told["figures"]["constant_bytes"]}

        return self._stages.run(stage, work)
