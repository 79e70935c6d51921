"""Training, validation and test part: which samples are learnt from, which stop the learning, and which judge."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.core.lazy import nearest
from edgegen.data.carrier import (
    Coded,
    column_of,
    read_dropped,
    read_groups,
    read_labels,
    read_times,
    sample_count,
    sample_digests,
    shown_sample,
)
from edgegen.data.clean.columns import UNUSED
from edgegen.data.collected import GROUPS_FILE, SPLIT_FILE, Collected, Files
from edgegen.data.dataset import PARTS
from edgegen.data.settings import DataSettings, SplitSettings

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_TRAIN, _VALIDATION, _TEST = range(len(PARTS))
_AT_ONCE = 1 << 20  # samples
_MOST_SHOWN = 100  # classes or groups that the record names one by one


@dataclass(frozen=True, kw_only=True, eq=False)
class _Samples:
    """What is split: the carrier's samples but for those that a person dropped."""

    files: Files
    collected: Collected
    settings: DataSettings
    seed: int

    @cached_property
    def kept(self) -> Array:
        """(samples,) bool."""
        return ~read_dropped(self.files, sample_count(self.files, self.collected))

    @cached_property
    def labels(self) -> Coded | None:
        return read_labels(self.files, self.collected, self.settings)

    @cached_property
    def groups(self) -> Coded | None:
        return read_groups(self.files, self.collected, self.settings)

    def shown(self, place: int) -> str:
        """The name of the kept sample at this place among the kept ones."""
        return shown_sample(self.files, self.collected, int(np.flatnonzero(self.kept)[place]))

    def random(self) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(self.seed))


def split(files: Files, collected: Collected, settings: DataSettings, seed: int, folder: Path) -> Mapping[str, Any]:
    """Writes ``split.npy``: a number of ``dataset.PARTS`` for every sample, 255 for one that no part takes.

    A sample is a row, an entry of ``values.npy``, or a line of text. Beyond the labels, groups or times, some ten
    bytes are held for each.

    Returns:
        a JSON-ready record: ``by``, ``how`` (a sentence), ``samples`` by part, and where they are known and few
        ``classes`` (part to class to samples) and ``groups`` (part to names).

    Raises:
        UsageError: a way of splitting that these data cannot take, or a part that would be empty.
    """
    samples = _Samples(files=files, collected=collected, settings=settings, seed=seed)
    parts, by, how = _parted(samples)
    counts = {name: int(np.count_nonzero(parts == number)) for number, name in enumerate(PARTS)}
    _check_filled(counts, settings.split, by)
    np.save(folder / SPLIT_FILE, parts, allow_pickle=False)
    return {"by": by, "how": how, "samples": counts, **_classes(samples, parts), **_group_names(samples, parts)}


def assign(files: Files, collected: Collected, settings: DataSettings, seed: int) -> Array:
    """(samples,) uint8, as ``split`` would write it for these files."""
    return _parted(_Samples(files=files, collected=collected, settings=settings, seed=seed))[0]


def content_ranks(values: Array) -> Array:
    """Rank of every sample by the sha256 of its values: an order nobody chose, for ever the same."""
    keys = [hashlib.sha256(np.ascontiguousarray(value).tobytes()).digest() for value in values]
    ranks = np.empty(len(keys), np.int64)
    ranks[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(keys))
    return ranks


def _parted(samples: _Samples) -> tuple[Array, str, str]:
    by = samples.settings.split.by or _default_way(samples)
    _check_way(by, samples)
    kept_parts, how = _WAYS[by](samples)
    parts = np.full(len(samples.kept), UNUSED, np.uint8)
    parts[samples.kept] = kept_parts
    return parts, by, how


def _default_way(samples: _Samples) -> str:
    collected, settings = samples.collected, samples.settings
    if settings.split.test_groups:
        return "group"
    if collected.train_first is not None:
        return "given"
    if GROUPS_FILE in samples.files or (collected.carrier == "rows" and column_of(settings, "group")):
        return "group"
    if collected.carrier == "text" or (collected.carrier == "rows" and _is_series(settings)):
        return "time"
    return "content"


