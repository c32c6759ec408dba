"""What the pipeline makes, as rows of tables: nothing copied, no batch split, letters of a unit together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pyarrow as pa
import pytest
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp

from alerts.avro.decode import decode
from alerts.avro.layout import EVERYTHING, Projection
from alerts.avro.packets import Packet, open_packets
from alerts.avro.wire_schemas import WireSchemas
from alerts.errors import DeadLetter
from alerts.features.table import rows_of
from alerts.surveys import survey
from schemas.tables import CROSSMATCHES
from tests.alerts.making import container, ztf_record
from transforms.elements import AlertBatch, MatchBatch, TableBatch, UnitLetter
from transforms.table_rows import LetterRows, alert_rows, match_rows, tables_of_alerts
from warehouses.units import STREAM


@pytest.fixture(scope="module")
def alerts() -> AlertBatch:
    packets = open_packets(container([ztf_record(number) for number in range(1, 6)]), "s", WireSchemas())
    return AlertBatch("unit", "ztf", decode([one for one in packets if isinstance(one, Packet)]).rows["ztf"])


def addresses(column: pa.Array) -> list[int]:
    return [buffer.address for buffer in column.buffers() if buffer is not None]


def test_the_rows_of_both_tables_are_the_decoders_own_columns(alerts: AlertBatch) -> None:
    made = list(alert_rows(alerts, EVERYTHING))
    assert [(one.table, one.unit, one.rows.num_rows) for one in made] == [("ztf_alerts", "unit", 5), ("ztf_cutouts", "unit", 5)]
    for batch in made:
        for name in batch.rows.schema.names:
            assert addresses(batch.rows.column(name)) == addresses(alerts.rows.column(name)), name
    assert made[0].rows.column("alert_id").equals(made[1].rows.column("alert_id"))


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("want", [EVERYTHING, Projection(stamps=False), Projection(history=False)])
def test_the_tables_that_are_named_are_those_that_rows_are_of(alerts: AlertBatch, want: Projection, features: bool) -> None:
    made = {one.table for one in alert_rows(computed(alerts) if features else alerts, want)}
    assert ("ztf_features" in made) == features
    assert {*tables_of_alerts(["ztf"], want, features)} == {*made, "dead_letters"}
    assert {*tables_of_alerts(["ztf", "lsst"], want, features)} > {*made, "lsst_alerts"}


def computed(alerts: AlertBatch) -> AlertBatch:
    made = rows_of(alerts.rows, survey(alerts.survey), "run")
    assert made is not None
    return replace(alerts, features=made.rows)


def test_matches_are_of_no_unit() -> None:
    rows = pa.RecordBatch.from_pylist([], schema=CROSSMATCHES.arrow_schema)
    assert match_rows(MatchBatch(rows)) == TableBatch("crossmatches", STREAM, rows)


def letter(unit: str, number: int, payload: bytes = b"damaged") -> UnitLetter:
    return UnitLetter(unit, DeadLetter("decode", "ValueError", "no alert", f"{unit}#{number}", payload))


def gathered(letters: Iterable[UnitLetter]) -> list[list[tuple[str, str]]]:
    """Unit and source of every row, batch by batch, of one bundle."""
    step = LetterRows("run")
    step.start_bundle()
    batches = [batch for number, one in enumerate(letters) for batch in step.process(one, Timestamp(number))]
    last = list(step.finish_bundle())
    assert all(one.windows == [GlobalWindow()] for one in last)
    batches += [one.value for one in last]
    assert {one.table for one in batches} <= {"dead_letters"}
    return [[(batch.unit, source) for source in batch.rows.column("source").to_pylist()] for batch in batches]


def test_letters_of_one_unit_are_rows_together_and_none_is_lost() -> None:
    sent = [letter(unit, number) for unit, count in (("a", 300), ("b", 1), ("a", 2)) for number in range(count)]
    found = gathered(sent)
    assert [(batch[0][0], len(batch)) for batch in found] == [("a", 256), ("a", 44), ("b", 1), ("a", 2)]
    assert [row for batch in found for row in batch] == [(one.unit, one.letter.source) for one in sent]
    assert gathered([]) == []


def test_no_more_payload_is_held_than_some_megabytes() -> None:
    found = gathered(letter("a", number, bytes(5 * 2**20)) for number in range(9))
    assert [len(batch) for batch in found] == [4, 4, 1]
