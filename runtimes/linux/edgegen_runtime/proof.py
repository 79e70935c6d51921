"""The golden vectors where numpy is installed; where it is not, the word that they need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgegen_runtime.errors import RuntimeMissingError
from edgegen_runtime.sealed_bundle import Bundle

if TYPE_CHECKING:
    from edgegen_runtime.self_test import SelfTest


def prove(bundle: Bundle) -> SelfTest:
    """Runs ``self_test``. Raises what that raises, and RuntimeMissingError where there is no numpy."""
    try:
        from edgegen_runtime.self_test import self_test
    except ModuleNotFoundError as error:
        raise RuntimeMissingError(f"the golden vectors cannot be run: {error}") from error
    return self_test(bundle)
