"""Where the data that ships with edgegen lies: target profiles, runtimes, calibration sets."""

from __future__ import annotations

from pathlib import Path

from edgegen.core.errors import UsageError

_PACKAGE = Path(__file__).resolve().parent.parent
# In the wheel the data stands inside the package; in a checkout it stands at the repository's root.
_ROOTS = (_PACKAGE / "_share", _PACKAGE.parent.parent)


def share_dir(name: str) -> Path:
    """The folder ``name`` (``targets``, ``runtimes``, ``calibration_data``) of the wheel or the checkout.

    Raises:
        UsageError: the installation lacks it.
    """
    for root in _ROOTS:
        folder = root / name
        if folder.is_dir():
            return folder
    raise UsageError(
        f"edgegen's own data folder {name!r} is missing",
        where=str(_PACKAGE),
        next_step="reinstall edgegen (pip install --force-reinstall edgegen)",
    )
