"""What every layer's quantization does to a model, as one document: the table, the page and the plot are made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgegen.compress.quantize.variants import Judged
from edgegen.core.errors import ExitCode

_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFigures:
    """One layer, quantized alone and left in float alone."""

    name: str
    kind: str
    operators: int
    fragile: str  # why it is fragile by kind, or empty
    alone: Judged  # it is int8, all others float
    restored: Judged  # it is float, all others int8
    weights: float | None  # figure with its weights quantized and nothing else; None where that is not told apart

    def gain(self, whole: Judged, key: str) -> float:
        """Error that goes away where it is left in float; nothing for a variant that does not run."""
        return 0.0 if self.restored.failed else whole.error(key) - self.restored.error(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """The model with some layers in float."""

    layers: tuple[str, ...]
    judged: Judged


def sensitivity_document(
    *,
    name: str,
    version: str,
    target: str,
    target_requested: str,
    candidate: str,
    metric: str,
    samples: int,
    kernels: str,
    counted: bool,
    parent: Judged,
    whole: Judged,
    layers: Sequence[LayerFigures],
    curve: Sequence[CurvePoint],
    notes: Sequence[str],
    kept_as: str = "float",
) -> dict[str, Any]:
    """The findings, JSON-ready, in the order of the layers.

    Args:
        metric: ``<metric>_<statistic>`` of all values.
        kernels: whose kernels ran the files; ``counted``: these are the target's own, and were counted.
        kept_as: what a layer is left in where it is not int8: float, or int16 where the file becomes C. Figures of
            the document that are called float are of that.
        parent: the float file, ``whole`` the same with every layer quantized.
    """
    return {
        "schema_version": 1,
        "exit_code": int(ExitCode.OK),
        "name": name,
        "version": version,
        "target": target,
        "target_requested": target_requested,
        "candidate": candidate,
        "metric": metric,
        "samples": samples,
        "kernels": kernels,
        "counted": counted,
        "kept_as": kept_as,
        "float": {"bytes": parent.bytes, "instructions": parent.instructions},
        "int8": _point(whole, metric),
        "layers": [_layer(layer, whole, metric) for layer in layers],
        "curve": [
            {"float_layers": len(point.layers), "layers": list(point.layers), **_point(point.judged, metric)}
            for point in curve
        ],
        "notes": list(notes),
    }


def _layer(layer: LayerFigures, whole: Judged, key: str) -> dict[str, Any]:
    total, gain = whole.error(key), layer.gain(whole, key)
    added = (
        None
        if layer.restored.instructions is None or whole.instructions is None
        else layer.restored.instructions - whole.instructions
    )
    return {
        "name": layer.name,
        "kind": layer.kind,
        "operators": layer.operators,
        "fragile": layer.fragile,
        "alone": _point(layer.alone, key),
        "restored": _point(layer.restored, key),
        "share_of_error": _rounded(gain / total) if total > 0 else 0.0,
        "added_instructions": added,
        "added_bytes": None if layer.restored.failed else layer.restored.bytes - whole.bytes,
        "weights": None if layer.weights is None else _rounded(layer.weights),
    }


def _point(judged: Judged, key: str) -> dict[str, Any]:
    return {
        "value": None if judged.failed else _rounded(judged.figures[key]),
        "bytes": judged.bytes,
        "instructions": judged.instructions,
        "failed": judged.failed,
    }


def by_loss(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The layers, those first whose return to float takes most error away."""
    return sorted(document["layers"], key=lambda layer: -layer["share_of_error"])


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
