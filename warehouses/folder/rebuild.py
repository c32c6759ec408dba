"""A manifest made anew of the files that stand in a warehouse's folder, after somebody has changed them by hand."""

from __future__ import annotations

import contextlib
import uuid

import pyarrow as pa
import pyarrow.compute as pc

from warehouses.files import delete, files_below
from warehouses.folder import index, manifest, readers
from warehouses.folder.adopt import adopted
from warehouses.folder.locks import alone
from warehouses.folder.manifest import INDEX, Manifest
from warehouses.folder.parquet_files import TEMPORARY
from warehouses.folder.sweep import finals_of


def rebuild(warehouse: str) -> Manifest:
    """Take what is there for the tables' files, whatever the manifest says. Raises ``OSError`` for a file that is none.

    Files that a later run has replaced, and somebody may be reading still, stay retired; those that a commit was about to put in
    place are none of a table's. What the last manifest that can be read tells of a file that is as it was is kept, but for what
    the index has of it: that is made anew, too.
    """
    before = [file.uri for file in files_below(f"{warehouse}/{INDEX}")]
    made = _rebuilt(warehouse)
    with alone(warehouse):
        named = set(readers.begun(warehouse).files.column("path").to_pylist())
        delete(uri for uri in before if uri.removeprefix(f"{warehouse}/") not in named)
    index.complete(warehouse)
    return made


def _rebuilt(warehouse: str) -> Manifest:
    with alone(warehouse):
        while True:
            found = manifest.versions(warehouse)
            last = _readable(warehouse, found)
            last = last.next(without=last.index.column("path").to_pylist(), added=manifest.SCHEMA.empty_table()).unindexed()
            retired = last.files.filter(pc.is_valid(last.files.column("retired_at")))
            known = set(last.files.column("path").to_pylist())
            notes = [file.uri for file in files_below(f"{warehouse}/{TEMPORARY}")]
            begun = {uri.removeprefix(f"{warehouse}/") for uri in finals_of(notes)} - known
            there = adopted(warehouse, (found[-1] if found else 0) + 1, {*retired.column("path").to_pylist(), *begun})
            following = Manifest(there.version, pa.concat_tables([_told_of(there.files, last.live), retired]).combine_chunks())
            if manifest.publish(warehouse, following, f"{warehouse}/{TEMPORARY}/{uuid.uuid4().hex}.manifest"):
                return following


def _readable(warehouse: str, found: list[int]) -> Manifest:
    for version in reversed(found):
        with contextlib.suppress(manifest.ManifestError, FileNotFoundError):
            return manifest.read(warehouse, version)
    return manifest.EMPTY


def _told_of(there: pa.Table, last: pa.Table) -> pa.Table:
    """The rows of files, those of the last manifest where a file has the size that it had."""
    size_bytes = dict(zip(there.column("path").to_pylist(), there.column("bytes").to_pylist(), strict=True))
    before = zip(last.column("path").to_pylist(), last.column("bytes").to_pylist(), strict=True)
    same = last.filter(pa.array([size_bytes.get(path) == size for path, size in before], pa.bool_()))
    new = there.filter(pc.invert(pc.is_in(there.column("path"), pa.array(same.column("path").to_pylist(), pa.string()))))
    return pa.concat_tables([same, new])
