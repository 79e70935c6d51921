"""Gives python-tuf the files of a place's releases."""

from __future__ import annotations

from collections.abc import Iterator

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface

from edgegen.artifacts.release_artifact import ReleasesArtifact
from edgegen.artifacts.release_records import METADATA
from edgegen.core.errors import IntegrityError


class ArtifactFetcher(FetcherInterface):
    """Metadata by their name, records by the hash that their name begins with."""

    def __init__(self, artifact: ReleasesArtifact) -> None:
        self._artifact = artifact

    def _fetch(self, url: str) -> Iterator[bytes]:
        folder, _, path = url.partition("/")
        name = path.rpartition("/")[2]
        found = self._artifact.metadata(name) if folder == METADATA else self._artifact.record(name.partition(".")[0])
        if found is None and name.endswith(".root.json"):
            # To python-tuf this is how the chain of roots ends.
            raise DownloadHTTPError(f"{url} is not among the releases", 404)
        if found is None:
            raise IntegrityError("a file is missing among the releases", where=self._artifact.place, expected=url)
        yield found
