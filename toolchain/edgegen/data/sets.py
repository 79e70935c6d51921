"""Image sets, shipped or the user's own, with a digest and split into what is trained on and what is judged on.

Importing this module and taking a digest load no numpy: a rebuild that changes nothing takes the digest only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.digests import sha256_file, sha256_json
from edgegen.core.errors import IntegrityError, UsageError
from edgegen.core.lazy import nearest
from edgegen.core.records import setting, write_record
from edgegen.core.share import share_dir
from edgegen.data.manifest import ArrayForm, Preprocessing, SetManifest, Split, read_manifest
from edgegen.data.npz import read_npz

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

_SHIPPED_LIMIT_BYTES = 64 * 1024**2
_LEAST_SAMPLES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """``[data]`` of a project: a shipped set by name, or a file with its origin and licence."""

    set: str | None = setting(None, doc="name of a shipped set; 'mnist-digits' if nothing is named")
    source: str | None = setting(
        None, doc="an .npz with 'images' and, if known, 'labels'; path from the project's folder"
    )
    origin: str | None = setting(None, doc="where the images of 'source' are from")
    licence: str | None = setting(None, doc="the licence of 'source'")
    test_ratio: float = setting(0.2, doc="part of 'source' that is kept for judging", minimum=0.05, maximum=0.5)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DataSet:
    """A set ready for a model: float32 images (samples, channels, height, width) with values in 0..1."""

    name: str
    digest: str
    manifest: SetManifest
    train_images: Array
    train_labels: Array | None  # (samples,) int64
    test_images: Array
    test_labels: Array | None


def set_names() -> list[str]:
    """Names of the shipped sets, sorted."""
    return sorted(path.parent.name for path in share_dir("calibration_data").glob("*/manifest.toml"))


def set_digest(name: str) -> str:
    """Digest of a shipped set, manifest included, for stage keys; the file is hashed and must be what it should.

    Raises:
        UsageError: there is no set of that name.
        IntegrityError: the file is missing or is not the one that the manifest names.
    """
    return _digest(_verified(name)[0])


def load_set(name: str) -> DataSet:
    """A shipped set, checked against its digest before it is opened.

    Raises:
        UsageError: there is no set of that name.
        IntegrityError: the file is missing or is not the one that the manifest names.
    """
    manifest, path = _verified(name)
    arrays = read_npz(path, limit_bytes=_SHIPPED_LIMIT_BYTES)
    for key, form in manifest.arrays.items():
        if key not in arrays or arrays[key].dtype.name != form.dtype or arrays[key].shape != form.shape:
            raise IntegrityError(f"the array {key!r} is not what the manifest says", where=str(path), expected=form)
    images = _scaled(arrays["images"], manifest.preprocessing, path)
    return _split(manifest, _digest(manifest), images, arrays.get("labels"))


def data_digest(settings: DataSettings, folder: Path) -> str:
    """Digest of what ``[data]`` names, as ``set_digest``; ``folder`` is the project's."""
    if settings.source is None:
        return set_digest(_shipped_name(settings))
    path = _source_path(settings, folder)
    return sha256_json({"sha256": sha256_file(path), "settings": {**write_record(settings), "source": path.name}})


def load_data(settings: DataSettings, folder: Path) -> DataSet:
    """The set that ``[data]`` names; ``folder`` is the project's.

    Raises:
        UsageError: unknown set, or a file that is missing, hostile, without origin or licence, or not images.
        IntegrityError: a shipped file is not the one that its manifest names.
    """
    if settings.source is None:
        return load_set(_shipped_name(settings))
    from edgegen.data.images import order_by_content, read_images

    path = _source_path(settings, folder)
    images, labels, dtype = read_images(path)
    order = order_by_content(images)
    images, labels = images[order], None if labels is None else labels[order]
    test = round(len(images) * settings.test_ratio)
    if len(images) < _LEAST_SAMPLES or test < 1:
        raise UsageError("too few images", where=str(path), got=len(images), expected=f"at least {_LEAST_SAMPLES}")
    manifest = _own_manifest(settings, file=path.name, digest=sha256_file(path), images=images, dtype=dtype, test=test)
    return _split(manifest, data_digest(settings, folder), images, labels)


