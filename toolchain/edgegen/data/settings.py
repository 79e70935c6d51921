"""``[data]`` of a project; importable without numpy or pandas.

Every table here is read by one step of the room, in this order: collect, format, label, split, check, clean, shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgegen.core.records import setting

Kind = Literal["npz", "images", "csv", "json", "jsonl", "parquet", "sql", "wav", "text"]
Role = Literal["feature", "label", "target", "group", "recording", "time", "attribute", "identifier", "ignore"]
"""Windows are cut inside a recording, or without one inside a group. An attribute is reported, never learnt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectSettings:
    """How the source is read."""

    separator: str = setting(",", doc="csv: what stands between two cells, one character")
    encoding: str = setting("utf-8", doc="csv, json, jsonl and text: the file's encoding")
    query: str | None = setting(None, doc="sql: one SELECT; several statements are refused")
    table: str | None = setting(None, doc="sql: a table to read whole, in place of 'query'")
    most_rows: int = setting(
        500_000_000, doc="sql: rows after which a result is refused: a query may give rows without end", minimum=1
    )
    side: int | None = setting(
        None, doc="images: height and width in pixels to bring every picture to", minimum=4, maximum=4096
    )
    channels: int = setting(1, doc="images: 1 is grey, 3 is colour", minimum=1, maximum=3)
    rate_hz: int | None = setting(
        None, doc="wav: the sample rate that every file must have", minimum=1000, maximum=192_000
    )
    seconds: float = setting(1.0, doc="wav: length that clips are cut or padded to", minimum=0.01, maximum=60)
    group_pattern: str | None = setting(
        None, doc="images and wav: regular expression whose first group, found in the file's path, is the group"
    )
    deb: str | None = setting(None, doc="wav and text: Debian package to fetch 'source' out of, as path inside it")
    sha256: str | None = setting(None, doc="digest that the fetched content must have, lower-case hex")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table: what it holds, what it is for, and what its values may be."""

    type: Literal["number", "integer", "category", "boolean", "text", "time"] = setting(
        "number", doc="what a cell holds"
    )
    role: Role = setting("feature", doc="what the column is for")
    unit: str = setting("", doc="unit of the values after 'factor', e.g. kg")
    factor: float = setting(1.0, doc="multiplies every value: the step from the source's unit to 'unit'")
    minimum: float | None = setting(None, doc="least allowed value, after 'factor'")
    maximum: float | None = setting(None, doc="greatest allowed value, after 'factor'")
    values: tuple[str, ...] = setting((), doc="allowed values of a category; none: every value of the training part")
    missing: bool = setting(True, doc="whether cells may be empty")
    unique: bool = setting(False, doc="whether no value may come twice")
    sensitive: bool = setting(False, doc="an attribute that representation and fairness are reported for")
    quasi_identifier: bool = setting(False, doc="one of the columns that together may single out a person")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSettings:
    """How labels are looked over."""

    review: str | None = setting(
        None, doc="CSV that a person edits: suspected labels are written there, decisions are read from it"
    )
    find_issues: bool = setting(False, doc="look for labels that the features speak against (needs cleanlab)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSettings:
    """Which samples are trained on, which stop the training, and which judge."""

    by: Literal["given", "content", "random", "stratified", "group", "time"] | None = setting(
        None,
        doc="'given': as the set's manifest says; 'content': by the samples' digests; 'group': no group in two parts; "
        "'time': the last ones judge. None: 'given' where there is one, 'group' where a column or pattern names "
        "groups, 'time' for text, else 'content'",
    )
    validation_ratio: float = setting(0.0, doc="part that early stopping looks at", minimum=0, maximum=0.5)
    test_ratio: float = setting(0.2, doc="part that is kept for judging", minimum=0.01, maximum=0.9)
    test_groups: tuple[str, ...] = setting((), doc="groups that are kept for judging, in place of 'test_ratio'")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    """What stops a build, and what is only said."""

    duplicates: Literal["refuse", "say", "ignore"] = setting(
        "refuse", doc="samples that stand in two parts, exactly or nearly"
    )
    near: float = setting(
        0.0,
        doc="distance, in parts of the median distance between samples, below which two count as nearly the same; "
        "0 looks for exact ones only",
        minimum=0,
        maximum=1,
    )
    privacy: Literal["ignore", "say", "redact", "refuse"] = setting(
        "say", doc="cells that look like mail addresses, phone numbers, card or account numbers"
    )
    k_anonymity: int = setting(
        1, doc="least number of rows that share their quasi-identifiers; fewer are refused", minimum=1
    )
    least_share: float = setting(
        0.0,
        doc="least share of the training part that each value of a sensitive column must have",
        minimum=0,
        maximum=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanSettings:
    """What is done to feature columns; fitted on the training part alone."""

    missing: Literal["refuse", "drop", "constant", "mean", "median", "knn", "iterative"] = setting(
        "refuse", doc="what becomes of empty cells"
    )
    constant: float = setting(0.0, doc="what 'constant' fills in")
    neighbours: int = setting(5, doc="how many rows 'knn' averages", minimum=1, maximum=100)
    rounds: int = setting(5, doc="how often 'iterative' goes over the columns", minimum=1, maximum=50)
    outliers: Literal["none", "zscore", "iqr", "isolation-forest"] = setting("none", doc="how outliers are found")
    threshold: float = setting(
        3.0,
        doc="zscore: standard deviations; iqr: widths of the middle half; isolation-forest: share in percent",
        minimum=0.01,
    )
    action: Literal["flag", "clip", "drop"] = setting(
        "flag", doc="what becomes of an outlier; a training row may be dropped, a judged one never is"
    )
    scale: Literal["none", "minmax", "standard"] = setting("none", doc="to 0..1, or to mean 0 and deviation 1")
    sample_rows: int = setting(
        100_000, doc="rows that quantiles, neighbours and regressions are fitted on", minimum=100, maximum=10_000_000
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSettings:
    """Time series: how windows are cut out of a recording (a group), and what is made of them."""

    length: int = setting(doc="rows of a window", minimum=2, maximum=100_000)
    step: int = setting(doc="rows from one window's start to the next", minimum=1, maximum=100_000)
    statistics: tuple[Literal["mean", "std", "min", "max", "median", "rms", "range", "slope"], ...] = setting(
        (), doc="figures of each channel in place of its rows; none keeps the rows"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioSettings:
    """The spectrogram that a clip becomes."""

    features: Literal["log-mel", "waveform"] = setting("log-mel", doc="what the model takes")
    mels: int = setting(40, doc="mel bands", minimum=4, maximum=256)
    frame_ms: float = setting(40.0, doc="length of a frame", minimum=1, maximum=1000)
    hop_ms: float = setting(20.0, doc="from one frame to the next", minimum=1, maximum=1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSettings:
    """How text, or a series of numbers, becomes tokens."""

    tokens: Literal["byte", "character", "subword", "bins"] = setting(
        "character", doc="'subword': byte pairs learnt from the training part; 'bins': a series' values by quantile"
    )
    vocabulary: int = setting(
        512, doc="subword: number of tokens, above 256; bins: number of bins", minimum=2, maximum=65_536
    )
    context: int = setting(64, doc="tokens that the model looks back on", minimum=2, maximum=4096)


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentSettings:
    """What training draws anew for every batch; 0 leaves it out. Judged and calibration samples are never touched."""

    shift_ratio: float = setting(0.0, doc="images: greatest shift, in parts of the side", minimum=0, maximum=0.5)
    rotate_degrees: float = setting(0.0, doc="images: greatest turn", minimum=0, maximum=180)
    scale_ratio: float = setting(0.0, doc="images: greatest change of size", minimum=0, maximum=0.5)
    flip: bool = setting(False, doc="images: mirror left and right, every second one")
    time_shift_ratio: float = setting(0.0, doc="audio and series: greatest shift in time", minimum=0, maximum=0.5)
    gain_db: float = setting(0.0, doc="audio waveforms: greatest change of loudness", minimum=0, maximum=40)
    magnitude_ratio: float = setting(0.0, doc="series: greatest change of a channel's size", minimum=0, maximum=0.5)
    mask_ratio: float = setting(
        0.0, doc="spectrograms: greatest part of bands and of frames blanked", minimum=0, maximum=0.5
    )
    noise: float = setting(0.0, doc="everything: standard deviation of added normal noise", minimum=0, maximum=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSettings:
    """The samples that quantization looks at: always of the training part, drawn by seed."""

    samples: int = setting(512, doc="how many", minimum=1, maximum=100_000)
    seeds: int = setting(
        1, doc="draws over which the spread of quality is reported; 1 reports none", minimum=1, maximum=20
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """``[data]``: a shipped set by name, or a source with its origin and licence, and what is done to it."""

    set: str | None = setting(None, doc="name of a shipped set; 'mnist-digits' if nothing is named")
    source: str | None = setting(
        None, doc="file or folder, from the project's folder; for sql a SQLAlchemy URL without a password in it"
    )
    kind: Kind | None = setting(None, doc="what the source is; None: by its name's ending")
    origin: str | None = setting(None, doc="where 'source' is from")
    licence: str | None = setting(None, doc="the licence of 'source'")
    synthetic: bool = setting(False, doc="drawn from a model or a formula: carried along for ever after")
    collect: CollectSettings = setting(CollectSettings(), doc="how the source is read")
    columns: Mapping[str, Column] = setting({}, doc="tables: what each column holds; others are ignored")
    features: Mapping[str, str] = setting(
        {}, doc='tables: further feature columns by expression, e.g. bmi = "weight / height ** 2"'
    )
    label: LabelSettings = setting(LabelSettings(), doc="how labels are looked over")
    split: SplitSettings = setting(SplitSettings(), doc="training, validation and test part")
    check: CheckSettings = setting(CheckSettings(), doc="what stops a build")
    clean: CleanSettings = setting(CleanSettings(), doc="missing values, outliers, scale")
    window: WindowSettings | None = setting(None, doc="tables that are time series: windows")
    audio: AudioSettings = setting(AudioSettings(), doc="wav: what the model takes")
    text: TextSettings = setting(TextSettings(), doc="text and series of tokens")
    augment: AugmentSettings = setting(AugmentSettings(), doc="what training varies")
    calibration: CalibrationSettings = setting(CalibrationSettings(), doc="what quantization looks at")
