"""The objects of Cloud Storage as files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

# Not gcsfs.GCSFileSystem: that one asks an API of its own, over gRPC, which kind of bucket it has before it.
from fsspec.utils import glob_translate
from gcsfs.core import GCSFileSystem

_UNCHANGED = datetime(1970, 1, 1, tzinfo=UTC)
"""When a file was written that never is again: DuckDB keeps what it has read of it."""


class BucketFiles(GCSFileSystem):
    """gcsfs as DuckDB needs it, which opens files without a word and does not close them."""

    def open(self, path: str, mode: str = "rb", **settings: Any) -> Any:
        """See fsspec. Reads a block at a time and nothing ahead: readers ahead would outlive a file that nobody closes."""
        return super().open(path, mode, **{"cache_type": "bytes", **settings})


class ListedFiles(BucketFiles):
    """Files of which we know what there is to know: DuckDB asks six times what a file is before it reads it."""

    cachable = False  # of fsspec: the next one is to list anew

    def __init__(self, size_bytes: Mapping[str, int], **settings: Any) -> None:
        super().__init__(use_listings_cache=False, **settings)
        names = ((self._strip_protocol(uri), size) for uri, size in size_bytes.items())
        self._files = {name: {"name": name, "size": size, "type": "file", "mtime": _UNCHANGED} for name, size in names}

    # What fsspec has a file system answer; the names without a dash, which everybody asks, go through them.

    async def _info(self, path: str, generation: str | None = None, **settings: Any) -> dict[str, Any]:
        found = self._files.get(self._strip_protocol(path))
        return found if found is not None else dict(await super()._info(path, generation, **settings))

    async def _exists(self, path: str, **settings: Any) -> bool:
        return self._strip_protocol(path) in self._files or bool(await super()._exists(path, **settings))

    async def _isfile(self, path: str) -> bool:
        return self._strip_protocol(path) in self._files or bool(await super()._isfile(path))

    async def _glob(self, path: str, maxdepth: int | None = None, **settings: Any) -> list[str]:
        if (name := self._strip_protocol(path)) in self._files:
            return [name]
        pattern = re.compile(glob_translate(self._strip_protocol(path)))
        return sorted(name for name in self._files if pattern.match(name))
