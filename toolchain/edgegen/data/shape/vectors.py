"""Rows of a table as vectors of features: what cleaning fitted, applied batch by batch as a device applies it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress
from edgegen.data.carrier import DROPPED_FILE
from edgegen.data.clean.columns import Rows, features, read_parts, refused
from edgegen.data.collected import FITTED_FILE, LABELS_FILE, Collected, Files
from edgegen.data.dataset import PARTS, DataSet, Form, Part
from edgegen.data.settings import DataSettings
from edgegen.data.shape.answers import (
    MOST_CLASSES,
    Codes,
    Roles,
    class_order,
    find_roles,
    given_labels,
    label_texts,
    target_values,
    texts_of,
)
from edgegen.data.shape.spill import Spill
from edgegen_runtime.errors import PreprocessError
from edgegen_runtime.preprocess import Preprocessor

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_BATCH = 65_536


def shape(files: Files, collected: Collected, settings: DataSettings, how: str, progress: Progress) -> DataSet:
    """(samples, features) float32 with labels or targets, groups and sensitive attributes, in the file's order.

    Arrays are mapped from temporary files: the set may be larger than memory.

    Raises:
        UsageError: a row that the contract refuses, a missing label or target, one class, or a class that the training
            part does not have.
    """
    if settings.window is not None:
        from edgegen.data.shape import series

        windows: DataSet = series.shape_statistics(files, collected, settings, how, progress)
        return windows
    contract = json.loads(files[FITTED_FILE].read_bytes())
    names = feature_names(contract)
    labels = np.load(files[LABELS_FILE], mmap_mode="r", allow_pickle=False) if LABELS_FILE in files else None
    work = _Shaping(contract, len(names), find_roles(settings), labels)
    columns = {**features(settings).columns, **work.roles.columns}
    dropped = np.load(files[DROPPED_FILE], mmap_mode="r", allow_pickle=False) if DROPPED_FILE in files else None
    for rows in read_parts(files, columns):
        work.add(rows, None if dropped is None else dropped[rows.first : rows.first + len(rows.part)])
        progress.advance("prepare", rows.first + len(rows.part), collected.samples)
    classes = work.classes(collected)
    parts = {name: work.part(number, classes) for number, name in enumerate(PARTS)}
    form = Form(
        name=collected.name,
        kind="vectors",
        shape=(len(names),),
        dtype="float32",
        minimum=0.0 if settings.clean.scale == "minmax" else None,
        maximum=1.0 if settings.clean.scale == "minmax" else None,
        features=names,
        classes=tuple(classes),
        targets=work.roles.targets,
        samples={name: len(part) for name, part in parts.items()},
        origin=collected.origin,
        licence=collected.licence,
        licence_doubt=collected.licence_doubt,
        synthetic=collected.synthetic,
        split=how,
        preprocessing=contract,
    )
    return DataSet(form=form, **parts)


def feature_names(contract: Mapping[str, Any]) -> tuple[str, ...]:
    """What a fitted contract selects, in the model's order."""
    return tuple(next(step["columns"] for step in contract["steps"] if step["do"] == "select"))


class _Arrays:
    """What one part gathers."""

    def __init__(self, width: int, roles: Roles) -> None:
        self.x = Spill(np.float32, (width,))
        self.label = Spill(np.int32)
        self.target = Spill(np.float32, (len(roles.targets),))
        self.texts = {name: Spill(np.int32) for name in roles.texts}


class _Shaping:
    """``given``: (rows,) text, labels that stand in for the column's, as a person corrected them."""

    def __init__(self, contract: Mapping[str, Any], width: int, roles: Roles, given: Array | None) -> None:
        self.roles, self._given = roles, given
        self._prepare = Preprocessor(contract)
        self._parts = [_Arrays(width, roles) for _ in PARTS]
        self._labels = Codes(MOST_CLASSES)
        self._texts = {name: Codes() for name in roles.texts}

    def add(self, rows: Rows, dropped: Array | None) -> None:
        places = np.arange(rows.first, rows.first + len(rows.part))
        for number, arrays in enumerate(self._parts):
            chosen = rows.part == number if dropped is None else (rows.part == number) & ~dropped
            if chosen.any():
                self._add(arrays, rows.chosen(chosen), places[chosen])

    def _add(self, arrays: _Arrays, cells: Mapping[str, Array], numbers: Array) -> None:
        roles = self.roles
        try:
            arrays.x.add(self._prepare(cells))
        except PreprocessError as error:
            raise refused(error, numbers) from error
        if roles.label is not None:
            labels = cells[roles.label] if self._given is None else given_labels(self._given, numbers)
            texts = label_texts(labels, roles.columns[roles.label], roles.label, numbers)
            arrays.label.add(self._labels.add(texts, f"[data.columns.{roles.label}]"))
        if roles.targets:
            arrays.target.add(target_values(cells, roles.targets, numbers))
        for name, spill in arrays.texts.items():
            texts = texts_of(cells[name], roles.columns[name], name, numbers, needed=name == roles.group)
            spill.add(self._texts[name].add(texts, f"[data.columns.{name}]"))

    def classes(self, collected: Collected) -> list[str]:
        """The classes in order; none where there is no label. The training part has every one of them."""
        if self.roles.label is None:
            return []
        names = self._labels.names
        order = class_order(names, self.roles.columns[self.roles.label], collected)
        learnt = set(np.unique(self._parts[PARTS.index("train")].label.array()).tolist())
        unseen = [name for code, name in enumerate(names) if code not in learnt]
        if unseen:
            raise UsageError(
                "the training part has no row of a class",
                where=f"[data.columns.{self.roles.label}]",
                got=", ".join(unseen[:10]),
                next_step="split by 'stratified', or take the rows of that class out",
            )
        return order

    def part(self, number: int, classes: list[str]) -> Part:
        """The arrays of one part."""
        arrays, roles = self._parts[number], self.roles
        y: Array | None = None
        if roles.label is not None:
            places = {name: place for place, name in enumerate(classes)}
            ranks = np.array([places[name] for name in self._labels.names], np.int64)
            y = ranks[arrays.label.array()]
        elif roles.targets:
            y = arrays.target.array()
        return Part(
            x=arrays.x.array(),
            y=y,
            group=None if roles.group is None else self._spelt(roles.group, arrays),
            attributes={name: self._spelt(name, arrays) for name in roles.sensitive},
        )

    def _spelt(self, name: str, arrays: _Arrays) -> Array:
        """Codes as texts again, (samples,)."""
        codes, texts = arrays.texts[name].array(), np.array(self._texts[name].names or [""])
        spelt = Spill(texts.dtype)
        for start in range(0, len(codes), _BATCH):
            spelt.add(texts[codes[start : start + _BATCH]])
        return spelt.array()