def _shipped_name(settings: DataSettings) -> str:
    if settings.origin is not None or settings.licence is not None:
        raise UsageError("'origin' and 'licence' belong to 'source'", where="[data]", next_step="name 'source' too")
    return settings.set or "mnist-digits"


def _source_path(settings: DataSettings, folder: Path) -> Path:
    if settings.set is not None:
        raise UsageError("[data] names both 'set' and 'source'", where="[data]", next_step="remove one of them")
    for key in ("origin", "licence"):
        if not (getattr(settings, key) or "").strip():
            raise UsageError(
                f"[data] source needs {key!r}",
                where="[data]",
                expected="one line that is carried into the bundle",
                next_step=f'add {key} = "..."',
            )
    path = folder / str(settings.source)
    if not path.is_file():
        raise UsageError("the data file is missing", where="[data] source", got=settings.source)
    return path


def _verified(name: str) -> tuple[SetManifest, Path]:
    known = set_names()
    if name not in known:
        raise UsageError(
            f"unknown data set {name!r}",
            where="[data] set",
            got=name,
            expected=f"one of {', '.join(known)}{nearest(name, known)}",
            next_step="name a file of your own with [data] source",
        )
    folder = share_dir("calibration_data") / name
    manifest = read_manifest(folder / "manifest.toml")
    path = folder / manifest.file
    found = sha256_file(path) if path.is_file() else "no file"
    if found != manifest.sha256:
        raise IntegrityError(
            "a shipped data set is not the one that its manifest names",
            where=str(path),
            got=found,
            expected=manifest.sha256,
            next_step="reinstall edgegen, or restore the file from version control",
        )
    return manifest, path


def _digest(manifest: SetManifest) -> str:
    return sha256_json(write_record(manifest))


def _scaled(images: Array, contract: Preprocessing, path: Path) -> Array:
    import numpy as np

    scaled = images.reshape(-1, *contract.shape).astype(np.float32)  # (samples, channels, height, width)
    if contract.scale == "divide by 255":
        scaled /= np.float32(255)
    if scaled.min() < contract.minimum or scaled.max() > contract.maximum:
        raise IntegrityError("the images leave the range that the manifest declares", where=str(path))
    return scaled


def _split(manifest: SetManifest, digest: str, images: Array, labels: Array | None) -> DataSet:
    import numpy as np

    first, last = manifest.split.train, manifest.split.train + manifest.split.test
    known = None if labels is None else labels.astype(np.int64)
    return DataSet(
        name=manifest.name,
        digest=digest,
        manifest=manifest,
        train_images=images[:first],
        train_labels=None if known is None else known[:first],
        test_images=images[first:last],
        test_labels=None if known is None else known[first:last],
    )


def _own_manifest(
    settings: DataSettings, *, file: str, digest: str, images: Array, dtype: str, test: int
) -> SetManifest:
    return SetManifest(
        schema_version=1,
        name=Path(file).stem,
        title=f"{len(images)} images of the project's own",
        origin=settings.origin or "",
        licence=settings.licence or "",
        file=file,
        sha256=digest,
        arrays={"images": ArrayForm(dtype=dtype, shape=images.shape)},
        split=Split(
            train=len(images) - test,
            test=test,
            order="samples are sorted by the sha256 of their values; the last ones are test",
        ),
        preprocessing=Preprocessing(
            input_dtype=dtype,
            output_dtype="float32",
            scale="divide by 255" if dtype == "uint8" else "none",
            layout="NCHW",
            shape=images.shape[1:],
            minimum=0.0,
            maximum=1.0,
        ),
    )
