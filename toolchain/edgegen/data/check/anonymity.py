"""How many rows share what may single out a person."""

from __future__ import annotations

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.data.carrier import column_digests
from edgegen.data.check.findings import Anonymity
from edgegen.data.check.samples import Checking
from edgegen.data.clean.columns import UNUSED


def check_anonymity(checking: Checking) -> Anonymity | None:
    """k-anonymity over all rows that a part takes; a missing cell counts as a value of its own.

    Raises:
        UsageError: fewer rows share their quasi-identifiers than ``k_anonymity`` asks for, or none are declared.
            Values are not shown: they are what singles a person out.
    """
    asked = checking.settings.check.k_anonymity
    columns = [
        name
        for name, column in checking.settings.columns.items()
        if column.quasi_identifier and column.role != "ignore"
    ]
    if checking.collected.carrier != "rows" or not columns:
        if asked > 1:
            raise UsageError(
                "no column is declared as a quasi-identifier",
                where="[data.check] k_anonymity",
                got=asked,
                next_step="set quasi_identifier = true where columns together may single out a person",
            )
        return None
    used = np.flatnonzero(np.asarray(checking.parts) != UNUSED)
    digests = column_digests(checking.files, columns)[used]
    _, codes, counts = np.unique(digests, return_inverse=True, return_counts=True)
    below = counts < asked
    lonely = np.flatnonzero(below[codes])
    found = Anonymity(
        columns=tuple(columns),
        asked=asked,
        smallest=int(counts.min()),
        combinations=len(counts),
        combinations_below=int(below.sum()),
        rows_below=len(lonely),
        first_row_below=int(used[lonely[0]]) + 1 if len(lonely) else None,
    )
    if found.rows_below:
        raise UsageError(
            f"too few rows share their values of {', '.join(columns)}",
            where="[data.check] k_anonymity",
            got=f"{found.rows_below} rows in {found.combinations_below} of {found.combinations} combinations, "
            f"the first is row {found.first_row_below}; the rarest combination has {found.smallest} rows",
            expected=f"at least {asked} rows for every combination",
            next_step="make values coarser (years to decades), leave such rows or a column out, or lower k_anonymity",
        )
    return found