def _is_series(settings: DataSettings) -> bool:
    """Rows that follow each other: cut into windows, or timed and without a label."""
    timed = column_of(settings, "time") is not None and column_of(settings, "label") is None
    return settings.window is not None or timed


def _check_way(by: str, samples: _Samples) -> None:
    settings, collected = samples.settings.split, samples.collected
    if settings.validation_ratio + settings.test_ratio >= 1 and not settings.test_groups:
        raise UsageError(
            "nothing is left to train on",
            where="[data.split]",
            got=f"validation_ratio {settings.validation_ratio} and test_ratio {settings.test_ratio}",
            expected="less than 1 together",
        )
    if settings.test_groups and by != "group":
        raise UsageError(
            "'test_groups' needs a split by groups", where="[data.split]", got=f"by = {by!r}", expected="by = 'group'"
        )
    if collected.carrier == "text" and by != "time":
        raise UsageError(
            "text is split by position alone", where="[data.split] by", got=by, expected="'time', or leave it out"
        )
    if collected.carrier == "rows" and samples.settings.window is not None and by not in ("group", "time"):
        raise UsageError(
            "rows that are cut into windows must stay together",
            where="[data.split] by",
            got=by,
            expected="'group' or 'time'",
        )


def _check_filled(counts: Mapping[str, int], settings: SplitSettings, by: str) -> None:
    wanted = [name for name in PARTS if name != "validation" or settings.validation_ratio > 0]
    for name in wanted:
        if not counts[name]:
            raise UsageError(
                f"the {name} part is empty",
                where="[data.split]",
                got=f"{counts}, split by {by}",
                expected="at least 1 sample",
                next_step="change the ratios, or split in another way; equal samples and whole groups stay together",
            )


def _given(samples: _Samples) -> tuple[Array, str]:
    first, following = samples.collected.train_first, samples.collected.test_next
    if first is None or following is None:
        raise UsageError(
            "the source gives no split of its own", where="[data.split] by", got="given", next_step="choose another way"
        )
    parts = np.full(len(samples.kept), UNUSED, np.uint8)
    parts[:first] = _TRAIN
    parts[first : first + following] = _TEST
    parts = parts[samples.kept]
    how = f"the set's own: the first {first} are train, the next {following} test"
    validation = round(int(np.count_nonzero(parts != UNUSED)) * samples.settings.split.validation_ratio)
    if not validation:
        return parts, how
    train = np.flatnonzero(parts == _TRAIN)
    if validation >= len(train):
        raise UsageError("nothing is left to train on", where="[data.split] validation_ratio", got=validation)
    digests = _kept_digests(samples)[train]
    parts[train[digests >= ranked(digests, len(train) - validation)]] = _VALIDATION
    return parts, f"{how}; of train, those with the last sha256 are validation"


def _by_content(samples: _Samples) -> tuple[Array, str]:
    """By thresholds over the digests, so that equal samples come into the same part."""
    digests = _kept_digests(samples)
    validation, test = _sizes(len(digests), samples.settings.split)
    least_validation = ranked(digests, max(0, len(digests) - test - validation))
    least_test = ranked(digests, len(digests) - test)
    parts = np.full(len(digests), _TRAIN, np.uint8)
    if validation:
        parts[digests >= least_validation] = _VALIDATION
    parts[digests >= least_test] = _TEST
    what = "rows are sorted by a hash of their features" if samples.collected.carrier == "rows" else _BY_SHA256
    return parts, f"{what}; the last ones are test"


_BY_SHA256 = "samples are sorted by the sha256 of their values"


def _kept_digests(samples: _Samples) -> Array:
    digests = sample_digests(samples.files, samples.collected, samples.settings)
    return digests if samples.kept.all() else digests[samples.kept]


