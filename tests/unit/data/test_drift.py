"""Two sets side by side: what has moved is found, what has not is left alone, and no scale hides a shift."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from edgegen.core.errors import UsageError
from edgegen.data.dataset import DataSet, Form, Part
from edgegen.data.drift import Drift, FeatureDrift, adjusted, drift, psi
from edgegen.data.drift_features import MOST_SAMPLES
from support.datasets import digits_dataset, image_form, token_form, vector_form

Array = np.ndarray[Any, np.dtype[Any]]


def _set(form: Form, x: Array, **part: Any) -> DataSet:
    """A third of the samples is the test part."""
    cut = 2 * len(x) // 3

    def piece(start: int, end: int) -> Part:
        kept = {key: value[start:end] for key, value in part.items() if key != "attributes"}
        attributes = {key: value[start:end] for key, value in part.get("attributes", {}).items()}
        return Part(x=x[start:end], attributes=attributes, **kept)

    return DataSet(form=form, train=piece(0, cut), validation=piece(0, 0), test=piece(cut, len(x)))


def _vectors(rows: int = 3000, *, seed: int, shift: float = 0.0, spread: float = 1.0) -> DataSet:
    """Six columns, of which the first may be moved and widened."""
    x = np.random.default_rng(seed).normal(0, 1, (rows, 6)).astype(np.float32)
    x[:, 0] = x[:, 0] * spread + shift
    return _set(vector_form(classes=0), x)


def _drifted(found: Drift) -> set[str]:
    return {feature.name for feature in found.features if feature.drifted}


def _named(found: Drift, name: str) -> FeatureDrift:
    return next(feature for feature in found.features if feature.name == name)


@pytest.mark.parametrize("seed", range(5))
def test_two_draws_of_one_source_have_not_drifted(seed: int) -> None:
    found = drift(_vectors(seed=2 * seed), _vectors(seed=2 * seed + 1))
    assert not found.drifted
    assert all(feature.psi < 0.05 for feature in found.features)


@pytest.mark.parametrize(("shift", "spread"), [(0.6, 1.0), (0.0, 2.0), (-0.6, 1.0)])
def test_moved_or_wider_feature_is_found_alone(shift: float, spread: float) -> None:
    found = drift(_vectors(seed=1), _vectors(seed=2, shift=shift, spread=spread))
    assert _drifted(found) == {"f0"}
    assert found.drifted


def test_wasserstein_is_in_the_features_unit() -> None:
    found = drift(_vectors(seed=1), _vectors(seed=1, shift=3.0))
    assert _named(found, "f0").wasserstein == pytest.approx(3.0, abs=1e-5)


def test_small_but_certain_difference_is_no_drift() -> None:
    found = drift(_vectors(9000, seed=1), _vectors(9000, seed=2, shift=0.1))
    assert _named(found, "f0").p_adjusted < 0.01
    assert not found.drifted


def _scaled(dataset: DataSet) -> DataSet:
    """Every column brought to mean 0 and deviation 1 by the set's own figures, as a contract says."""
    x = dataset.train.x
    shift, factor = x.mean(0), 1 / x.std(0)
    columns = {f"f{place}": [float(shift[place]), float(factor[place])] for place in range(x.shape[1])}
    form = dataset.form
    scaled = Form(
        **{name: getattr(form, name) for name in form.__dataclass_fields__ if name != "preprocessing"},
        preprocessing={"input": {}, "steps": [{"do": "scale", "columns": columns}, {"do": "select", "columns": []}]},
    )
    parts = {name: Part(x=(getattr(dataset, name).x - shift) * factor) for name in ("train", "validation", "test")}
    return DataSet(form=scaled, **parts)


def test_own_scale_of_each_set_hides_no_shift() -> None:
    found = drift(_scaled(_vectors(seed=1)), _scaled(_vectors(seed=2, shift=2.0)))
    assert _drifted(found) == {"f0"}
    assert _named(found, "f0").wasserstein == pytest.approx(2.0, abs=0.1)
    assert found.notes == ()


