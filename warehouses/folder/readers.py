"""Who reads which version of a warehouse's files, and so which of the retired ones may be deleted.

In a folder of this machine a reader holds a shared lock on the manifest that it reads, which the system lets go of when it
ends, however it ends. What is retired is deleted when nobody holds a version in which it still was. Where nobody can tell, in a
bucket or on a file system without locks, it stays for ``GRACE_SECS``: so long a reader may go on with what it has opened.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from warehouses.files import delete, files_below, is_remote
from warehouses.folder import manifest
from warehouses.folder.adopt import adopted
from warehouses.folder.locks import alone, shared, unheld
from warehouses.folder.manifest import EMPTY, Manifest
from warehouses.folder.parquet_files import TEMPORARY

GRACE_SECS = 3600.0
KEPT_VERSIONS = 3
"""In a bucket, manifests that stay: who has listed the newest may open it a little later."""
_TRIES = 20
_TOO_FAST = "{}/_manifest changes faster than it can be read; try again"


def newest(warehouse: str) -> tuple[Manifest, Callable[[], None]]:
    """The newest version, and what lets go of it: until then none of its files is deleted.

    A folder that was written before there were manifests gets its first, or is taken as it is where we may not write.
    Raises ``ManifestError``.
    """
    for attempt in range(_TRIES):
        found = manifest.versions(warehouse)
        if not found and (taken := _first(warehouse)) is not None:
            return taken, _nothing
        if found and (opened := _open(warehouse, found[-1])) is not None:
            return opened
        time.sleep(0.01 * attempt)
    raise manifest.ManifestError(_TOO_FAST.format(warehouse))


def _open(warehouse: str, version: int) -> tuple[Manifest, Callable[[], None]] | None:
    """A version, held; None where it has gone meanwhile."""
    if is_remote(warehouse):
        with contextlib.suppress(FileNotFoundError):
            return manifest.read(warehouse, version), _nothing
        return None
    if (held := shared(manifest.uri_of(warehouse, version))) is None:
        return None
    try:
        return manifest.read(warehouse, version), held.close
    except BaseException:
        held.close()
        raise


def _first(warehouse: str) -> Manifest | None:
    """What a folder without a manifest holds; None where it has one now: it was made here, or whoever writes there makes it."""
    if not any(file.uri.endswith(".parquet") and f"{warehouse}/_" not in file.uri for file in files_below(warehouse)):
        return EMPTY
    try:
        with alone(warehouse, wait=False) as free:
            if free:
                begun(warehouse)
    except manifest.ManifestError:
        raise
    except OSError:
        return adopted(warehouse)
    return None


def begun(warehouse: str) -> Manifest:
    """The newest version for who commits, and holds the commit's lock; the first one is made here.

    Before any file is put in place: what stands in a folder without a manifest belongs to its tables.
    """
    for _ in range(_TRIES):
        if found := manifest.versions(warehouse):
            with contextlib.suppress(FileNotFoundError):
                return manifest.read(warehouse, found[-1])
        else:
            first = adopted(warehouse, version=1)
            manifest.publish(warehouse, first, f"{warehouse}/{TEMPORARY}/{uuid.uuid4().hex}.manifest")
    raise manifest.ManifestError(_TOO_FAST.format(warehouse))


def _nothing() -> None:
    """There is nothing to let go of."""


def collect(warehouse: str, current: Manifest) -> list[str]:
    """Delete what nobody can be reading: versions before ``current``, and retired files of it; gives their paths.

    What cannot be deleted now stays retired. Only who commits calls it, holding the commit's lock.
    """
    old = [version for version in manifest.versions(warehouse) if version < current.version]
    retired = current.files.filter(pc.is_valid(current.files.column("retired_at")))
    if is_remote(warehouse):
        delete(manifest.uri_of(warehouse, version) for version in old[:-KEPT_VERSIONS])
        gone = _before(retired, GRACE_SECS)
    else:
        read = {version: _is_read(manifest.uri_of(warehouse, version)) for version in old}
        if None in read.values():
            gone = _before(retired, GRACE_SECS)
        else:
            held = [version for version, is_read in read.items() if is_read]
            # A version that is read has the files that were retired after it.
            gone = retired.filter(pc.less_equal(retired.column("retired_in"), min(held))) if held else retired
    return _deleted(warehouse, gone.column("path").to_pylist())


def _deleted(warehouse: str, paths: list[str]) -> list[str]:
    """Delete files; gives those that are gone then. One that cannot be deleted now does not keep anybody from committing."""
    if is_remote(warehouse):
        try:
            delete(f"{warehouse}/{path}" for path in paths)
        except OSError:
            return []
        return paths
    done = []
    for path in paths:
        with contextlib.suppress(OSError):
            delete([f"{warehouse}/{path}"])
            done.append(path)
    return done


def _before(retired: pa.Table, secs: float) -> pa.Table:
    then = pa.scalar(datetime.now(UTC) - timedelta(seconds=secs), pa.timestamp("us", tz="UTC"))
    return retired.filter(pc.less(retired.column("retired_at"), then))


def _is_read(uri: str) -> bool | None:
    """Whether somebody reads a version; None where nobody can tell. One that nobody reads is deleted.

    Under its lock, so that who has just come sees that it has gone.
    """
    with unheld(uri) as free:
        if free:
            with contextlib.suppress(OSError):
                os.remove(uri)
        return None if free is None else not free