def ranked(values: Array, rank: int) -> np.uint64:
    """The value of this rank, from 0, among uint64: found 16 bits at a time, without a copy of all of them."""
    lowest = 0
    for shift in (48, 32, 16, 0):
        counts = np.zeros(1 << 16, np.int64)
        for first in range(0, len(values), _AT_ONCE):
            piece = values[first : first + _AT_ONCE]
            if shift < 48:
                piece = piece[(piece >> np.uint64(shift + 16)) == np.uint64(lowest >> (shift + 16))]
            digits = (piece >> np.uint64(shift)) & np.uint64(0xFFFF)
            counts += np.bincount(digits.astype(np.int64), minlength=1 << 16)
        below = np.cumsum(counts)
        digit = int(np.searchsorted(below, rank, side="right"))
        rank -= int(below[digit] - counts[digit])
        lowest |= digit << shift
    return np.uint64(lowest)


def _at_random(samples: _Samples) -> tuple[Array, str]:
    ranks = samples.random().permutation(int(np.count_nonzero(samples.kept)))
    validation, test = _sizes(len(ranks), samples.settings.split)
    parts = np.full(len(ranks), _TRAIN, np.uint8)
    parts[ranks >= len(ranks) - test - validation] = _VALIDATION
    parts[ranks >= len(ranks) - test] = _TEST
    return parts, f"drawn at random with seed {samples.seed}"


def _stratified(samples: _Samples) -> tuple[Array, str]:
    """Each class is drawn apart, so that every part has its share of it."""
    if samples.labels is None:
        raise UsageError("there are no labels to stratify by", where="[data.split] by", got="stratified")
    codes = samples.labels.codes[samples.kept]
    _refuse_lost(codes, samples, "label")
    order = samples.random().permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    parts = np.empty(len(codes), np.uint8)
    start = 0
    for name, count in zip(samples.labels.names, samples.labels.counts(samples.kept), strict=True):
        sizes = _shares(int(count), name, samples.settings.split)
        parts[order[start : start + count]] = np.repeat(np.arange(len(PARTS), dtype=np.uint8), sizes)
        start += count
    return parts, f"every class is drawn at random with seed {samples.seed}, in the same shares"


def _shares(count: int, name: str, settings: SplitSettings) -> list[int]:
    """Sizes of one class's parts by largest remainder (Hamilton); no part that is wanted goes without.

    Raises:
        UsageError: the class has fewer samples than there are parts.
    """
    quotas = [count * (1 - settings.validation_ratio - settings.test_ratio)]
    quotas += [count * settings.validation_ratio, count * settings.test_ratio]
    wanted = [number for number, quota in enumerate(quotas) if quota > 0]
    if 0 < count < len(wanted):
        raise UsageError(
            f"the class {name!r} has too few samples for every part",
            where="[data.split] by",
            got=count,
            expected=f"at least {len(wanted)}",
            next_step="add samples, leave the class out, or split by content",
        )
    sizes = [int(quota) for quota in quotas]
    by_remainder = sorted(wanted, key=lambda number: sizes[number] - quotas[number])
    for number in by_remainder[: count - sum(sizes)]:
        sizes[number] += 1
    for number in wanted:
        if count and not sizes[number]:
            sizes[sizes.index(max(sizes))] -= 1
            sizes[number] = 1
    return sizes


def _by_group(samples: _Samples) -> tuple[Array, str]:
    groups, settings = samples.groups, samples.settings.split
    if groups is None:
        raise UsageError(
            "nothing names groups",
            where="[data.split] by",
            got="group",
            next_step="give a column the role 'group', or set [data.collect] group_pattern",
        )
    codes = groups.codes[samples.kept]
    _refuse_lost(codes, samples, "group")
    sizes = groups.counts(samples.kept)
    order = [int(code) for code in samples.random().permutation(len(groups.names)) if sizes[code]]
    if settings.test_groups:
        test = _named(settings.test_groups, groups)
    else:
        test = _gathered(order, sizes, len(codes) * settings.test_ratio)
    rest = [code for code in order if code not in test]
    validation = _gathered(rest, sizes, len(codes) * settings.validation_ratio)
    part_of = np.full(len(groups.names), _TRAIN, np.uint8)
    part_of[sorted(validation)] = _VALIDATION
    part_of[sorted(test)] = _TEST
    chosen = "as the project names them" if settings.test_groups else f"drawn with seed {samples.seed}"
    return part_of[codes], f"whole groups, {len(test)} of {len(order)} for test, {chosen}"


