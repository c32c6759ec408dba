"""An answer as it comes, a piece at a time: it may be larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from warehouses.plain_columns import names_apart


class Answer:
    """Rows of an answer, once, in batches. Iterating raises ``QueryError`` where the warehouse fails on the way."""

    def __init__(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        self.schema = schema
        """The columns, as they were asked for: two may have one name (see ``apart``)."""
        self._batches = batches

    @classmethod
    def of(cls, table: pa.Table) -> Answer:
        """One that is there already."""
        return cls(table.schema, iter(table.to_batches()))

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self._batches

    def read(self) -> pa.Table:
        """All rows."""
        return pa.Table.from_batches(self, schema=self.schema)

    def head(self, number: int) -> tuple[pa.Table, int]:
        """The first so many rows, and how many more there are."""
        first: list[pa.RecordBatch] = []
        more = 0
        for batch in self:
            wanted = max(0, number - sum(batch.num_rows for batch in first))
            if wanted:
                first.append(batch.slice(0, wanted))
            more += max(0, batch.num_rows - wanted)
        return pa.Table.from_batches(first, schema=self.schema), more

    def rows(self) -> Iterator[tuple[object, ...]]:
        """The rows as Python has them."""
        for batch in self:
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def apart(self) -> Answer:
        """The same with each name once."""
        names = names_apart(self.schema.names)
        if names == self.schema.names:
            return self
        return self.mapped(lambda rows: rows.rename_columns(names))

    def mapped(self, change: Callable[[pa.RecordBatch], pa.RecordBatch]) -> Answer:
        """The same, each batch changed; ``change`` gives the same columns for any rows, for none too."""
        empty = pa.RecordBatch.from_pylist([], schema=self.schema)
        return Answer(change(empty).schema, (change(batch) for batch in self))
