"""A manifest made anew of the files that stand in a warehouse's folder, after somebody has changed them by hand."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path

from warehouses.files import delete, is_remote
from warehouses.folder import manifest
from warehouses.folder.adopt import adopted
from warehouses.folder.locks import locked
from warehouses.folder.manifest import Manifest
from warehouses.folder.parquet_files import LOCKS, TEMPORARY


def rebuild(warehouse: str) -> Manifest:
    """Take what is there for the tables' files, whatever the manifest says. Raises ``OSError`` for a file that is none.

    Files that were retired, and are there still, are deleted first: they would come back.
    """
    with contextlib.nullcontext() if is_remote(warehouse) else locked(Path(warehouse, LOCKS, "commit"), wait=True):
        while True:
            found = manifest.versions(warehouse)
            with contextlib.suppress(manifest.ManifestError, FileNotFoundError, IndexError):
                delete(f"{warehouse}/{path}" for path in _retired(manifest.read(warehouse, found[-1])))
            following = adopted(warehouse, version=(found[-1] if found else 0) + 1)
            if manifest.publish(warehouse, following, f"{warehouse}/{TEMPORARY}/{uuid.uuid4().hex}.manifest"):
                return following


def _retired(current: Manifest) -> set[str]:
    return {path for path in current.files.column("path").to_pylist() if not current.is_live(path)}