def _named(names: tuple[str, ...], groups: Coded) -> set[int]:
    known = {name: code for code, name in enumerate(groups.names)}
    for place, name in enumerate(names):
        if name not in known:
            raise UsageError(
                f"there is no group {name!r}",
                where="[data.split] test_groups",
                got=name,
                expected=f"one of the {len(known)} groups{nearest(name, known)}",
            )
        if name in names[:place]:
            raise UsageError(f"the group {name!r} is named twice", where="[data.split] test_groups", got=name)
    return {known[name] for name in names}


def _gathered(order: list[int], sizes: Array, wanted: float) -> set[int]:
    """Groups in order, each taken if it brings the number of samples nearer to ``wanted``; at least one."""
    taken: set[int] = set()
    total = 0
    for code in order:
        if total + sizes[code] / 2 <= wanted:
            taken.add(code)
            total += int(sizes[code])
    if wanted and order and not taken:
        taken = {min(order, key=lambda code: (sizes[code], order.index(code)))}
    return taken


def _by_time(samples: _Samples) -> tuple[Array, str]:
    times = read_times(samples.files, samples.collected, samples.settings)
    total = int(np.count_nonzero(samples.kept))
    validation, test = _sizes(total, samples.settings.split)
    ordered = np.full(total, _TRAIN, np.uint8)
    ordered[max(0, total - test - validation) :] = _VALIDATION
    ordered[total - test :] = _TEST
    if times is None:
        what = "lines" if samples.collected.carrier == "text" else "samples"
        return ordered, f"{what} keep their order; the last ones are test"
    parts = np.empty(total, np.uint8)
    parts[np.argsort(times[samples.kept], kind="stable")] = ordered
    return parts, "rows are ordered by time; the latest are test"


_WAYS: Mapping[str, Callable[[_Samples], tuple[Array, str]]] = {
    "given": _given,
    "content": _by_content,
    "random": _at_random,
    "stratified": _stratified,
    "group": _by_group,
    "time": _by_time,
}


def _sizes(total: int, settings: SplitSettings) -> tuple[int, int]:
    """Samples of the validation and of the test part."""
    if not total:
        raise UsageError("there is no sample to split", where="[data.split]", got=0)
    return round(total * settings.validation_ratio), max(1, round(total * settings.test_ratio))


def _refuse_lost(codes: Array, samples: _Samples, what: str) -> None:
    lost = np.flatnonzero(codes < 0)
    if len(lost):
        raise UsageError(
            f"samples have no {what}",
            where=samples.shown(int(lost[0])),
            got=f"{len(lost)} such samples",
            expected=f"a {what} for every sample",
            next_step="complete them, leave them out, or split in another way",
        )


def _classes(samples: _Samples, parts: Array) -> dict[str, Any]:
    labels = samples.labels
    if labels is None or len(labels.names) > _MOST_SHOWN:
        return {}
    counts = {name: labels.counts(parts == number) for number, name in enumerate(PARTS)}
    named = {name: dict(zip(labels.names, map(int, found), strict=True)) for name, found in counts.items()}
    return {"classes": named}


def _group_names(samples: _Samples, parts: Array) -> dict[str, Any]:
    """Names of groups are left out where they may tell of persons."""
    groups = samples.groups
    column = samples.settings.columns.get(column_of(samples.settings, "group") or "")
    private = column is not None and (column.sensitive or column.quasi_identifier)
    if groups is None or len(groups.names) > _MOST_SHOWN or private:
        return {}
    counts = {name: groups.counts(parts == number) for number, name in enumerate(PARTS)}
    return {"groups": {name: [groups.names[code] for code in np.flatnonzero(found)] for name, found in counts.items()}}
