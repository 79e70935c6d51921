"""``[model]`` of a model that came as a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgegen.core.records import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class BroughtSettings:
    """A model from elsewhere: its file, samples for it, and what the file does not say."""

    file: str = setting(doc="an .onnx, .tflite, .pt2 or .safetensors file; a path from the project's folder")
    calibration: str = setting(
        "", doc="an .npz with an array per input, samples along the first axis, that quantization looks at"
    )
    evaluate: str = setting(
        "", doc="the same that candidates are judged on; may hold expected/<output> (outputs, or labels) too"
    )
    shapes: Mapping[str, Any] = setting({}, doc="input = [1, 3, 224, 224]: for axes that the file leaves open")
    state: Mapping[str, Any] = setting(
        {}, doc="input = 'output': the output that feeds the input at the next step; empty: as names and shapes tell"
    )
    sequence: int = setting(
        16,
        doc="of a model with state: so many rows are one sequence, then the next begins; 0: all are one. A step of "
        "all sequences is one run of the device: under emulation long sequences take long",
        minimum=0,
    )
    output: Literal["", "vector", "image", "logits", "values"] = setting(
        "",
        doc="what the first output is: numbers of any size, pixels in 0..1, scores of classes, predicted numbers; "
        "empty: scores where expected/<output> holds labels, else numbers",
    )
    module: str = setting("", doc="package.module:Class, in the project's folder, whose weights a .safetensors holds")
    settings: Mapping[str, Any] = setting({}, doc="what the class is made with")
