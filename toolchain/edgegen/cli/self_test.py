"""What ``verify`` and ``pull`` share: the golden vectors of a bundle, run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgegen.core.ports import Progress
    from edgegen.pipeline.self_test import SelfTested


def run_self_test(folder: Path, device: str | None, shown: Progress) -> SelfTested:
    """Runs them on this machine or on ``device``; a project in reach may have a profile of its own."""
    from edgegen.core.cache import Cache
    from edgegen.core.project import project_folder
    from edgegen.pipeline.self_test import self_test

    cache = Cache()
    with cache.in_use():
        return self_test(folder, device=device, project=project_folder(), cache=cache, progress=shown)
