"""Random damage: whatever arrives is a row that equals what fastavro reads, or a dead letter, and nobody's neighbor suffers."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WriterSchema, writer_schema
from alerts.surveys import SURVEYS
from tests.alerts.making import (
    LSST_SCHEMA,
    SYNC,
    ZTF_SCHEMA,
    as_text,
    container,
    datum,
    examples,
    ingest,
    lsst_record,
    outcome_of,
    tar_of,
    wire_message,
    ztf_record,
)
from tests.compare import assert_row_equals_record, value_at
from tests.fuzz.making import suffer

Damage = tuple[str, float, bytes]
damages = st.lists(
    st.tuples(
        st.sampled_from(["flip", "overwrite", "insert", "delete", "cut"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=12),
    ),
    max_size=3,
)
slow = examples(60)


ZTF_RECORDS = [ztf_record(candid, null=candid % 2 == 0, jd=2458451.7) for candid in range(1, 7)]
LSST_RECORDS = [lsst_record(source_id) for source_id in range(1, 5)]
CASES: dict[str, tuple[Any, list[bytes], WriterSchema]] = {
    "ztf": (ZTF_SCHEMA, [datum(one, ZTF_SCHEMA) for one in ZTF_RECORDS], writer_schema(as_text(ZTF_SCHEMA))),
    "lsst": (LSST_SCHEMA, [datum(one, LSST_SCHEMA) for one in LSST_RECORDS], writer_schema(as_text(LSST_SCHEMA), 1000)),
}
PARSED = {name: fastavro.parse_schema(schema, named_schemas={}) for name, (schema, _, _) in CASES.items()}


def fastavro_judges(data: bytes, survey: str) -> dict[str, Any] | None:
    """The record in a datum, or None where it is no alert."""
    file = io.BytesIO(data)
    try:
        record: Any = fastavro.schemaless_reader(file, PARSED[survey], None)
    except Exception:  # fastavro has no base class for what damaged bytes make it raise
        return None
    time = value_at(record, SURVEYS[survey].time[0])
    mjd = time - 2400000.5 if survey == "ztf" else time - 0.0
    dated = 36934 <= mjd < 88069 or (survey == "lsst" and 36934 <= time / 86400 + 40587 < 88069 and time >= 1e8)
    return dict(record) if file.tell() == len(data) and dated else None


@pytest.mark.parametrize("survey", CASES)
@slow
@given(st.data())
def test_every_datum_of_a_damaged_batch_is_what_fastavro_reads_or_a_dead_letter(survey, data):
    _, whole, schema = CASES[survey]
    sent = {f"packet {number}": suffer(one, data.draw(damages)) for number, one in enumerate(whole)}
    outcome = outcome_of([Packet(one, 0, len(one), schema, source) for source, one in sent.items()])
    rows = {row["source"]: row for row in outcome.rows}
    letters = {letter.source: letter for letter in outcome.letters}
    assert len(outcome.rows) + len(outcome.letters) == len(sent)
    for source, one in sent.items():
        record = fastavro_judges(one, survey)
        if record is None:
            assert letters[source].payload == one
            assert letters[source].message
        else:
            assert_row_equals_record(rows[source], record, survey)


ZTF_PACKET = container([ztf_record(1)])
COUNT_AT = ZTF_PACKET.index(SYNC) + len(SYNC)


@slow
@given(st.lists(st.integers(0, 8 * len(ZTF_PACKET) - 1), min_size=1, max_size=4))
def test_flipped_bits_in_a_packet_of_one_alert_give_one_row_or_one_dead_letter(bits):
    packet = bytearray(ZTF_PACKET)
    for bit in bits:
        packet[bit // 8] ^= 1 << bit % 8
    outcome = ingest(bytes(packet))
    # A block that claims more alerts than it holds is the alert and a dead letter for those that are missing.
    most = 1 if packet[COUNT_AT] == ZTF_PACKET[COUNT_AT] else 2
    assert 1 <= len(outcome.rows) + len(outcome.letters) <= most
    assert len(outcome.rows) <= 1


@slow
@given(damages.filter(bool))
def test_a_damaged_file_never_raises_and_is_never_nothing(some):
    for file in (ZTF_PACKET, wire_message(lsst_record()), container(ZTF_RECORDS, codec="snappy", per_block=2)):
        outcome = ingest(suffer(file, some))
        assert outcome.rows or outcome.letters
        assert all(letter.message and letter.source for letter in outcome.letters)


@slow
@given(damages, st.integers(0, 3))
def test_a_damaged_member_leaves_the_other_members_alone(some, number):
    night = {f"{candid}.avro": container([ztf_record(candid)]) for candid in range(1, 5)}
    name = f"{number + 1}.avro"
    others = [candid for candid in range(1, 5) if candid != number + 1]
    outcome = ingest(tar_of({**night, name: suffer(night[name], some)}), "n.tar")
    assert [row["alert_id"] for row in outcome.rows if row["source"] != f"n.tar#{name}"] == others
    assert {letter.source for letter in outcome.letters} <= {f"n.tar#{name}"}
