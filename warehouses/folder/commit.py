"""Putting a run's files in place, so that the warehouse then holds each input's rows exactly once.

What an earlier run, whole or killed half way, has left of the same inputs is replaced. The order is such that a
commit that is itself killed loses nothing, and that running the same command again mends it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from warehouses.files import create_file, delete, exists, files_below, is_remote, open_file, rename, write_file
from warehouses.folder.locks import locked
from warehouses.folder.parquet_files import INPUTS, LOCKS, PART_ROWS, TEMPORARY, open_parquet
from warehouses.units import Unit, WrittenFile, printable, unit_key


def commit(warehouse: str, run_id: str, units: Iterable[Unit], written: Iterable[WrittenFile]) -> int:
    """Put the files of a run in place and take away what they replace; gives the number of rows put in place.

    Running it again with the same arguments, as a runner does that retries, changes nothing. In a local folder one commit
    waits for another; a bucket has no lock, there nothing is lost, but two at once on the same inputs may both leave rows.
    """
    if not (by_key := {unit.key: unit for unit in units}):
        return _only_add(written)
    with _alone(warehouse):
        return _replace_units(warehouse, run_id, by_key, written)


def _alone(warehouse: str) -> contextlib.AbstractContextManager[object]:
    if is_remote(warehouse):
        return contextlib.nullcontext()
    return locked(Path(warehouse, LOCKS, "commit"), wait=True)


def _replace_units(warehouse: str, run_id: str, by_key: dict[str, Unit], written: Iterable[WrittenFile]) -> int:
    files = {file.final: file for file in written}
    present = _files(warehouse)
    for unit in by_key.values():
        if len(unit.inputs) > 1 or unit.letters:
            _write_inputs(warehouse, run_id, unit)
    rename([(file.temporary, final) for final, file in sorted(files.items()) if final not in present])
    own = [uri for uri in present if unit_of(uri) in by_key and uri not in files]
    delete(own)
    _take_out_overlaps(warehouse, run_id, by_key, present)
    return sum(file.rows for file in files.values())


def _only_add(written: Iterable[WrittenFile]) -> int:
    """Put files in place that replace nothing: those of a stream, whose bundles are small, joined to larger ones."""
    folders: dict[str, list[WrittenFile]] = {}
    # By name, so that the files of alerts and of their cutouts are joined in the same order.
    for file in sorted(written, key=lambda file: file.final):
        folders.setdefault(file.final.rsplit("/", 1)[0], []).append(file)
    rows = 0
    for part in (some for files in folders.values() for some in _in_parts(files)):
        rows += sum(file.rows for file in part)
        # A runner that tries a commit again may find it done, wholly or in part.
        if not exists(part[0].final):
            joined = _join(part)
            rename([(joined.temporary, joined.final)])
            delete(file.temporary for file in part[1:])
    return rows


def _in_parts(files: Iterable[WrittenFile]) -> Iterator[list[WrittenFile]]:
    part: list[WrittenFile] = []
    for file in files:
        if part and sum(file.rows for file in part) + file.rows > PART_ROWS:
            yield part
            part = []
        part.append(file)
    if part:
        yield part


def _join(files: list[WrittenFile]) -> WrittenFile:
    first = files[0]
    if len(files) == 1:
        return first
    rows = pa.concat_tables([_read(file.temporary) for file in files])
    joined = first.temporary + ".joined"
    with create_file(joined) as file, open_parquet(file, rows.schema) as writer:
        writer.write_table(rows)
    return replace(first, temporary=joined, rows=rows.num_rows)


def _files(warehouse: str) -> set[str]:
    """The Parquet files that are in place in the tables' folders."""
    found = (file.uri for file in files_below(warehouse))
    return {uri for uri in found if uri.endswith(".parquet") and not uri.removeprefix(f"{warehouse}/").startswith("_")}


def unit_of(uri: str) -> str:
    """The key of the unit a file belongs to, which begins its name."""
    return uri.rsplit("/", 1)[-1].partition("-")[0]


