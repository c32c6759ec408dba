"""Putting a run's files in place, so that the warehouse then holds each input's rows exactly once.

What an earlier run, whole or killed half way, has left of the same inputs is replaced. Files are put in place under names that
nobody has had before; then the next version of the manifest takes them in and takes out what they replace, at once. So a commit
that is itself killed has changed nothing that a reader sees, and running the same command again mends it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from warehouses.files import delete, files_below, open_file, remove_empty
from warehouses.folder import index, readers
from warehouses.folder.claims import check_claim
from warehouses.folder.in_place import CommitError, put_in_place, stands
from warehouses.folder.locks import alone
from warehouses.folder.manifest import Manifest, publish
from warehouses.folder.manifest_rows import rows_of
from warehouses.folder.overlaps import Overlaps
from warehouses.folder.parquet_files import PART_ROWS, TEMPORARY, described, read_rows, write_rows
from warehouses.folder.unit_inputs import write_inputs
from warehouses.units import Unit, WrittenFile

_TRIES = 100


def commit(warehouse: str, run_id: str, units: Iterable[Unit], written: Iterable[WrittenFile], *, fenced: bool = False) -> int:
    """Put the files of a run in place and take out what they replace; gives the number of rows put in place.

    Running it again with the same arguments, as a runner does that retries, changes nothing. ``fenced``: the run has claimed
    its inputs (``warehouses.folder.claims``), and must still have them. In a local folder one commit waits for another; in a
    bucket whoever comes second tries again. Raises ``CommitError`` and ``StaleRun``.
    """
    by_key = {unit.key: unit for unit in units}
    given = sorted(written, key=lambda file: file.final)
    rows = sum(file.rows for file in given)
    with alone(warehouse):
        current = readers.begun(warehouse)
        if any(current.has(_path(warehouse, file)) for file in given):
            # The runner tries again what was done. A later run may have replaced it, or have put it together with others.
            delete(file.temporary for file in given)
            return rows
        if fenced:
            check_claim(warehouse, run_id)
        # Those of a stream, whose bundles are small and replace nothing, are joined to larger ones.
        parts = [[file] for file in given] if by_key else list(_parts(given))
        _check_whole(warehouse, run_id, parts)
        files = [_join(part) for part in parts]
        for key, unit in by_key.items():
            if len(unit.inputs) > 1 or unit.letters:
                write_inputs(warehouse, run_id, unit, key)
        note = put_in_place(warehouse, run_id, files)
        # Before the manifest: what waits still is not in place, and is not put there twice.
        delete(file.temporary for file in given)
        taken_in = _take_in(warehouse, run_id, by_key, files, fenced)
        delete([note])
        remove_empty(f"{warehouse}/{TEMPORARY}/{run_id}")
    if taken_in is not None and index.not_indexed(taken_in).num_rows >= index.AT_LEAST:
        index.keep(warehouse, index.AT_LEAST)
    return rows


def _check_whole(warehouse: str, run_id: str, parts: list[list[WrittenFile]]) -> None:
    """Refuse to begin where a file is not as it was written. Raises ``CommitError``."""
    waiting = {file.uri: file.size_bytes for file in files_below(f"{warehouse}/{TEMPORARY}/{run_id}")}
    for file in (file for part in parts for file in part if part[0].temporary in waiting or not stands(part[0])):
        found = waiting.get(file.temporary)
        told = f"so that run {run_id} cannot be put in place; run the same command again"
        # A runner that tries a commit again may find its files in place already.
        if found is None and not stands(file):
            raise CommitError(f"{file.temporary} is gone, {told}")
        if found is not None and found != file.size_bytes:
            raise CommitError(f"{file.temporary} has {found:,} bytes of {file.size_bytes:,}, {told}")


def _path(warehouse: str, file: WrittenFile) -> str:
    return file.final.removeprefix(f"{warehouse}/")


def _parts(files: Iterable[WrittenFile]) -> Iterator[list[WrittenFile]]:
    """Files that become one. By name, so that files that go together are joined in the same order."""
    part: list[WrittenFile] = []
    for file in files:
        if part and (_folder(file) != _folder(part[0]) or sum(other.rows for other in part) + file.rows > PART_ROWS):
            yield part
            part = []
        part.append(file)
    if part:
        yield part


def _folder(file: WrittenFile) -> str:
    return file.final.rpartition("/")[0]


def _join(files: list[WrittenFile]) -> WrittenFile:
    first = files[0]
    if len(files) == 1:
        return first
    if stands(first):
        with open_file(first.final) as opened:
            parquet = pq.ParquetFile(opened)
            return described(first, parquet.metadata, parquet.schema_arrow)
    rows = pa.concat_tables([read_rows(file.temporary) for file in files])
    return write_rows(replace(first, temporary=first.temporary + ".joined"), rows)


def _take_in(warehouse: str, run_id: str, by_key: Mapping[str, Unit], files: list[WrittenFile], fenced: bool) -> Manifest | None:
    """Write the next version of the manifest, which has the files and not what they replace; None where that is so already."""
    for _ in range(_TRIES):
        current = readers.begun(warehouse)
        # After that version was read: who clears a dead run away makes the next one, so that ours is refused then.
        if fenced:
            check_claim(warehouse, run_id)
        new = [file for file in files if not current.has(_path(warehouse, file))]
        keep = {_path(warehouse, file) for file in files}
        own = [path for path in current.of_units(by_key).column("path").to_pylist() if path not in keep]
        overlaps = Overlaps(warehouse, run_id, by_key, current)
        added = [
            rows_of(warehouse, new, by_key, [run_id]),
            rows_of(warehouse, overlaps.rewritten, overlaps.left, current.runs_of(overlaps.replaced)),
        ]
        if not (new or own or overlaps.replaced):
            return None
        note = put_in_place(warehouse, run_id, overlaps.rewritten)
        following = current.next(
            without=[*own, *overlaps.replaced], added=pa.concat_tables(added), deleted=readers.collect(warehouse, current)
        )
        if publish(warehouse, following, f"{warehouse}/{TEMPORARY}/{run_id}/{uuid.uuid4().hex}.manifest"):
            overlaps.keep_inputs()
            readers.collect(warehouse, following)
            delete([note])
            return following
        delete([*(file.final for file in overlaps.rewritten), note])
    raise CommitError(f"{warehouse} is committed to without end by others, run {run_id} does not come in; run it again later")
