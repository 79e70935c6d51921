"""Labels that the features speak against, by confident learning (Northcutt, Jiang and Chuang, 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.core.lazy import load
from edgegen.data.carrier import feature_columns, read_groups, read_labels, rows, sample_names
from edgegen.data.collected import VALUES_FILE, Collected, Files
from edgegen.data.dataset import PARTS
from edgegen.data.review import Issue
from edgegen.data.settings import DataSettings
from edgegen.data.split import assign

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_MOST_SAMPLES = 20_000
_MOST_VALUES = 50_000_000
_MOST_CLASSES = 200
_FOLDS = 5
_COMPONENTS = 50
_LANDMARKS = 500
_MOST_CATEGORIES = 20  # values of a category that get a column of their own
_SEGMENTS, _BANDS = 16, 32  # of a clip's coarse spectrum
_MEASURED = ("number", "integer", "time", "boolean")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspects:
    """What was found, least likely labels first."""

    issues: tuple[Issue, ...]
    judged: int  # training samples that were looked at
    notes: tuple[str, ...]  # what was not


def find_label_issues(files: Files, collected: Collected, settings: DataSettings, seed: int) -> Suspects:
    """Training samples whose label is unlikely to a model that was fitted without them.

    Logistic regression over Nystroem features (Williams and Seeger, 2001) of an RBF kernel on standardized columns, or
    on 50 principal components of pixels or of a clip's coarse spectrum; five folds, groups kept whole. At most 20,000
    samples are drawn. Samples outside the training part are never judged: what judges a model is not to be chosen by
    one.

    Raises:
        UsageError: no labels, or rows that are cut into windows.
        ToolMissingError: cleanlab or scikit-learn is not installed.
    """
    labels = read_labels(files, collected, settings)
    if labels is None:
        raise UsageError("there are no labels to look over", where="[data.label] find_issues", got="true")
    if settings.window is not None:
        raise UsageError(
            "labels of rows that are cut into windows cannot be looked over",
            where="[data.label] find_issues",
            next_step="set it to false",
        )
    train = (assign(files, collected, settings, seed) == PARTS.index("train")) & (labels.codes >= 0)
    few = np.flatnonzero((labels.counts(train) > 0) & (labels.counts(train) < _FOLDS))
    notes = [f"the class {labels.names[code]!r} has too few training samples to be looked over" for code in few[:5]]
    kept = np.setdiff1d(np.flatnonzero(labels.counts(train)), few)
    if not 2 <= len(kept) <= _MOST_CLASSES:
        notes.append(f"{len(kept)} classes can be looked over; 2 to {_MOST_CLASSES} were needed")
        return Suspects(issues=(), judged=0, notes=tuple(notes))
    candidates = np.flatnonzero(train & np.isin(labels.codes, kept))
    chosen = _drawn(candidates, _width(files, collected, settings), seed)
    if len(chosen) < len(candidates):
        notes.append(f"{len(chosen)} of {len(candidates)} training samples were looked over")
    codes = np.searchsorted(kept, labels.codes[chosen])
    groups = read_groups(files, collected, settings)
    likely = _probabilities(
        _features(files, collected, settings, chosen, seed),
        codes,
        None if groups is None else groups.codes[chosen],
        len(kept),
        seed,
    )
    unlikely = load("cleanlab.filter:find_label_issues", extra="data")(
        codes, likely, return_indices_ranked_by="self_confidence", filter_by="low_normalized_margin", n_jobs=1
    )
    names = [labels.names[code] for code in kept]
    return Suspects(
        issues=tuple(_issues(files, collected, chosen, codes, likely, names, unlikely)),
        judged=len(chosen),
        notes=tuple(notes),
    )


def sample_key(files: Files, collected: Collected, index: int) -> str:
    """What a review calls a sample: its file's name, its row from 1 on, or its place in the array from 0 on."""
    names = sample_names(files)
    if names is not None:
        return str(names[index])
    return str(index + 1 if collected.carrier == "rows" else index)


def _issues(
    files: Files,
    collected: Collected,
    chosen: Array,
    codes: Array,
    likely: Array,
    names: list[str],
    unlikely: Array,
) -> Iterator[Issue]:
    for place in unlikely:
        suggested = int(likely[place].argmax())
        if suggested != codes[place]:
            yield Issue(
                sample=sample_key(files, collected, int(chosen[place])),
                given=names[codes[place]],
                suggested=names[suggested],
                confidence=float(likely[place, suggested]),
            )


