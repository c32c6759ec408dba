"""The file manifest: which Parquet files make up a warehouse folder, and what is known of each without opening it.

    {warehouse}/_manifest/{version}.parquet

A version never changes: a commit writes the next one, which is only made where nobody else has made it (``publish``). Whoever
reads takes the newest and sees that warehouse until the end, whatever is committed meanwhile. A row is a file; files that a
commit has taken out stay in it, with ``retired_at``, until they are deleted (``warehouses.folder.readers.collect``).
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouses.files import create_new, files_below, is_remote, open_file
from warehouses.folder.parquet_files import MANIFEST

FORMAT_VERSION = 2
"""Of the columns below. A reader refuses a higher one than it knows. 1 had no ``number`` and no ``indexed``, and no index."""
INDEX = "_index"
"""The folder of the index's files (``warehouses.folder.index``), which the manifest names as it names those of tables."""
_FORMAT = b"format_version"
_VERSION_BITS = 24
"""Of a file's number those that count the files of one version."""
_REPEATED = ["table", "schema", "runs.list.element"]
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
        return self._only(pc.and_(self._is_unretired, pc.not_equal(self.files.column("table"), INDEX)))

    @functools.cached_property
    def index(self) -> pa.Table:
        """The files of the index."""
        return self._only(pc.and_(self._is_unretired, pc.equal(self.files.column("table"), INDEX)))

    @functools.cached_property
    def _is_unretired(self) -> pa.ChunkedArray:
        return pc.is_null(self.files.column("retired_at"))

    def _only(self, mask: pa.ChunkedArray) -> pa.Table:
        return self.files if pc.all(mask).as_py() else self.files.filter(mask)

    @functools.cached_property
    def _first_of_each_schema(self) -> pa.Array:
        kinds = pc.binary_join_element_wise(self.live.column("table"), self.live.column("schema"), " ")
        return pa.array(first_of_each(kinds))

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
        return Manifest(self.version, live.filter(pc.or_(pc.or_(others, chosen), self._first_of_each_schema)))

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
    mask[np.unique(values.combine_chunks().dictionary_encode().indices.to_numpy(), return_index=True)[1]] = True
    return mask


def _numbered(files: pa.Table, version: int, begin: int) -> pa.Table:
    """Files with numbers: to those that have none one each that no file of another version gets."""
    own = pa.array(np.arange(begin, begin + files.num_rows) + (version << _VERSION_BITS), pa.int64())
    number = SCHEMA.get_field_index("number")
    return files.set_column(number, SCHEMA.field(number), pc.coalesce(files.column("number"), own))


EMPTY = Manifest(0, SCHEMA.empty_table())


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
    key = _key(uri)
    return _LAST.get(key) or _remember(key, _read(uri, version))


_LAST: dict[tuple[object, ...] | None, Manifest] = {}
"""The version that this process has read or made last: of years of nights it takes longer to read than all else to do."""


def _key(uri: str) -> tuple[object, ...] | None:
    """What is another when the file is another; in a bucket nobody tells without asking."""
    if is_remote(uri):
        return None
    about = os.stat(uri)
    return uri, about.st_ino, about.st_mtime_ns, about.st_size


def _remember(key: tuple[object, ...] | None, manifest: Manifest) -> Manifest:
    if key is not None:
        _LAST.clear()
        _LAST[key] = manifest
    return manifest


def _read(uri: str, version: int) -> Manifest:
    with open_file(uri) as file:
        try:
            files = pq.ParquetFile(pa.BufferReader(file.read())).read()
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
    # Every commit writes it whole, and whoever reads it reads all: Snappy takes two thirds of Zstandard's time.
    pq.write_table(
        manifest.files.cast(schema),
        out,
        compression="snappy",
        use_dictionary=_REPEATED,
        write_statistics=False,
        store_schema=True,
    )
    uri = uri_of(warehouse, manifest.version)
    made = create_new(uri, out.getvalue().to_pybytes(), temporary)
    if made and not is_remote(uri):
        with contextlib.suppress(FileNotFoundError):  # somebody has gone on and cleared it away
            _remember(_key(uri), manifest)
    return made
