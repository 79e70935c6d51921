"""What a trained classifier or regressor has to beat: the commonest class or the mean, a line, a decision tree.

Each takes no more bytes than the trained model. A tree's node is counted as eight bytes: the feature or the class
(2), the threshold as float32 (4) and the place of the right branch (2); the left one follows. A line is counted as
float32 coefficients. What scales or summarizes the features comes with both and is not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.lazy import load
from edgegen_runtime.signals import statistics

if TYPE_CHECKING:
    from edgegen.data.dataset import Form, Part

    Array = np.ndarray[Any, np.dtype[Any]]

NODE_BYTES = 8
"""Of a tree's node."""

_NUMBER_BYTES = 4
_MOST_ROWS = 10_000  # of the training part; a tree of more takes longer than the network
_WINDOW_FIGURES = ("mean", "std", "min", "max", "median", "rms", "range", "slope")
_STRETCHES = 8  # of a spectrogram in time
_SIZES = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)  # leaves that are tried
_HELD_OUT = 4  # one part in so many of the training part chooses the size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Simple:
    """A simple model, judged: ``found`` is (samples,) int64 classes, or (samples, targets) float64.

    ``chances`` are (samples, classes), where it knows more than one answer.
    """

    name: str
    bytes: int
    found: Array
    chances: Array | None = None


def simple_classes(form: Form, train: Part, test: Part, most_bytes: int, seed: int, balanced: bool) -> list[Simple]:
    """The commonest class and a tree, on the test part.

    Args:
        balanced: whether classes count the same, however rare: the tree is then grown so too.

    Raises:
        ToolMissingError: scikit-learn is not installed.
    """
    assert train.y is not None
    kind = load("sklearn.tree:DecisionTreeClassifier", extra="data")
    rows = _chosen_rows(len(train))
    labels = np.asarray(train.y[rows])
    commonest = int(np.bincount(np.asarray(train.y)).argmax())
    naming = Simple(
        name=f"always {form.classes[commonest]!r}", bytes=2, found=np.full(len(test), commonest, dtype=np.int64)
    )

    def grow(leaves: int) -> Any:
        return kind(max_leaf_nodes=leaves, random_state=seed, class_weight="balanced" if balanced else None)

    def score(found: Array, wanted: Array) -> float:
        right = found == wanted
        if not balanced:
            return float(right.mean())
        return float(np.mean([right[wanted == label].mean() for label in np.unique(wanted)]))

    tree = _tree(grow, score, form, train, rows, labels, test, most_bytes, seed)
    return [naming] if tree is None else [naming, tree]


def simple_values(form: Form, train: Part, test: Part, most_bytes: int, seed: int) -> list[Simple]:
    """The mean, a ridge regression where it fits into the bytes, and a tree, on the test part.

    Raises:
        ToolMissingError: scikit-learn is not installed.
    """
    assert train.y is not None
    kind = load("sklearn.tree:DecisionTreeRegressor", extra="data")
    ridge = load("sklearn.linear_model:RidgeCV", extra="data")
    rows = _chosen_rows(len(train))
    targets = np.asarray(train.y[rows], np.float64)
    means = targets.mean(axis=0)
    found = [Simple(name="the mean", bytes=_NUMBER_BYTES * len(means), found=np.tile(means, (len(test), 1)))]
    x = features(form, train.x[rows])
    line_bytes = _NUMBER_BYTES * (x.shape[1] + 1) * targets.shape[1]
    if line_bytes <= most_bytes:
        line = ridge(alphas=np.logspace(-3, 3, 13)).fit(x, targets)
        predicted = line.predict(features(form, test.x)).reshape(len(test), -1)
        found.append(Simple(name=f"a line over {x.shape[1]} features", bytes=line_bytes, found=predicted))

    def grow(leaves: int) -> Any:
        return kind(max_leaf_nodes=leaves, random_state=seed)

    def score(predicted: Array, wanted: Array) -> float:
        return -float(np.mean((predicted.reshape(wanted.shape) - wanted) ** 2 / np.maximum(wanted.var(axis=0), 1e-12)))

    tree = _tree(grow, score, form, train, rows, targets, test, most_bytes, seed)
    return found if tree is None else [*found, tree]


def features(form: Form, x: Array) -> Array:
    """(samples, features): vectors and pixels as they are, figures of windows, a spectrogram made coarse in time."""
    if form.kind == "series" or (form.kind == "audio" and x.ndim == 3):
        return statistics(np.swapaxes(x, 1, 2), _WINDOW_FIGURES).astype(np.float32)
    if form.kind == "audio":
        stretches = np.array_split(np.asarray(x), min(_STRETCHES, x.shape[2]), axis=2)
        return np.concatenate([stretch.mean(axis=2).reshape(len(x), -1) for stretch in stretches], axis=1)
    return np.asarray(x, np.float32).reshape(len(x), -1)


def _tree(
    grow: Callable[[int], Any],
    score: Callable[[Array, Array], float],
    form: Form,
    train: Part,
    rows: Array,
    wanted: Array,
    test: Part,
    most_bytes: int,
    seed: int,
) -> Simple | None:
    """The tree of the size that is best on a part of the training part; None where not even two leaves fit."""
    largest = min((most_bytes // NODE_BYTES + 1) // 2, len(rows))
    if largest < 2:
        return None
    x = features(form, train.x[rows])
    held = _held_out(None if train.group is None else np.asarray(train.group[rows]), len(rows), seed)
    sizes = sorted({size for size in _SIZES if size < largest} | {largest})
    scores = [score(grow(size).fit(x[~held], wanted[~held]).predict(x[held]), wanted[held]) for size in sizes]
    tree = grow(sizes[int(np.argmax(scores))]).fit(x, wanted)
    judged = features(form, test.x)
    found = tree.predict(judged)
    chances = None
    if wanted.ndim == 1:
        chances = np.zeros((len(test), len(form.classes)))
        chances[:, tree.classes_] = tree.predict_proba(judged)
    return Simple(
        name=f"a decision tree of {tree.get_n_leaves()} leaves over {x.shape[1]} features",
        bytes=NODE_BYTES * int(tree.tree_.node_count),
        found=found.reshape(len(test), -1) if wanted.ndim > 1 else found,
        chances=chances,
    )


def _held_out(groups: Array | None, samples: int, seed: int) -> Array:
    """(samples,) bool: whole groups where there are at least two, else samples."""
    names, units = (None, np.arange(samples)) if groups is None else np.unique(groups, return_inverse=True)
    if names is not None and len(names) < 2:
        units = np.arange(samples)
    count = int(units.max()) + 1
    chosen = np.random.Generator(np.random.PCG64(seed)).permutation(count)[: max(1, count // _HELD_OUT)]
    held: Array = np.isin(units, chosen)
    return held


def _chosen_rows(samples: int) -> Array:
    """All rows, or evenly spaced ones of a large part."""
    return np.arange(samples) if samples <= _MOST_ROWS else np.linspace(0, samples - 1, _MOST_ROWS).astype(int)
