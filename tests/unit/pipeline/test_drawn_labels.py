"""Labels of drawn samples: the classes' own numbers where they have numbers, else their places."""

from __future__ import annotations

import numpy as np
import pytest

from edgegen.pipeline.inspect import asked_labels


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        (("0", "1", "2"), [2, 0, 1]),
        (("3", "-7", "12"), [12, 3, -7]),
        (("cat", "dog", "fox"), [2, 0, 1]),
        (("1", "02", "3"), [2, 0, 1]),  # "02" would be read back as "2"
    ],
)
def test_labels_are_what_the_conditions_ask_for(classes: tuple[str, ...], labels: list[int]) -> None:
    found = asked_labels(classes, {"condition": np.eye(3, dtype=np.float32)[[2, 0, 1]]})
    assert found.dtype == np.int64
    assert found.tolist() == labels
