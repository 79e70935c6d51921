"""nncf's post-training quantization of an ONNX file, with its defaults: SOURCE CALIBRATION DONE."""

import sys

import nncf
import numpy as np
import onnx

source, calibration, done = sys.argv[1:]
with np.load(calibration) as arrays:
    inputs = {name: arrays[name] for name in arrays.files}
count = len(next(iter(inputs.values())))
rows = [{name: array[place : place + 1] for name, array in inputs.items()} for place in range(count)]
model = nncf.quantize(onnx.load(source), nncf.Dataset(rows), subset_size=count)
onnx.save(model, done)
