"""The file manifest: which Parquet files make up a warehouse folder, and what is known of each without opening it.

    {warehouse}/_manifest/{version}.parquet

A version never changes: a commit writes the next one, which is only made where nobody else has made it (``publish``). Whoever
reads takes the newest and sees that warehouse until the end, whatever is committed meanwhile. A row is a file; files that a
commit has taken out stay in it, with ``retired_at``, until they are deleted (``warehouses.folder.readers.collect``).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouses.files import create_new, files_below, open_file
from warehouses.folder.parquet_files import MANIFEST
from warehouses.units import Unit, WrittenFile

FORMAT_VERSION = 2
"""Of the columns below. A reader refuses a higher one than it knows. 1 had no ``number`` and no ``indexed``, and no index."""
INDEX = "_index"
"""The folder of the index's files (``warehouses.folder.index``), which the manifest names as it names those of tables."""
_FORMAT = b"format_version"
_VERSION_BITS = 24
"""Of a file's number those that count the files of one version."""
_DATE = re.compile(r"=(\d{4}-\d{2}-\d{2})/[^/]*$")
SCHEMA = pa.schema(
    [
        pa.field("table", pa.string()),
        pa.field("path", pa.string()),  # below the warehouse
        pa.field("number", pa.int64()),  # by which the index names the file: no other ever has it
        pa.field("indexed", pa.bool_()),  # whether its rows are in the index
        pa.field("night", pa.date32()),  # of the folder: of dead letters the date of the failure; NULL where there is none
        pa.field("rows", pa.int64()),
        pa.field("bytes", pa.int64()),
        pa.field("schema", pa.string()),  # a fingerprint of the file's columns and types
        pa.field("unit", pa.string()),
        pa.field("inputs", pa.int32()),  # how many the unit stands for; the first and last of them in order
        pa.field("first_input", pa.string()),
        pa.field("last_input", pa.string()),
        pa.field("is_replay", pa.bool_()),
        pa.field("runs", pa.list_(pa.string())),  # ids of the runs that wrote its rows; NULL where nobody has told
        pa.field("healpix29_min", pa.int64()),  # NULL where nobody has told
        pa.field("healpix29_max", pa.int64()),
        pa.field("observed_at_min", pa.timestamp("us", tz="UTC")),
        pa.field("observed_at_max", pa.timestamp("us", tz="UTC")),
        pa.field("retired_in", pa.int64()),  # the first version without the file
        pa.field("retired_at", pa.timestamp("us", tz="UTC")),
    ]
)


