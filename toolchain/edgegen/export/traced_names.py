"""Names of what a traced program gives: its own are those of operators."""

from __future__ import annotations


def output_names(count: int) -> list[str]:
    """What the outputs of a traced program are called."""
    return ["output"] if count == 1 else [f"output_{number}" for number in range(count)]