def _drawn(candidates: Array, width: int, seed: int) -> Array:
    most = max(100, min(_MOST_SAMPLES, _MOST_VALUES // width))
    if len(candidates) <= most:
        return candidates
    random = np.random.Generator(np.random.PCG64(seed))
    return candidates[np.sort(random.choice(len(candidates), most, replace=False))]


def _width(files: Files, collected: Collected, settings: DataSettings) -> int:
    if collected.carrier == "rows":
        return max(1, _MOST_CATEGORIES * len(feature_columns(settings)))
    values = np.load(files[VALUES_FILE], mmap_mode="r", allow_pickle=False)
    return int(np.prod(values.shape[1:]))


def _probabilities(features: Array, codes: Array, groups: Array | None, classes: int, seed: int) -> Array:
    """(samples, classes): of each sample by a model fitted on the other folds; a class that it never saw has 0."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
    from threadpoolctl import threadpool_limits

    likely = np.zeros((len(codes), classes))
    if groups is None or len(np.unique(groups)) < _FOLDS:
        folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed % 2**32).split(features, codes)
    else:
        folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed % 2**32).split(features, codes, groups)
    with threadpool_limits(1):
        for fitted, judged in folds:
            if len(np.unique(codes[fitted])) > 1:
                model = LogisticRegression(C=10, max_iter=300).fit(features[fitted], codes[fitted])
                likely[np.ix_(judged, model.classes_)] = model.predict_proba(features[judged])
            else:
                likely[judged, codes[fitted][0]] = 1
    return likely


def _features(files: Files, collected: Collected, settings: DataSettings, chosen: Array, seed: int) -> Array:
    """(samples, landmarks) float64."""
    from sklearn.decomposition import PCA
    from sklearn.kernel_approximation import Nystroem
    from threadpoolctl import threadpool_limits

    random = np.random.Generator(np.random.PCG64(seed))
    with threadpool_limits(1):
        if collected.carrier == "rows":
            plain = _columns(files, settings, chosen)
        else:
            values = np.load(files[VALUES_FILE], mmap_mode="r", allow_pickle=False)[chosen].astype(np.float32)
            values = _spectra(values) if collected.kind == "audio" else values.reshape(len(chosen), -1)
            components = min(_COMPONENTS, *values.shape)
            plain = PCA(components, svd_solver="randomized", random_state=seed % 2**32).fit_transform(values)
        one, other = random.integers(0, len(plain), (2, 2000))
        distance = float(np.median(((plain[one] - plain[other]) ** 2).sum(1)))
        landmarks = min(_LANDMARKS, len(plain))
        kernel = Nystroem(
            n_components=landmarks, gamma=2 / distance if distance > 0 else 1.0, random_state=seed % 2**32
        )
        return np.asarray(kernel.fit_transform(plain), np.float64)


def _spectra(clips: Array) -> Array:
    """(samples, segments x bands): log magnitudes of equal stretches of a clip."""
    flat = clips.reshape(len(clips), -1)
    length = max(1, flat.shape[1] // _SEGMENTS)
    stretches = flat[:, : length * (flat.shape[1] // length)].reshape(len(flat), -1, length)
    magnitudes = np.abs(np.fft.rfft(stretches, axis=2))
    edges = np.unique(np.linspace(0, magnitudes.shape[2] - 1, _BANDS).astype(int))
    bands = np.add.reduceat(magnitudes, edges, axis=2)
    spectra: Array = np.log(bands + 1e-3 * bands.mean() + 1e-12).reshape(len(flat), -1)
    return spectra


def _columns(files: Files, settings: DataSettings, chosen: Array) -> Array:
    """(rows, width): numbers standardized, their gaps at the mean; a column for each frequent value of a category."""
    import pandas as pd

    names = feature_columns(settings)
    wanted = np.zeros(int(chosen[-1]) + 1, bool)
    wanted[chosen] = True
    pieces = []
    for frame in rows(files, names):
        mask = np.zeros(len(frame), bool)
        inside = wanted[frame.index[0] : frame.index[0] + len(frame)]
        mask[: len(inside)] = inside
        pieces.append(frame[mask])
    frame = pd.concat(pieces)
    found = []
    for name in names:
        if settings.columns[name].type in _MEASURED:
            values = frame[name].to_numpy(np.float64, na_value=np.nan)
            present = values[np.isfinite(values)]
            deviation = present.std() if len(present) else 0.0
            middle = present.mean() if len(present) else 0.0
            found.append(np.nan_to_num((values - middle) / (deviation or 1.0)))
        elif settings.columns[name].type == "category":
            frequent = frame[name].value_counts().index[:_MOST_CATEGORIES]
            found += [(frame[name] == value).fillna(False).to_numpy(np.float64) for value in frequent]
    if not found:
        raise UsageError("no column is a feature to look labels over by", where="[data.columns]")
    return np.stack(found, axis=1)
