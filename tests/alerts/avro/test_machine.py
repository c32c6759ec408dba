"""The compiled decoder: reads what Avro allows as fastavro does, and leaves to fastavro what is unusual or damaged."""

from __future__ import annotations

import io
import math
import struct
import subprocess
import sys
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import fastavro
import pytest

from alerts.avro.columns import decode_columns
from alerts.avro.layout import Projection, layout_of
from alerts.avro.packets import Packet
from alerts.avro.program import NotSupported, compile_schema
from alerts.avro.wire_schemas import WriterSchema, writer_schema
from alerts.surveys import SURVEYS
from tests.alerts.making import (
    LSST_SCHEMA,
    Outcome,
    as_text,
    container,
    datum,
    ingest,
    lsst_record,
    outcome_of,
    ztf_record,
)
from tests.compare import assert_row_equals_record

SCHEMA: Any = {
    "type": "record",
    "name": "ztf.alert",
    "fields": [
        {"name": "objectId", "type": "string"},
        {"name": "candid", "type": "long"},
        {
            "name": "candidate",
            "type": {
                "type": "record",
                "name": "ztf.alert.candidate",
                "fields": [
                    *({"name": name, "type": "double"} for name in ("jd", "ra", "dec")),
                    {"name": "magpsf", "type": ["null", "float"]},
                    {"name": "pid", "type": ["long", "null"]},
                ],
            },
        },
        {
            "name": "prv_candidates",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "ztf.alert.prv_candidate",
                    "fields": [{"name": "jd", "type": "double"}, {"name": "fid", "type": "int"}],
                },
            },
        },
    ],
}
WRITER = writer_schema(as_text(SCHEMA))
ITEM = struct.pack("<d", 2458450.5) + b"\4"
NO_HISTORY = b"\0"
ROOT = Path(__file__).parents[3]


def alert(candid: int = 7, **values: Any) -> dict[str, Any]:
    """A record of the small schema."""
    candidate = {"jd": 2458451.7, "ra": 10.5, "dec": -5.5, "magpsf": 18.5, "pid": 2**60 + 1}
    record = {"objectId": "ZTF18abcdefg", "candid": candid, "candidate": candidate, "prv_candidates": []}
    return {**record, **{name: value for name, value in values.items() if name not in candidate}} | {
        "candidate": {**candidate, **{name: value for name, value in values.items() if name in candidate}}
    }


def with_history(history: bytes, candid: int = 7) -> bytes:
    """A datum whose array of previous candidates is given in bytes."""
    whole = datum(alert(candid), SCHEMA)
    assert whole.endswith(NO_HISTORY)
    return whole[:-1] + history


def decoded(datums: Iterable[bytes], schema: WriterSchema = WRITER) -> Outcome:
    return outcome_of([Packet(one, 0, len(one), schema, f"packet {number}") for number, one in enumerate(datums)])


def assert_as_fastavro_reads(one: bytes) -> Outcome:
    record: Any = fastavro.schemaless_reader(io.BytesIO(one), WRITER.parsed, None)
    outcome = decoded([one])
    (row,) = outcome.rows
    assert_row_equals_record(row, record, "ztf")
    return outcome


@pytest.mark.parametrize(
    ("history", "entries", "by_fastavro"),
    [
        (b"\0", 0, 0),
        (b"\2" + ITEM + b"\0", 1, 0),
        (b"\6" + 3 * ITEM + b"\0", 3, 0),
        (b"\2" + ITEM + b"\4" + 2 * ITEM + b"\0", 3, 0),
        (b"\1" + b"\x12" + ITEM + b"\0", 1, 1),  # a block that tells its size: count -1, 9 bytes
        (b"\x82\0" + ITEM + b"\0", 1, 0),  # a count in more bytes than it needs
    ],
)
def test_a_history_in_blocks_of_any_kind(history, entries, by_fastavro):
    outcome = assert_as_fastavro_reads(with_history(history))
    assert len(outcome.rows[0]["prv_candidates"]) == entries
    assert outcome.decoded.one_by_one["ztf"] == by_fastavro


@pytest.mark.parametrize("entries", [63, 64, 65, 300, 5000])
def test_histories_longer_than_the_room_that_was_made_for_them(entries):
    records = [alert(1), alert(2, prv_candidates=[{"jd": 2458000.5 + n, "fid": n % 3} for n in range(entries)]), alert(3)]
    rows = decoded(datum(one, SCHEMA) for one in records).rows
    for row, record in zip(rows, records, strict=True):
        assert_row_equals_record(row, record, "ztf")


