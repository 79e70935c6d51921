"""How much a quantized candidate's quality hangs on which samples it was calibrated with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgegen.compress.steps import STEPS
from edgegen.core.errors import BuildError, StorageError
from edgegen.core.ports import Tensors
from edgegen.core.stages import Finished, Stage
from edgegen.core.versions import source_digest, versions
from edgegen.pipeline.make import Maker
from edgegen.pipeline.model import TOOLS
from edgegen.pipeline.plan import PARENT, Planned
from edgegen.pipeline.prove import OUTPUTS, Made, load_outputs, on_host


def calibration_spread(
    maker: Maker, made: Mapping[str, Made], parents: Mapping[str, Made], draws: int
) -> dict[str, dict[str, Any]]:
    """Each calibrated candidate's figures against the float model over ``draws`` draws of calibration inputs.

    Every draw is quantized anew and run on this host, whose kernels are the same for all of them: what is told is how
    far the figures lie apart, not how good they are on the target.

    Args:
        parents: the float model of formats that it cannot be had in, by format.
        draws: how many; 1 asks for nothing.

    Returns:
        candidate -> ``figures`` (``<metric>_<statistic>`` -> ``low`` and ``high``) and ``failed`` (why a draw gave
        none, or empty); nothing where one draw was asked for.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, item in made.items() if draws > 1 else ():
        form = item.planned.name.format
        parent = made.get(f"{PARENT}@{form}") or parents.get(form)
        if parent is None or not _calibrated(item.planned) or item.exported.record["refused"]:
            continue
        try:
            found[name] = {"figures": _spread(maker, item.planned, parent, draws), "failed": ""}
        except StorageError:
            raise
        except BuildError as error:
            found[name] = {"figures": {}, "failed": error.paragraph()}
    return found


def _calibrated(planned: Planned) -> bool:
    return any(STEPS[step, planned.form].calibrated for step in planned.format_steps)


def _spread(maker: Maker, planned: Planned, parent: Made, draws: int) -> dict[str, Any]:
    reference = on_host(maker, parent)
    drawn = [on_host(maker, Made(planned=planned, exported=maker.exported(planned, draw))) for draw in range(draws)]
    stage = Stage(
        name=f"spread of {planned.name.kind} over {draws} calibration draws",
        version=1,
        quiet=True,
        inputs={"parent": reference.files[OUTPUTS].sha256}
        | {str(draw): done.files[OUTPUTS].sha256 for draw, done in enumerate(drawn)},
        settings={"output": maker.model.output},
        tools={**versions(TOOLS["torch"]), "edgegen": source_digest("metrics", "bench")},
    )

    def work(_: Path) -> dict[str, Any]:
        return _measured(
            maker.compared(planned, load_outputs(reference.files[OUTPUTS].path)), drawn, maker.model.output
        )

    return dict(maker.stages.run(stage, work).record)


def _measured(expected: Tensors, drawn: Sequence[Finished], output: str) -> dict[str, Any]:
    from edgegen.bench.quality import paired_quality

    found = [paired_quality(expected, load_outputs(done.files[OUTPUTS].path), output) for done in drawn]
    return {
        key: {"low": min(figures[key] for figures in found), "high": max(figures[key] for figures in found)}
        for key in found[0]
    }
