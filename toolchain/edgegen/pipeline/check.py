"""``edgegen check``: what of a model file a target cannot have, told in seconds and before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.core.errors import ExitCode
from edgegen.core.records import write_record
from edgegen.core.targets import load_target
from edgegen.export.check.finding import Finding
from edgegen.export.check.fit import activation_bytes
from edgegen.export.check.rules import checked
from edgegen.export.opened import OpenedModel, open_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A file, what was found in it, and for which target."""

    target: str
    model: OpenedModel
    findings: tuple[Finding, ...]

    def exit_code(self, *, strict: bool = False) -> ExitCode:
        """BUILD where it cannot be built, BUDGET_FAILED where it does not fit the device.

        Args:
            strict: warnings count as errors.
        """
        found = {finding.severity for finding in self.findings}
        if "error" in found or (strict and "warning" in found):
            return ExitCode.BUILD
        return ExitCode.BUDGET_FAILED if "unfit" in found else ExitCode.OK

    def document(self, *, strict: bool = False) -> dict[str, Any]:
        """The version 1 object of ``--json``."""
        model = self.model
        return {
            "schema_version": 1,
            "exit_code": int(self.exit_code(strict=strict)),
            "target": self.target,
            "model": {
                "path": str(model.path),
                "format": model.format,
                "sha256": model.sha256,
                "size_bytes": model.size_bytes,
                "parameter_bytes": model.parameter_bytes,
                "activation_bytes": activation_bytes(model),
                "inputs": [write_record(value) for value in model.inputs],
                "outputs": [write_record(value) for value in model.outputs],
                "operators": model.operators,
                "opsets": dict(model.opsets),
                "quantized": model.quantized,
            },
            "findings": [write_record(finding) for finding in self.findings],
        }


def check(
    path: Path, *, target: str, shapes: Mapping[str, tuple[int, ...]] | None = None, project: Path | None = None
) -> Checked:
    """Holds a model file against the rules.

    Args:
        shapes: input -> the shape that it shall have.
        project: folder of a project, whose own targets are known too.

    Raises:
        UsageError: not a model file, damaged or hostile, an unknown target, or shapes that do not fit.
        BuildError: a whole file that cannot be read as data.
    """
    profile = load_target(target, project)
    model = open_model(path, shapes)
    return Checked(target=profile.name, model=model, findings=tuple(checked(model, profile)))