def test_an_alert_that_ends_in_mid_history_does_not_confuse_those_behind_it():
    cut = with_history(b"\6" + ITEM + ITEM[:4])
    whole = [with_history(b"\4" + 2 * ITEM + b"\0", candid) for candid in (1, 2, 3)]
    outcome = decoded([whole[0], cut, whole[1], cut, whole[2]])
    assert outcome.alert_ids == [1, 2, 3]
    assert [len(row["prv_candidates"]) for row in outcome.rows] == [2, 2, 2]
    assert [letter.payload for letter in outcome.letters] == [cut, cut]
    assert outcome.decoded.one_by_one["ztf"] == 2


@pytest.mark.parametrize("count", [2**20, 2**40, 2**62])
def test_a_history_that_claims_more_entries_than_there_are_bytes(count):
    claimed = datum({"n": count}, {"type": "record", "name": "n", "fields": [{"name": "n", "type": "long"}]})
    assert decoded([with_history(claimed + 5 * ITEM)]).the_letter().payload is not None


def test_a_branch_of_a_union_in_more_bytes_than_it_needs_or_beyond_the_last():
    whole = datum(alert(magpsf=None), SCHEMA)
    at = len(datum({"o": "ZTF18abcdefg", "c": 7}, _fields("o", "c"))) + 24
    assert whole[at] == 0
    assert_as_fastavro_reads(whole[:at] + b"\x80\0" + whole[at + 1 :])
    assert "the datum does not fit its schema" in decoded([whole[:at] + b"\4" + whole[at + 1 :]]).the_letter().message


def _fields(text: str, number: str) -> Any:
    return {"type": "record", "name": "x", "fields": [{"name": text, "type": "string"}, {"name": number, "type": "long"}]}


@pytest.mark.parametrize("candid", [0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 3316245810015015013])
def test_ids_of_all_sizes_are_exact(candid):
    assert_as_fastavro_reads(datum(alert(candid), SCHEMA))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 1e-45, 3.4028234663852886e38, -999.0, 0.1])
def test_floats_of_all_kinds_are_kept(value):
    (row,) = assert_as_fastavro_reads(datum(alert(magpsf=value, ra=value), SCHEMA)).rows
    assert math.copysign(1, row["ra_deg"]) == math.copysign(1, value)


@pytest.mark.parametrize("name", ["", "Größe", "星", "\0", "a" * 10_000, "🔭"])
def test_texts_of_all_kinds_are_kept(name):
    outcome = decoded([datum(alert(1, objectId=name), SCHEMA), datum(alert(2), SCHEMA)])
    assert [row["objectId"] for row in outcome.rows] == [name, "ZTF18abcdefg"]
    assert outcome.rows[0]["object_id"] == (name or None)


def test_a_text_that_is_no_unicode_is_a_dead_letter_and_its_neighbors_are_rows():
    whole = [datum(alert(candid, objectId="Größe"), SCHEMA) for candid in (1, 2, 3)]
    outcome = decoded([whole[0], whole[1].replace("ö".encode(), b"\xff\xff"), whole[2]])
    assert outcome.alert_ids == [1, 3]
    assert "UnicodeDecodeError" in outcome.one_letter().message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_text_of_a_schema_may_be_encoded_as_json_may_be(encoding):
    schema = writer_schema(as_text(SCHEMA).decode().encode(encoding))
    assert decoded([datum(alert(), SCHEMA)], schema).alert_ids == [7]


def test_times_within_the_calendar_are_kept_and_others_are_dead_letters():
    first, last = datetime(1, 1, 1, tzinfo=timezone.utc), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc)
    records = [lsst_record(number) for number in (1, 2, 3)]
    for record, time in zip(records, (first, last, datetime(2026, 3, 10, tzinfo=timezone.utc)), strict=True):
        record["mpc_orbits"]["created_at"] = time
    rows = ingest(container(records, LSST_SCHEMA)).rows
    assert [row["mpc_orbits"]["created_at"] for row in rows] == [first, last, records[2]["mpc_orbits"]["created_at"]]
    records[1]["mpc_orbits"]["created_at"] = 2**62
    outcome = ingest(container(records, LSST_SCHEMA))
    assert outcome.alert_ids == [1, 3]
    assert "OverflowError" in outcome.one_letter().message


def test_a_batch_of_nothing_but_damage_is_nothing_but_dead_letters():
    outcome = decoded([b"", b"\xff" * 50, datum(alert(), SCHEMA)[:-1]])
    assert not outcome.rows
    assert len(outcome.letters) == 3
    assert all(letter.stage == "decode" and letter.survey == "ztf" for letter in outcome.letters)