def _write_inputs(warehouse: str, run_id: str, unit: Unit, key: str | None = None) -> None:
    """Keep what a unit stands for; ``key`` is the one it had before some of its inputs were taken from it."""
    said = {"inputs": list(unit.inputs), "letters": dict(zip(unit.letters, unit.sources, strict=True))}
    key = key or unit.key
    temporary = f"{warehouse}/{TEMPORARY}/{run_id}/{key}.json"
    write_file(f"{warehouse}/{INPUTS}/{key}.json", json.dumps(said, indent=0).encode("utf-8", "surrogateescape"), temporary)


def _read_inputs(uri: str) -> Unit:
    with open_file(uri) as file:
        said = json.loads(file.read())
    # Those of earlier versions name no letters.
    letters = said.get("letters") or {}
    return Unit(tuple(said["inputs"]), tuple(letters), tuple(letters.values()))


def _take_out_overlaps(warehouse: str, run_id: str, units: dict[str, Unit], present: Collection[str]) -> None:
    """Take rows out of units of other runs that hold some of our inputs, alone, in other company, or replayed; or our letters."""
    ours = {uri for unit in units.values() if not unit.letters for uri in unit.inputs}
    our_letters = {letter for unit in units.values() for letter in unit.letters}
    alone = {unit_key((uri,)) for uri in ours} - units.keys()
    delete(uri for uri in present if unit_of(uri) in alone)
    for manifest in files_below(f"{warehouse}/{INPUTS}"):
        key = unit_of(manifest.uri).removesuffix(".json")
        if key in units:
            continue
        theirs = _read_inputs(manifest.uri)
        without = {uri for uri in theirs.inputs if uri in ours} | _replayed_again(theirs, our_letters)
        if not without:
            continue
        files = sorted(uri for uri in present if unit_of(uri) == key)
        left = _without(theirs, without)
        if left.inputs and (left.letters or not theirs.letters):
            _rewrite(files, {printable(uri) for uri in without}, f"{warehouse}/{TEMPORARY}/{run_id}")
            _write_inputs(warehouse, run_id, left, key)
        else:
            delete([*files, manifest.uri])


def _replayed_again(theirs: Unit, our_letters: Collection[str]) -> set[str]:
    """Sources whose rows another replay wrote, and we write anew: it died before it marked them, and more letters came.

    Rows name their source and not their letter: of a source that also has letters that are not ours all rows stay.
    """
    others = {source for letter, source in zip(theirs.letters, theirs.sources, strict=True) if letter not in our_letters}
    return set(theirs.sources) - others


def _without(unit: Unit, inputs: Collection[str]) -> Unit:
    """What a unit stands for when these inputs, and letters that came from them, are taken from it."""
    left = [pair for pair in zip(unit.letters, unit.sources, strict=True) if not _is_of(pair[1], inputs)]
    letters, sources = zip(*left, strict=True) if left else ((), ())
    return Unit(tuple(uri for uri in unit.inputs if uri not in inputs), letters, sources)


def _rewrite(files: Sequence[str], without: Collection[str], temporary: str) -> None:
    """Rewrite files in place, without the rows whose source is one of the inputs ``without``.

    A cutouts file has no source column; its rows stand as in the alerts file of the same name, so it goes first.
    """
    for uri in files:
        rows = _read(uri)
        if "source" not in rows.schema.names:
            continue
        keep = pa.array([not _is_of(source, without) for source in rows.column("source").to_pylist()])
        cutouts = uri.replace("_alerts/", "_cutouts/")
        if cutouts != uri and cutouts in files:
            stamps = _read(cutouts)
            if stamps.num_rows == rows.num_rows:
                _replace(cutouts, stamps.filter(keep), temporary)
        _replace(uri, rows.filter(keep), temporary)


def _is_of(source: str, inputs: Collection[str]) -> bool:
    """Whether a source is one of the inputs, or a member (``input#member``) of one."""
    parts = source.split("#")
    return any("#".join(parts[:count]) in inputs for count in range(1, len(parts) + 1))


def _read(uri: str) -> pa.Table:
    with open_file(uri) as file:
        return pq.ParquetFile(file).read()


def _replace(uri: str, rows: pa.Table, temporary: str) -> None:
    if rows.num_rows == 0:
        delete([uri])
        return
    place = f"{temporary}/{uri.rsplit('/', 1)[-1]}"
    with create_file(place) as file, open_parquet(file, rows.schema) as writer:
        writer.write_table(rows)
    rename([(place, uri)])
