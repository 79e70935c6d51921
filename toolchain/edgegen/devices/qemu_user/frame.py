"""What ONNX Runtime does outside its operators for every tensor that one of them makes.

Before the first operator it readies a place for each tensor of the graph, and after the last it clears them. So an
operator more costs more than what runs between its begin and the next one's, by the same amount in whichever graph. It
is counted once for a build of the runtime on a core: as what the frame of a chain of operators grows by when the chain
does. The chains are short, as long ones have malloc walk through its lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

from edgegen.core.digests import sha256_json
from edgegen.devices.qemu_user.counts import Region
from edgegen.devices.qemu_user.provision import Tools
from edgegen.devices.qemu_user.toolbox import Toolbox

_SHORT, _LONG = 2, 4  # operators, each making one tensor
_OPSET, _IR = 18, 9
_LOADED, _STORED = "bytes_loaded", "bytes_stored"


def tensors_share(toolbox: Toolbox, tools: Tools, frame_of: Callable[[Path], Region]) -> Region:
    """What two tensors take of the frame; counted at the first call of all processes of the cache.

    Args:
        frame_of: counts what an ONNX file takes outside its operators.

    Raises:
        ToolMissingError, BuildError: of ``frame_of``.
    """
    key = sha256_json({"layout": 1, "cpu": tools.cpu, "versions": dict(tools.versions)})

    def count(folder: Path) -> Mapping[str, str]:
        frames = []
        for length in (_SHORT, _LONG):
            path = folder / f"chain-{length}.onnx"
            _write_chain(path, length)
            frames.append(frame_of(path))
        grown = frames[1].less(frames[0])
        return {
            _LOADED: str(grown.bytes_loaded),
            _STORED: str(grown.bytes_stored),
            **{name: str(amount) for name, amount in grown.by_class.items()},
        }

    facts = {name: int(amount) for name, amount in toolbox.ensure("frame", key, count).facts.items()}
    loaded, stored = facts.pop(_LOADED), facts.pop(_STORED)
    return Region(instructions=sum(facts.values()), by_class=facts, bytes_loaded=loaded, bytes_stored=stored)


def part_for(share: Region, tensors: int) -> Region:
    """What ``tensors`` tensors take of the frame, by ``tensors_share``."""
    by_class = {name: amount * tensors // (_LONG - _SHORT) for name, amount in share.by_class.items()}
    return Region(
        instructions=sum(by_class.values()),
        by_class=by_class,
        bytes_loaded=share.bytes_loaded * tensors // (_LONG - _SHORT),
        bytes_stored=share.bytes_stored * tensors // (_LONG - _SHORT),
    )


def _write_chain(path: Path, length: int) -> None:
    import onnx
    from onnx import TensorProto, helper

    names = ["x", *(f"t{place}" for place in range(1, length)), "y"]
    nodes = [helper.make_node("Tanh", [before], [after]) for before, after in pairwise(names)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR), path)
