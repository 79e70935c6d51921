"""What a compiled model asks of a device, and what would make it fit."""

from __future__ import annotations

import numpy as np
import pytest

from edgegen.export.c.emit import emit
from edgegen.export.c.fit import Needs, needs, needs_of, shortfall
from edgegen.export.c.graph import Graph, Node, Scales, Tensor

Q = Scales(scale=(0.05,), zero_point=(3,))
W = Scales(scale=(0.01,), zero_point=(0,))


@pytest.fixture(scope="module")
def found() -> Needs:
    """Two dense layers, 16 to 200 to 4."""
    draw = np.random.default_rng(0)
    first, second = (draw.integers(-127, 128, shape, dtype=np.int8) for shape in ((200, 16), (4, 200)))
    tensors = [
        Tensor(name="x", shape=(1, 16), dtype="int8", scales=Q),
        Tensor(name="w0", shape=(200, 16), dtype="int8", scales=W, data=first),
        Tensor(name="h", shape=(1, 200), dtype="int8", scales=Q),
        Tensor(name="w1", shape=(4, 200), dtype="int8", scales=W, data=second),
        Tensor(name="y", shape=(1, 4), dtype="int8", scales=Q),
    ]
    nodes = [
        Node(name="widen", kind="dense", inputs=("x", "w0", ""), outputs=("h",), attributes={"clamp": (-128, 127)}),
        Node(name="narrow", kind="dense", inputs=("h", "w1", ""), outputs=("y",), attributes={"clamp": (-128, 127)}),
    ]
    graph = Graph(
        name="model", inputs=("x",), outputs=("y",), tensors={item.name: item for item in tensors}, nodes=tuple(nodes)
    )
    emitted = emit(graph, "c")
    return needs(graph, emitted.plan, emitted.interface)


def test_needs_name_the_layers_with_most_weights(found: Needs) -> None:
    assert [(name, size) for name, size, _ in found.largest] == [("widen (to 200)", 3200), ("narrow (to 4)", 800)]
    assert found.flash_bytes >= 4000
    assert found.ram_bytes >= 200 + 16 + 4


def test_needs_survive_being_stored(found: Needs) -> None:
    import json

    assert needs_of(json.loads(json.dumps(found.plain))) == found


def test_model_that_may_fit_is_not_refused(found: Needs) -> None:
    assert shortfall(found, 1 << 20, 1 << 16) == ("", "")


def test_shortfall_of_flash_says_which_layer_which_bits_and_which_width(found: Needs) -> None:
    missing, remedies = shortfall(found, found.flash_bytes - 500, 1 << 16)
    assert f"constants of {found.flash_bytes:,} bytes" in missing
    assert "widen (to 200) 3,200" in remedies
    assert "4-bit weights in the largest dense layers would do" in remedies
    assert "of their width would do" in remedies
    _, remedies = shortfall(found, found.flash_bytes // 4, 1 << 16)
    assert "4-bit" not in remedies


def test_shortfall_of_ram_says_where_most_is_alive(found: Needs) -> None:
    missing, remedies = shortfall(found, 1 << 20, 100)
    assert f"{found.ram_bytes:,} bytes of working memory" in missing
    assert f"most is alive at {found.busiest}" in remedies
