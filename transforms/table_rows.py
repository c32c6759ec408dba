"""What the pipeline makes to rows of tables: the one thing that sinks take.

Alerts are rows of two tables, of three with their features; dead letters and matches of one each. The columns are those that the
decoder, the features and the catalogs have made: nothing is copied, and no batch is split.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from alerts.avro.layout import Projection
from alerts.dead_letters import dead_letter_rows
from alerts.errors import DeadLetter
from alerts.features.table import features_table_of
from alerts.surveys import survey
from alerts.tables import own_tables
from schemas.tables import CROSSMATCHES, DEAD_LETTERS
from transforms import coders  # noqa: F401 - those of the batches
from transforms.elements import AlertBatch, MatchBatch, TableBatch, UnitLetter
from transforms.notes import name_run, note
from warehouses.units import STREAM

_LETTERS_AT_ONCE = 256
_PAYLOAD_BYTES_AT_ONCE = 16 * 2**20


def tables_of_alerts(surveys: Iterable[str], want: Projection, features: bool) -> tuple[str, ...]:
    """The names of the tables that alerts of these surveys, and what does not decode, are rows of."""
    facts = [survey(name) for name in surveys]
    left_out = {fact.cutouts_table.name for fact in facts if not want.stamps}
    left_out |= {table.name for fact in facts if not features and (table := features_table_of(fact))}
    own = [table.name for fact in facts for table in own_tables(fact)]
    return (*(name for name in own if name not in left_out), DEAD_LETTERS.name)


def alert_rows(batch: AlertBatch, want: Projection) -> Iterator[TableBatch]:
    """Rows of ``{survey}_alerts``, and of ``{survey}_cutouts`` and ``{survey}_features`` in the same order."""
    facts = survey(batch.survey)
    for table in (want.alerts_table(facts), *([facts.cutouts_table] if want.stamps else [])):
        yield TableBatch(table.name, batch.unit, batch.rows.select(table.arrow_schema.names))
    if batch.features is not None and (made := features_table_of(facts)):
        yield TableBatch(made.name, batch.unit, batch.features)


def match_rows(batch: MatchBatch) -> TableBatch:
    """Rows of ``crossmatches``; of no unit, since a rerun replaces the alerts of its inputs but not what is known of them."""
    return TableBatch(CROSSMATCHES.name, STREAM, batch.rows)


class LetterRows(beam.DoFn):
    """``UnitLetter``s, each counted and noted, to rows of ``dead_letters``, those of a unit together."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id

    def setup(self) -> None:
        """Once for each worker."""
        name_run(self._run_id)

    def start_bundle(self) -> None:
        """Holds nothing yet."""
        self._unit, self._payload_bytes = "", 0
        self._held: list[DeadLetter] = []

    def process(self, element: UnitLetter, timestamp: Timestamp = beam.DoFn.TimestampParam) -> Iterator[TableBatch]:
        """Gives the rows of those before when there are enough of them, or the unit is another."""
        note(element.letter)
        if element.unit != self._unit:
            yield from self._rows()
        self._unit, self._timestamp = element.unit, timestamp
        self._held.append(element.letter)
        self._payload_bytes += len(element.letter.payload or b"")
        if len(self._held) >= _LETTERS_AT_ONCE or self._payload_bytes >= _PAYLOAD_BYTES_AT_ONCE:
            yield from self._rows()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Gives the rows of the last ones."""
        for rows in self._rows():
            yield WindowedValue(rows, self._timestamp, [GlobalWindow()])

    def _rows(self) -> Iterator[TableBatch]:
        if self._held:
            yield TableBatch(DEAD_LETTERS.name, self._unit, dead_letter_rows(self._held, self._run_id))
        self._held, self._payload_bytes = [], 0
