"""float32: the reference that every other candidate is compared with."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgegen.compress.context import StepContext
from edgegen.compress.settings import Nothing
from edgegen.export.formats import FORM_FILES


def apply(source: Path, folder: Path, settings: Nothing, context: StepContext) -> None:
    """Copies the form's files as they are."""
    for name in sorted({name for files in FORM_FILES.values() for name in files}):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
