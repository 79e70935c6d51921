"""Working projects to begin from: a folder each under ``docs/templates``, a project file and its page."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgegen.core.errors import StorageError, UsageError
from edgegen.core.lazy import nearest
from edgegen.core.project import PROJECT_FILE

_TEMPLATES = Path(__file__).resolve().parent.parent / "docs" / "templates"


def template_names() -> list[str]:
    """Names of the templates, sorted."""
    return sorted(path.parent.name for path in _TEMPLATES.glob(f"*/{PROJECT_FILE}"))


def template_summary(name: str) -> str:
    """What the heading of a template's page says behind its name."""
    heading = (_TEMPLATES / name / "README.md").read_text(encoding="utf-8").splitlines()[0]
    return heading.removeprefix(f"# {name}: ")


def begin(folder: Path, template: str) -> list[Path]:
    """Copies a template's files into ``folder``, made if need be; returns what was written.

    Raises:
        UsageError: no template of that name, or a file that is there already: nothing is ever overwritten.
        StorageError: the folder cannot be written.
    """
    known = template_names()
    if template not in known:
        raise UsageError(
            f"unknown template {template!r}",
            where="--template",
            got=template,
            expected=f"one of {', '.join(known)}{nearest(template, known)}",
        )
    files = sorted(path for path in (_TEMPLATES / template).iterdir() if path.is_file())
    taken = [path.name for path in files if (folder / path.name).exists()]
    if taken:
        raise UsageError(
            "the folder holds such a project already",
            where=str(folder),
            got=", ".join(taken),
            next_step="name an empty folder: edgegen init DIR --template NAME",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in files:
            shutil.copyfile(path, folder / path.name)
    except OSError as error:
        raise StorageError("cannot write", where=str(folder), got=error, next_step="name another folder") from error
    return [folder / path.name for path in files]
