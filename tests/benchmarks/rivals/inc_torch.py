"""Neural Compressor's torch path: SOURCE (folder of a deployed model) CALIBRATION DONE METHOD.

The quantized module is exported to ONNX, which is what a device would get.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import torch

from edgegen.train.deployed import load_deployed, model_signature

source, calibration, done, method = sys.argv[1:]
module, family, settings = load_deployed(Path(source))
names = [spec.name for spec in model_signature(family, settings)[0]]
with np.load(calibration) as arrays:
    inputs = [torch.from_numpy(arrays[name]) for name in names]
example = tuple(array[:1] for array in inputs)

if method == "static":
    from neural_compressor.torch.export import export
    from neural_compressor.torch.quantization import convert, get_default_static_config, prepare

    exported = export(module, example_inputs=example)
    prepared = prepare(exported, get_default_static_config(), example_inputs=example)
    for place in range(len(inputs[0])):
        prepared(*(array[place : place + 1] for array in inputs))
    quantized = convert(prepared)
elif method == "rtn":
    from neural_compressor.torch.quantization import RTNConfig, convert, prepare

    quantized = convert(prepare(module, RTNConfig(bits=4, group_size=32)))
else:
    raise SystemExit(f"no such method: {method}")

torch.onnx.export(quantized, example, done, dynamo=True, input_names=names, external_data=False)
model = onnx.load(done)
for node in model.graph.node:  # the exporter's traces of source lines are no part of the model
    del node.metadata_props[:]
    node.doc_string = ""
onnx.save(model, done)