def test_labels_attributes_and_one_hot_columns_are_compared_by_value() -> None:
    steps = [{"do": "one-hot", "column": "site", "values": ["n", "s"], "unknown": "zeros"}]

    def make(seed: int, share: float) -> DataSet:
        random = np.random.default_rng(seed)
        south = random.random(2000) < share
        x = np.stack([~south, south], axis=1).astype(np.float32)
        form = vector_form(features=2, classes=2)
        named = Form(
            **{
                name: getattr(form, name)
                for name in form.__dataclass_fields__
                if name not in ("features", "preprocessing")
            },
            features=("site=n", "site=s"),
            preprocessing={"input": {}, "steps": steps},
        )
        y = (random.random(2000) < share).astype(np.int64)
        return _set(named, x, y=y, attributes={"sex": np.where(random.random(2000) < 0.5, "f", "m")})

    found = drift(make(1, 0.3), make(2, 0.6))
    assert {feature.name: feature.kind for feature in found.features} == dict.fromkeys(
        ("site", "label", "attribute sex"), "category"
    )
    assert _drifted(found) == {"site", "label"}


def test_value_that_is_new_counts() -> None:
    before, after = np.zeros((500, 1), np.float32), np.zeros((500, 1), np.float32)
    after[:200] = 7
    form = vector_form(features=1, classes=0)
    assert not drift(_set(form, before), _set(form, before)).drifted
    found = drift(_set(form, before), _set(form, after))
    assert found.drifted
    assert found.features[0].psi > 1


def test_darker_pictures_are_found() -> None:
    digits = digits_dataset(1200, 300)
    dark = DataSet(
        form=digits.form,
        **{name: Part(x=getattr(digits, name).x * np.float32(0.6)) for name in ("train", "validation", "test")},
    )
    bare = DataSet(
        form=image_form(), **{name: Part(x=getattr(digits, name).x) for name in ("train", "validation", "test")}
    )
    found = drift(bare, dark)
    assert {"brightness", "contrast", "edges"} <= _drifted(found)
    assert not {"centre down", "centre across"} & _drifted(found)


def test_tokens_of_another_distribution_are_found() -> None:
    random = np.random.default_rng(1)
    sets = [
        _set(token_form(), random.choice(4, (3000, 9), p=p).astype(np.uint8))
        for p in ([0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4])
    ]
    assert not drift(*sets[:2]).drifted
    assert drift(sets[0], sets[2]).drifted


def test_series_are_compared_channel_by_channel() -> None:
    random = np.random.default_rng(1)
    form = vector_form(features=2, classes=0, kind="series")
    form = Form(**{**{n: getattr(form, n) for n in form.__dataclass_fields__}, "shape": (2, 50)})
    before, after = (random.normal(0, 1, (600, 2, 50)).astype(np.float32) for _ in range(2))
    after[:, 1] *= 1.5
    assert _drifted(drift(_set(form, before), _set(form, after))) == {"f1 mean", "f1 deviation"}


def test_large_sets_are_sampled_and_it_is_said() -> None:
    found = drift(_vectors(30_000, seed=1), _vectors(200, seed=2))
    assert (found.reference_samples, found.present_samples) == (MOST_SAMPLES, 200)
    assert "10,000 of 30,000" in found.notes[0]


def test_sets_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(UsageError, match="different kinds"):
        drift(_vectors(seed=1), digits_dataset(64, 32))
    other = _set(vector_form(features=5, classes=0), np.zeros((60, 5), np.float32))
    with pytest.raises(UsageError, match="different features") as caught:
        drift(_vectors(seed=1), other)
    assert "f5" in str(caught.value.got)


def test_psi_is_the_sum_it_says() -> None:
    p, q = np.array([40.0, 60.0]), np.array([70.0, 30.0])
    a, b = (p + 0.5) / 101, (q + 0.5) / 101
    assert psi(p, q) == pytest.approx(sum((b - a) * np.log(b / a)))
    assert psi(p, p) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_correction_is_that_of_benjamini_and_hochberg(values: list[float]) -> None:
    assert adjusted(np.array(values)) == pytest.approx(false_discovery_control(values))
