"""Whether a compiled model can be held by a device at all, and what would make it fit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edgegen.core.c_model import CModel
from edgegen.export.c.arena import Plan
from edgegen.export.c.graph import Graph

_PRODUCTS = ("conv2d", "depthwise_conv2d", "transpose_conv2d", "dense", "gather")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a compiled model asks for at the least: code, stack and the caller's own data come on top."""

    flash_bytes: int
    ram_bytes: int  # arena, input block and output block
    arena_bytes: int
    largest: tuple[tuple[str, int, bool], ...]  # layers by bytes of weights: name, bytes, whether a dense one
    busiest: str  # the operator at which most of the arena is alive
    alive_bytes: int  # how much that is

    @property
    def plain(self) -> dict[str, object]:
        """JSON-ready, as ``needs_of`` reads it."""
        return {
            "flash_bytes": self.flash_bytes,
            "ram_bytes": self.ram_bytes,
            "arena_bytes": self.arena_bytes,
            "largest": [list(item) for item in self.largest],
            "busiest": self.busiest,
            "alive_bytes": self.alive_bytes,
        }


def needs(graph: Graph, plan: Plan, model: CModel) -> Needs:
    """Of a model that was emitted."""
    layers = []
    for node in graph.nodes:
        read, made = graph.of(node)
        weights = sum(tensor.data.nbytes for tensor in read if tensor is not None and tensor.data is not None)
        kind = node.kind.removesuffix("_int16").removesuffix("_int4")
        if node.kind.endswith("_int4"):
            weights = -(-weights // 2)
        if kind in _PRODUCTS and weights:
            shape = "x".join(str(axis) for axis in made[0].shape[1:])
            layers.append((f"{node.name} (to {shape})", weights, kind in ("dense", "gather")))
    alive = {
        place: sum(block.bytes for block in plan.blocks if block.first <= place <= block.last)
        for place in range(len(plan.nodes))
    }
    worst = max(alive, key=lambda place: alive[place], default=0)
    return Needs(
        flash_bytes=model.constant_bytes,
        ram_bytes=model.arena_bytes + model.input_bytes + model.output_bytes,
        arena_bytes=model.arena_bytes,
        largest=tuple(sorted(layers, key=lambda item: -item[1])[:3]),
        busiest=plan.nodes[worst].name if plan.nodes else "",
        alive_bytes=alive.get(worst, 0),
    )


def needs_of(plain: Mapping[str, object]) -> Needs:
    """What ``Needs.plain`` wrote."""
    largest = plain["largest"]
    assert isinstance(largest, list)
    numbers = {name: int(str(plain[name])) for name in ("flash_bytes", "ram_bytes", "arena_bytes", "alive_bytes")}
    return Needs(
        largest=tuple((str(name), int(size), bool(dense)) for name, size, dense in largest),
        busiest=str(plain["busiest"]),
        **numbers,
    )


def shortfall(found: Needs, flash_bytes: int, ram_bytes: int) -> tuple[str, str]:
    """What is missing, and what would make it fit; both empty where it may fit.

    Args:
        flash_bytes: of the device, code included.
        ram_bytes: of the device, stack included.
    """
    missing, remedies = [], []
    if found.flash_bytes > flash_bytes:
        missing.append(f"constants of {found.flash_bytes:,} bytes and {flash_bytes:,} of flash")
        remedies += _less_flash(found, flash_bytes)
    if found.ram_bytes > ram_bytes:
        missing.append(
            f"{found.ram_bytes:,} bytes of working memory ({found.arena_bytes:,} of arena) and {ram_bytes:,} of RAM"
        )
        remedies += _less_ram(found, ram_bytes)
    return " and ".join(missing), "; ".join(remedies)


def _less_flash(found: Needs, room: int) -> list[str]:
    told = ", ".join(f"{name} {size:,}" for name, size, _ in found.largest)
    dense = sum(size for _, size, is_dense in found.largest if is_dense)
    remedies = [f"most weights are in {told}"] if told else []
    if found.flash_bytes - dense // 2 <= room and dense:
        remedies.append('4-bit weights in the largest dense layers would do ([compress.static-int8] dense = "int4")')
    ratio = math.floor(100 * math.sqrt(room / found.flash_bytes)) / 100
    remedies.append(f"layers of {ratio:.0%} of their width would do: weights grow with its square")
    return remedies


def _less_ram(found: Needs, room: int) -> list[str]:
    ends = found.ram_bytes - found.arena_bytes
    if ends > found.arena_bytes < room:  # a model that remembers, or whose input is the largest thing there is
        ratio = math.floor(100 * (room - found.arena_bytes) / ends) / 100
        return [f"{ends:,} of them are its inputs and outputs, what it remembers among them: {ratio:.0%} would do"]
    ratio = math.floor(100 * room / found.ram_bytes) / 100
    return [
        f"most is alive at {found.busiest} ({found.alive_bytes:,} bytes)",
        f"{ratio:.0%} of its channels, or of its height times width, would do",
    ]