class ManifestError(OSError):
    """A manifest that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Manifest:
    """One version of a warehouse's files; version 0 is that of a warehouse without any."""

    version: int
    files: pa.Table
    """``SCHEMA``; with the retired."""

    @functools.cached_property
    def live(self) -> pa.Table:
        """The files that make up the tables."""
        return self._unretired.filter(pc.not_equal(self._unretired.column("table"), INDEX))

    @functools.cached_property
    def index(self) -> pa.Table:
        """The files of the index."""
        return self._unretired.filter(pc.equal(self._unretired.column("table"), INDEX))

    @functools.cached_property
    def _unretired(self) -> pa.Table:
        return self.files.filter(pc.is_null(self.files.column("retired_at")))

    @functools.cached_property
    def numbered(self) -> pa.Table:
        """``files``, in which all have the numbers that they will have in the next version."""
        return _numbered(self.files, self.version + 1, 0)

    @functools.cached_property
    def tables(self) -> list[str]:
        """The tables that have files, in order of their names."""
        return sorted(pc.unique(self.live.column("table")).to_pylist())

    @functools.cached_property
    def _live_paths(self) -> frozenset[str]:
        return frozenset(self.live.column("path").to_pylist())

    @functools.cached_property
    def _paths(self) -> frozenset[str]:
        return frozenset(self.files.column("path").to_pylist())

    def is_live(self, path: str) -> bool:
        """Whether a file is one of a table's."""
        return path in self._live_paths

    def has(self, path: str) -> bool:
        """Whether a file is one of a table's, or was and may be read still."""
        return path in self._paths

    def unindexed(self) -> Manifest:
        """The same files, none of whose rows is in the index."""
        number = SCHEMA.get_field_index("indexed")
        return Manifest(
            self.version, self.files.set_column(number, SCHEMA.field(number), pa.nulls(self.files.num_rows, pa.bool_()))
        )

    def of(self, table: str) -> pa.Table:
        """The files of one table, in order of their paths."""
        return self.live.filter(pc.equal(self.live.column("table"), table)).sort_by("path")

    def of_units(self, keys: Collection[str]) -> pa.Table:
        """The files of some units."""
        return self.live.filter(pc.is_in(self.live.column("unit"), pa.array(list(keys), pa.string())))

    def of_run(self, run_id: str) -> Manifest:
        """The files in which rows of a run may be."""
        runs = self.live.column("runs").combine_chunks()
        theirs = pc.list_parent_indices(runs).filter(pc.equal(pc.list_flatten(runs), run_id))
        unknown = pc.indices_nonzero(pc.is_null(runs))
        return Manifest(self.version, self.live.take(pa.concat_arrays([theirs.cast(pa.int64()), unknown.cast(pa.int64())])))

    def nights_of_run(self, run_id: str) -> set[tuple[str, date | None]]:
        """The tables, each with a night of it, in which a run's files are."""
        runs = self.live.column("runs").combine_chunks()
        theirs = pc.list_parent_indices(runs).filter(pc.equal(pc.list_flatten(runs), run_id))
        return {(row["table"], row["night"]) for row in self.live.select(["table", "night"]).take(theirs).to_pylist()}

    def narrowed(self, files: pa.Table, tables: Collection[str]) -> Manifest:
        """Of some tables only these of its files, and one of each schema: by those it is known which columns there are."""
        live = self.live
        others = pc.invert(pc.is_in(live.column("table"), pa.array(list(tables), pa.string())))
        chosen = pc.is_in(live.column("path"), files.column("path").combine_chunks())
        kinds = pc.binary_join_element_wise(live.column("table"), live.column("schema"), " ")
        return Manifest(self.version, live.filter(pc.or_(pc.or_(others, chosen), pa.array(first_of_each(kinds)))))

    def runs_of(self, paths: Collection[str]) -> list[str] | None:
        """The runs whose rows are in some files; None where that of one is not known."""
        found = (
            self.files.filter(pc.is_in(self.files.column("path"), pa.array(list(paths), pa.string()))).column("runs").to_pylist()
        )
        return None if None in found else sorted({run for runs in found for run in runs})

    def next(
        self, *, without: Iterable[str], added: pa.Table, deleted: Collection[str] = (), indexed: Collection[str] = ()
    ) -> Manifest:
        """The version that follows: ``without`` (paths) are retired now, ``added`` are new, the retired ``deleted`` are gone.

        ``indexed`` are in the index from now on.
        """
        retired = pc.is_in(self.files.column("path"), pa.array(list(without), pa.string()))
        retired = pc.and_(retired, pc.is_null(self.files.column("retired_at")))
        files = self.numbered
        if indexed:
            mask = pc.is_in(files.column("path"), pa.array(list(indexed), pa.string()))
            number = SCHEMA.get_field_index("indexed")
            files = files.set_column(number, SCHEMA.field(number), pc.or_kleene(mask, files.column("indexed")))
        for name, value in (("retired_in", self.version + 1), ("retired_at", datetime.now(UTC))):
            field = SCHEMA.field(name)
            changed = pc.if_else(retired, pa.scalar(value, field.type), files.column(name))
            files = files.set_column(SCHEMA.get_field_index(name), field, changed)
        if deleted:
            files = files.filter(pc.invert(pc.is_in(files.column("path"), pa.array(list(deleted), pa.string()))))
        added = _numbered(added, self.version + 1, self.files.num_rows)
        return Manifest(self.version + 1, pa.concat_tables([files, added]).combine_chunks())


