"""The arena's plan as a picture: time to the right, memory upwards, a box a tensor."""

from __future__ import annotations

from html import escape

from edgegen.export.c.arena import Plan

_WIDE, _HIGH, _LEFT, _TOP, _BELOW = 760, 320, 64, 28, 40
_COLOURS = ("#4878a8", "#6aa56e", "#b8860b", "#8a6bb1", "#b5563c", "#4f9a94", "#9c7a5b", "#777f8c")
_SCRATCH = "#d9d9d9"
_SMALLEST_LABEL = 46  # pixels


def picture(plan: Plan) -> str:
    """SVG text; equal plans give equal bytes."""
    steps, height = max(len(plan.nodes), 1), max(plan.arena_bytes, 1)
    width, tall = _LEFT + _WIDE + 12, _TOP + _HIGH + _BELOW

    def x(step: float) -> float:
        return round(_LEFT + step * _WIDE / steps, 2)

    def y(offset: float) -> float:
        return round(_TOP + _HIGH - offset * _HIGH / height, 2)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {tall}" width="{width}" height="{tall}" '
        'font-family="sans-serif" font-size="11" fill="currentColor">',
        f"<title>Arena: {plan.arena_bytes} bytes, lower bound {plan.lower_bound_bytes}</title>",
        f'<text x="{_LEFT}" y="16">Arena of {plan.arena_bytes} bytes; alive at the worst moment: '
        f"{plan.lower_bound_bytes}</text>",
    ]
    for number, block in enumerate(plan.blocks):
        colour = _SCRATCH if block.scratch else _COLOURS[number % len(_COLOURS)]
        left, right = x(block.first), x(block.last + 1)
        low, high = y(block.offset), y(block.offset + block.bytes)
        name = escape(block.name)
        parts.append(
            f'<rect x="{left}" y="{high}" width="{round(right - left, 2)}" height="{round(low - high, 2)}" '
            f'fill="{colour}" fill-opacity="0.75" stroke="currentColor" stroke-width="0.5"><title>{name}: '
            f"{block.bytes} bytes at {block.offset}, operators {block.first} to {block.last}</title></rect>"
        )
        if right - left >= _SMALLEST_LABEL and low - high >= 12:
            parts.append(f'<text x="{left + 3}" y="{round((low + high) / 2 + 4, 2)}" fill="#111">{block.bytes}</text>')
    bound = y(plan.lower_bound_bytes)
    parts.append(f'<path d="M{_LEFT} {bound}H{_LEFT + _WIDE}" stroke="#b00" stroke-dasharray="4 3"/>')
    parts.append(f'<path d="M{_LEFT} {_TOP}V{_TOP + _HIGH}H{_LEFT + _WIDE}" stroke="currentColor" fill="none"/>')
    for offset in (0, plan.arena_bytes):
        parts.append(f'<text x="{_LEFT - 5}" y="{y(offset) + 4}" text-anchor="end">{offset}</text>')
    every = max(1, steps // 20)
    for step in range(0, steps, every):
        parts.append(f'<text x="{x(step + 0.5)}" y="{_TOP + _HIGH + 14}" text-anchor="middle">{step}</text>')
    parts.append(
        f'<text x="{_LEFT + _WIDE / 2}" y="{_TOP + _HIGH + 30}" text-anchor="middle">operator, as they run</text>'
    )
    return "\n".join([*parts, "</svg>", ""])
