"""Outliers by isolation: rows that few random cuts set apart from the others.

Source: Liu, Ting and Zhou, Isolation Forest, ICDM 2008.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.ensemble import IsolationForest

from edgegen.core.errors import UsageError

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]


def fit_forest(sample: Array, percent: float, seed: int) -> Callable[[Array], Array]:
    """Learns of (rows, columns) and returns a function: (rows, columns) to (rows,) bool, true for an outlier.

    Args:
        percent: of the sample's rows that count as outliers, above 0 and at most 50.
    """
    if np.abs(sample).max(initial=0) > np.finfo(np.float32).max:
        raise UsageError("a column's numbers are too large for an isolation forest", where="[data.clean] outliers")
    forest = IsolationForest(contamination=percent / 100, random_state=seed % 2**32, n_jobs=1).fit(sample)
    limit = np.finfo(np.float32).max  # its trees cut float32
    return lambda rows: np.asarray(forest.predict(np.clip(rows, -limit, limit)) == -1)