def first_of_each(values: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Which rows are the first with their text."""
    mask = np.zeros(len(values), bool)
    mask[np.unique(values.to_numpy(zero_copy_only=False).astype(str), return_index=True)[1]] = True
    return mask


def _numbered(files: pa.Table, version: int, begin: int) -> pa.Table:
    """Files with numbers: to those that have none one each that no file of another version gets."""
    own = pa.array(np.arange(begin, begin + files.num_rows) + (version << _VERSION_BITS), pa.int64())
    number = SCHEMA.get_field_index("number")
    return files.set_column(number, SCHEMA.field(number), pc.coalesce(files.column("number"), own))


EMPTY = Manifest(0, SCHEMA.empty_table())


def rows_of(
    warehouse: str, files: Iterable[WrittenFile], units: Mapping[str, Unit], runs: Sequence[str] | None = None
) -> pa.Table:
    """The rows of ``SCHEMA`` for files at their places, whose rows are of some runs; ``units`` by key, where they are known."""
    return pa.Table.from_pylist([{**_row(warehouse, file, units.get(file.unit)), "runs": runs} for file in files], schema=SCHEMA)


def _row(warehouse: str, file: WrittenFile, unit: Unit | None) -> dict[str, object]:
    path = file.final.removeprefix(f"{warehouse}/")
    inputs = unit.inputs if unit else ()
    first, last = _ends(inputs) if inputs else (None, None)
    dated = _DATE.search(path)
    return {
        "table": path.partition("/")[0],
        "path": path,
        "night": _day(dated[1]) if dated else None,
        "rows": file.rows,
        "bytes": file.size_bytes,
        "schema": file.schema,
        "unit": file.unit,
        "inputs": len(inputs),
        "first_input": first,
        "last_input": last,
        "is_replay": bool(unit and unit.letters),
        **dict(zip(("healpix29_min", "healpix29_max"), file.healpix29 or (None, None), strict=True)),
        **dict(zip(("observed_at_min", "observed_at_max"), file.observed_at or (None, None), strict=True)),
    }


def _ends(inputs: Collection[str]) -> tuple[str, str]:
    """The first and the last in the order of their bytes, each byte as a character: a file's name need not be UTF-8."""
    texts = [as_text(uri) for uri in inputs]
    return min(texts), max(texts)


def as_text(uri: str) -> str:
    """An input as the manifest has it: each byte as a character."""
    return uri.encode("utf-8", "surrogateescape").decode("latin-1")


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:  # a folder of somebody's own
        return None


def the_input(row: Mapping[str, Any]) -> str:
    """The input of a row whose unit has one."""
    return str(row["first_input"]).encode("latin-1").decode("utf-8", "surrogateescape")


def may_hold(files: pa.Table, inputs: Collection[str]) -> set[str]:
    """The units among whose inputs some of ours may be, by the first and the last of theirs and ours."""
    if not inputs or not files.num_rows:
        return set()
    first, last = _ends(inputs)
    overlap = pc.and_(pc.less_equal(files.column("first_input"), last), pc.greater_equal(files.column("last_input"), first))
    return set(files.filter(pc.fill_null(overlap, False)).column("unit").to_pylist())


def versions(warehouse: str) -> list[int]:
    """The versions that are there, the oldest first."""
    names = (file.uri.rsplit("/", 1)[-1] for file in files_below(f"{warehouse}/{MANIFEST}"))
    return sorted(int(name.removesuffix(".parquet")) for name in names if name.removesuffix(".parquet").isdigit())


def uri_of(warehouse: str, version: int) -> str:
    """Where a version stands."""
    return f"{warehouse}/{MANIFEST}/{version:012d}.parquet"


def read(warehouse: str, version: int) -> Manifest:
    """One version. Raises ``FileNotFoundError`` where it is gone, ``ManifestError`` where it cannot be understood."""
    uri = uri_of(warehouse, version)
    with open_file(uri) as file:
        try:
            files = pq.read_table(pa.BufferReader(file.read()))
        except (pa.ArrowException, OSError) as error:
            raise ManifestError(f"{uri} is damaged ({error}); make the manifest anew with: broker compact --rebuild") from error
    told = int((files.schema.metadata or {}).get(_FORMAT, b"0"))
    if told > FORMAT_VERSION:
        raise ManifestError(f"{uri} has format_version {told}, and this broker knows {FORMAT_VERSION}; use a newer broker")
    # Columns that a file is too old to have are NULL; those that it is too new to need are left.
    known = files.select([name for name in SCHEMA.names if name in files.schema.names])
    return Manifest(version, pa.concat_tables([SCHEMA.empty_table(), known], promote_options="default").cast(SCHEMA))


def publish(warehouse: str, manifest: Manifest, temporary: str) -> bool:
    """Make a version the newest; False where somebody else has made one of this number."""
    out = pa.BufferOutputStream()
    schema = SCHEMA.with_metadata({_FORMAT: str(FORMAT_VERSION).encode()})
    pq.write_table(manifest.files.cast(schema), out, compression="zstd", store_schema=True)
    return create_new(uri_of(warehouse, manifest.version), out.getvalue().to_pybytes(), temporary)