_AT_THE_EDGE = """
import ctypes, mmap, sys
from alerts.avro.columns import decode_columns
from alerts.avro.layout import Projection, layout_of
from alerts.avro.packets import Packet
from tests.alerts.avro import test_machine, test_projection

memory = mmap.mmap(-1, 3 * mmap.PAGESIZE)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mprotect(ctypes.c_void_p(address + 2 * mmap.PAGESIZE), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
if sys.argv[1:]:
    ctypes.string_at(address + 2 * mmap.PAGESIZE, 1)

good = 0
entries = [test_projection.entry(fid=n % 2, isdiffpos="t" * (n % 3)) for n in range(12)]
last = test_projection.packets_of([test_projection.ztf_datum(1, entries, test_projection.LAST)], test_projection.LAST)[0]
short = test_machine.with_history(b"\\6" + 3 * test_machine.ITEM + b"\\0")
for schema, whole in ((test_machine.WRITER, short), (last.schema, last.data)):
    for length in range(len(whole) + 1):
        # The datum's last byte is the last that this process may read.
        start = 2 * mmap.PAGESIZE - length
        memory[start : 2 * mmap.PAGESIZE] = whole[:length]
        packet = Packet(memoryview(memory)[: 2 * mmap.PAGESIZE], start, 2 * mmap.PAGESIZE, schema, "s")
        for want in (Projection(), Projection(history=False, stamps=False)):
            good += int(decode_columns([packet, packet], layout_of(schema), want).good.sum())
print(good)
"""


def test_no_byte_beyond_the_end_of_a_packet_is_read():
    def run(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", _AT_THE_EDGE, *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)

    done = run()
    assert (done.returncode, done.stdout) == (0, "8\n"), done.stderr
    assert run("read on").returncode < 0, "this test would not notice"


def test_the_built_in_schemas_need_no_fastavro():
    outcome = ingest(container([ztf_record(1), ztf_record(2, null=True)]))
    outcome_lsst = ingest(container([lsst_record(1)], LSST_SCHEMA))
    assert not +outcome.decoded.one_by_one
    assert not +outcome_lsst.decoded.one_by_one


def changed(name: str, kind: Any) -> WriterSchema:
    """The small schema with another type in place of one of its fields', or with a field more."""
    fields = [field | {"type": kind} if field["name"] == name else field for field in SCHEMA["fields"]]
    more = [] if any(field["name"] == name for field in SCHEMA["fields"]) else [{"name": name, "type": kind}]
    return writer_schema(as_text(SCHEMA | {"fields": fields + more}))


def history_of(kind: Any) -> WriterSchema:
    """The small schema with histories whose items have this type as their time."""
    item = {"type": "record", "name": "ztf.alert.item", "fields": [{"name": "jd", "type": kind}]}
    return changed("prv_candidates", {"type": "array", "items": item})


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (changed("new", "int"), "new has no column"),
        (changed("objectId", {"type": "array", "items": "string"}), "objectId is an array"),
        (changed("objectId", ["null", "string", "int"]), "objectId is a union other than of null and one type"),
        (history_of(["null", "double", "string"]), r"prv_candidates.\[\].jd is a union other than"),
        (history_of({"type": "array", "items": "double"}), r"prv_candidates.\[\].jd is an array"),
    ],
)
@pytest.mark.parametrize("history", [True, False])
def test_what_the_machine_cannot_read_is_said_whether_histories_are_wanted_or_not(schema, says, history):
    with pytest.raises(NotSupported, match=says):
        compile_schema(schema, SURVEYS["ztf"], Projection(history=history))


def test_a_history_of_plain_values_is_gone_over_as_it_is_read():
    schema = changed("prv_candidates", {"type": "array", "items": "double"})
    assert compile_schema(schema, SURVEYS["ztf"], Projection(history=False)).skipped_arrays == 0
    assert compile_schema(WRITER, SURVEYS["ztf"], Projection(history=False)).skipped_arrays == 1


def test_texts_of_more_than_two_gigabytes_are_left_to_smaller_batches():
    """The packets are one, named again and again; nothing is copied before their lengths are added."""
    one = datum(alert(objectId="x" * 2**25), SCHEMA)
    packets = [Packet(one, 0, len(one), WRITER, "again")] * 64
    with pytest.raises(NotSupported, match="objectId holds more than 2 GB at once"):
        decode_columns(packets, layout_of(WRITER))
