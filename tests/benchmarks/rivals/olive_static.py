"""Olive's OnnxStaticQuantization of an ONNX file, with its defaults: SOURCE CALIBRATION DONE."""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from olive.data.config import DataComponentConfig, DataConfig
from olive.data.registry import Registry
from olive.workflows import run as olive_run

source, calibration, done = (Path(argument).resolve() for argument in sys.argv[1:])


class Rows:
    """Samples by input name, each with a label that nobody asks for."""

    def __init__(self):
        with np.load(calibration) as arrays:
            self.inputs = {name: arrays[name] for name in arrays.files}

    def __len__(self):
        return len(next(iter(self.inputs.values())))

    def __getitem__(self, place):
        if place >= len(self):
            raise IndexError(place)
        return {name: array[place] for name, array in self.inputs.items()}, 0


@Registry.register_dataset("rows")
def rows(**_):
    return Rows()


data = DataConfig(
    name="calibration",
    type="DataContainer",
    load_dataset_config=DataComponentConfig(type="rows"),
    pre_process_data_config=DataComponentConfig(type="skip_pre_process"),
    post_process_data_config=DataComponentConfig(type="skip_post_process"),
    dataloader_config=DataComponentConfig(type="default_dataloader", params={"batch_size": 1}),
)
with tempfile.TemporaryDirectory() as folder:
    olive_run(
        {
            "input_model": {"type": "ONNXModel", "model_path": str(source)},
            "data_configs": [data.to_json()],
            "passes": {"static": {"type": "OnnxStaticQuantization", "data_config": "calibration"}},
            "output_dir": folder,
            "cache_dir": f"{folder}/cache",
        }
    )
    found = sorted(Path(folder).glob("*.onnx")) or sorted(Path(folder).rglob("model*/*.onnx"))
    shutil.copyfile(found[0], done)
