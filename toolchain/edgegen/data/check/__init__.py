"""What is to be said of a split set: leaks, privacy, representation, and a profile; what the project says to refuse is.

``findings`` and ``profile`` hold the records and need no numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgegen.core.records import write_record
from edgegen.data.check.findings import Checked
from edgegen.data.collected import Collected, Files
from edgegen.data.settings import DataSettings


def check(
    files: Files, collected: Collected, settings: DataSettings, split_record: Mapping[str, Any]
) -> Mapping[str, Any]:
    """``findings.Checked`` as a plain record.

    Args:
        files: the carrier's files and ``split.npy``.
        split_record: the record that splitting gave.

    Raises:
        UsageError: something that ``[data.check]`` says to refuse; the first offenders are named, never their values.
    """
    from edgegen.data.check.anonymity import check_anonymity
    from edgegen.data.check.duplicates import find_leaks
    from edgegen.data.check.measure import measure
    from edgegen.data.check.privacy import check_privacy
    from edgegen.data.check.representation import check_representation
    from edgegen.data.check.samples import Checking

    checking = Checking(files=files, collected=collected, settings=settings, by=str(split_record["by"]))
    leaks = find_leaks(checking)
    private, telling = check_privacy(checking)
    anonymity = check_anonymity(checking)
    representation, class_evenness = check_representation(checking)
    profile = measure(checking, hidden={cells.column for cells in private})
    found = Checked(
        leaks=leaks,
        private=private,
        telling_names=telling,
        anonymity=anonymity,
        representation=representation,
        class_evenness=class_evenness,
        profile=profile,
        notes=tuple(checking.notes),
    )
    return write_record(found)
