"""Which output feeds which input: told where names and shapes leave no doubt, and held against the model otherwise."""

from __future__ import annotations

import pytest

from edgegen.core.errors import UsageError
from edgegen.export.opened import Value
from edgegen.export.state_pairs import check_state, state_pairs


def _values(*told: tuple[str, tuple[int | str, ...]]) -> list[Value]:
    return [Value(name=name, dtype="float32", dims=dims) for name, dims in told]


@pytest.mark.parametrize(
    ("inputs", "outputs", "pairs"),
    [
        ([("x", (1, 4)), ("state", (2, 1, 8))], [("y", (1, 3)), ("stateN", (2, 1, 8))], {"state": "stateN"}),
        (
            [("h_in", (1, 8)), ("c_in", (1, 8))],
            [("h_out", (1, 8)), ("c_out", (1, 8))],
            {"h_in": "h_out", "c_in": "c_out"},
        ),
        ([("h", (1, 8)), ("c", (1, 8))], [("hn", (1, 8)), ("cn", (1, 8))], {"h": "hn", "c": "cn"}),
        ([("past_key", (1, 4, 8))], [("present_key", (1, 4, 8))], {"past_key": "present_key"}),
        ([("state", (2, 1, 8))], [("stateN", ("a", 1, "b"))], {"state": "stateN"}),
        ([("state", (1, 8))], [("next_state", (1, 9))], {}),  # another shape
        ([("state", (1, 8))], [("state_out", (1, 8)), ("new_state", (1, 8))], {}),  # which of the two?
        ([("h_in", (1, 8)), ("h_prev", (1, 8))], [("h_out", (1, 8))], {}),  # of which of the two?
        ([("x", (1, 8))], [("y", (1, 8))], {}),  # nothing says so
    ],
)
def test_state_pairs(inputs: list, outputs: list, pairs: dict[str, str]) -> None:
    assert state_pairs(_values(*inputs), _values(*outputs)) == pairs


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"z": "y"}, "no input 'z'"),
        ({"x": "z"}, "no output 'z'"),
        ({"x": "y"}, "another shape"),
        ({"x": "u", "w": "u"}, "feeds two inputs"),
    ],
)
def test_written_state_must_fit(state: dict[str, str], said: str) -> None:
    inputs, outputs = _values(("x", (1, 4)), ("w", (1, 4))), _values(("y", (1, 3)), ("u", (1, 4)))
    with pytest.raises(UsageError, match=said):
        check_state(inputs, outputs, state, "m.onnx")
    assert check_state(inputs, outputs, {"x": "u"}, "m.onnx") == {"x": "u"}
