"""Models with state over whole sequences: a device that feeds each file's own state back to it.

Nothing is asked of a device but to run samples: a step of all sequences is one call, and what the file gave for its
state goes into the next. So a compressed file lives with its own errors, as it will in use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.ports import Tensors
from edgegen.devices.device import Device, Identity, Reading

if TYPE_CHECKING:
    import numpy as np


class RolledOut:
    """A device for files whose state goes from an output to an input."""

    def __init__(self, device: Device, state: Mapping[str, str], sequence: int) -> None:
        """``state``: input -> output. ``sequence``: rows that are one sequence, then the next begins; 0: all."""
        self._device = device
        self._state = state
        self._sequence = sequence

    def identity(self) -> Identity:
        """See Device."""
        return self._device.identity()

    def run(self, model: Path, runtime: str, inputs: Tensors) -> Tensors:
        """See Device: rows are steps, and a state is taken from ``inputs`` only where a sequence begins."""
        return roll(lambda rows: self._device.run(model, runtime, rows), inputs, self._state, self._sequence)

    def measure(self, model: Path, runtime: str, inputs: Tensors) -> Reading:
        """See Device: one step costs what every step costs."""
        return self._device.measure(model, runtime, inputs)

    def close(self) -> None:
        """See Device."""
        self._device.close()


def roll(
    step: Callable[[Tensors], Tensors], inputs: Tensors, state: Mapping[str, str], sequence: int
) -> dict[str, np.ndarray[Any, Any]]:
    """Outputs of every step, a row each, in the order of ``inputs``.

    Args:
        step: outputs of rows that know nothing of each other: one step of several sequences.
        state: input -> the output that is its next value.
        sequence: rows of one sequence, then the next begins; 0: all are one. The last may be shorter.
    """
    import numpy as np

    count = len(next(iter(inputs.values())))
    length = min(sequence or count, count)
    starts = np.arange(0, count, length)
    kept: dict[str, Any] = {}
    found: dict[str, np.ndarray[Any, Any]] = {}
    for number in range(length):
        rows = starts[starts + number < count] + number
        given = {name: np.ascontiguousarray(array[rows]) for name, array in inputs.items()}
        if number:
            given |= {name: np.ascontiguousarray(kept[name][: len(rows)]) for name in state}
        outputs = step(given)
        kept = {name: outputs[output] for name, output in state.items()}
        for name, array in outputs.items():
            if name not in found:
                found[name] = np.zeros((count, *array.shape[1:]), array.dtype)
            found[name][rows] = array
    return found


def as_fed(
    inputs: Tensors, outputs: Tensors, state: Mapping[str, str], sequence: int
) -> dict[str, np.ndarray[Any, Any]]:
    """The inputs with the state that ``roll`` fed in each step, given what it gave."""
    import numpy as np

    count = len(next(iter(inputs.values())))
    later = np.arange(count) % (sequence or count) != 0
    fed = {name: np.array(array) for name, array in inputs.items()}
    for name, output in state.items():
        before = np.concatenate([fed[name][:1], outputs[output][:-1]])
        fed[name][later] = before[later]
    return fed
