"""A bundle that held, as a device can run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgegen.artifacts.golden import read_golden
from edgegen.artifacts.layout import GOLDEN_ARRAYS, BundleManifest
from edgegen.artifacts.verify import core_files, verify
from edgegen.bench.golden_check import golden_inputs
from edgegen.bench.read_result import bundle_of
from edgegen.core.errors import UsageError
from edgegen.core.models import C_LIBRARY, COMPILED
from edgegen.core.ports import Tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A bundle that held, as a device can run it."""

    folder: Path
    digest: str
    manifest: BundleManifest
    files: Mapping[str, Path]
    sample: Tensors  # the first golden sample

    @property
    def model(self) -> Path:
        """The one file that a device is given: the model file, of C the library that holds all of its sources."""
        return self.files[C_LIBRARY if self.manifest.format in COMPILED else self.manifest.model]


def open_bundle(path: Path) -> Opened:
    """The bundle at ``path``, every byte of it checked.

    Raises:
        UsageError: there is none.
        IntegrityError: the first thing that does not hold.
    """
    folder = bundle_of(path)
    if folder is None:
        raise UsageError(
            "there is no bundle",
            where=str(path),
            expected="a build's folder with bundle/ in it, or a bundle",
            next_step="edgegen build --target NAME",
        )
    verified = verify(folder)
    files = core_files(folder)
    inputs = golden_inputs(read_golden(files[GOLDEN_ARRAYS]))
    return Opened(
        folder=folder,
        digest=verified.digest,
        manifest=verified.manifest,
        files=files,
        sample={name: array[:1] for name, array in inputs.items()},
    )
