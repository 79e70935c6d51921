"""The graph that each template exports, its weights not trained; and the same with one of its operators twice."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np

import edgegen
from edgegen.data.dataset import Form
from support.datasets import image_form, series_form, token_form, vector_form

FORMS: dict[str, Form] = {
    "vae": image_form(),
    "gan": image_form(),
    "flow": vector_form(features=2, classes=0),
    "autoregressive": token_form(context=64, vocabulary="".join(chr(33 + number) for number in range(64))),
    "classifier": series_form(channels=3, rows=100),
    "keyword": series_form(channels=49, rows=20, classes=10, kind="audio"),
    "anomaly": series_form(channels=1, rows=100),
    "tabular": vector_form(features=24, classes=2),
}
"""Template -> what its data look like."""


def template_graph(name: str, folder: Path) -> Path:
    """Writes ``<name>.onnx``: the deployed model of the template's family and settings, with seeded weights."""
    import torch

    from edgegen.export.onnx import convert
    from edgegen.train.deployed import save_deployed
    from edgegen.train.families import find_family

    text = (Path(edgegen.__file__).parent / "docs" / "templates" / name / "edgegen.toml").read_text(encoding="utf-8")
    settings = dict(tomllib.loads(text)["model"])
    family = settings.pop("family")
    kind = find_family(family)
    complete = kind.complete(kind.settings(**settings), FORMS[name])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        model = kind.build(complete).eval()
    source = folder / f"{name}-torch"
    source.mkdir()
    save_deployed(kind.deployed(model).eval(), family, complete, source)
    convert(source, source)
    return (source / "model.onnx").rename(folder / f"{name}.onnx")


def with_twin(path: Path, node_name: str, target: Path) -> Path | None:
    """The file with one node twice. What the second makes nobody reads; a runtime runs it all the same.

    Of two equal nodes on the same inputs a runtime keeps one. So the second has weights of its own; a node without
    weights reads another tensor of the same shape. None where there is none: a new input of the graph would cost more
    than the node alone.
    """
    import onnx
    from onnx import numpy_helper

    from edgegen.export.census import onnx_shapes

    model = onnx.load(path)
    shapes = onnx_shapes(model, str(path))
    types = {value.name: value.type for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
    types |= {value.name: value.type for value in (*model.graph.input, *model.graph.output)}
    weights = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    weights = {name: tensor for name, tensor in weights.items() if np.prod(tensor.dims) > 1}
    node = next(item for item in model.graph.node if item.name == node_name)
    again = onnx.NodeProto()
    again.CopyFrom(node)
    again.name = f"{node.name}_again"
    own = [place for place, name in enumerate(node.input) if name in weights]
    for place in own:
        values = numpy_helper.to_array(weights[node.input[place]]) * np.float32(1.01)
        again.input[place] = f"{node.input[place]}_again"
        model.graph.initializer.append(numpy_helper.from_array(values, again.input[place]))
    data = [place for place, name in enumerate(node.input) if name in types]
    if not own:
        for place in data:
            name = node.input[place]
            alike = _alike(model, name, node, types, shapes)
            if alike is None:
                return None
            again.input[place] = alike
    for place, name in enumerate(node.output):
        again.output[place] = f"{name}_again"
    model.graph.node.append(again)
    onnx.checker.check_model(model)
    onnx.save(model, target)
    return target


def _alike(model: Any, name: str, node: Any, types: Any, shapes: Any) -> str | None:
    """Another tensor of the same type and shape that more than one node reads, or an end of the graph."""
    readers = [read for item in model.graph.node for read in item.input]
    ends = [item.name for item in (*model.graph.input, *model.graph.output)]
    for other in (*ends, *shapes):
        if other in types and other != name and (other in ends or readers.count(other) > 1):
            same = types[other].tensor_type.elem_type == types[name].tensor_type.elem_type
            if same and shapes.get(other) == shapes[name] and other not in node.input:
                return str(other)
    return None


def sample_of(path: Path) -> dict[str, Any]:
    """One sample of every input of a file: small numbers of its type."""
    import onnx

    random = np.random.default_rng(5)
    found: dict[str, Any] = {}
    for item in onnx.load(path).graph.input:
        shape = [axis.dim_value for axis in item.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(item.type.tensor_type.elem_type)
        whole = np.issubdtype(dtype, np.integer) or dtype == np.bool_
        found[item.name] = (random.integers(0, 2, shape) if whole else random.standard_normal(shape)).astype(dtype)
    return found
