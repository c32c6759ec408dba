"""Where the compiled decoder begins, and that nobody can tell from rows or dead letters who has read them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from alerts.avro import decode as decoding
from alerts.avro import weigh as weighing
from alerts.avro.decode import Decoded, decode
from alerts.avro.inputs import read_input
from alerts.avro.layout import EVERYTHING, Projection
from alerts.avro.packets import Packet, open_packets
from alerts.avro.patience import COMPILING_SECS, LOADING_SECS, FastavroFirst
from alerts.avro.wire_schemas import WireSchemas
from alerts.limits import MAX_ALERT_DEPTH, MAX_ALERT_VALUES
from tests.alerts.avro.test_batch_limits import history
from tests.alerts.avro.test_decode_real import FILES, NIGHTS
from tests.alerts.avro.test_machine import WRITER, with_history
from tests.alerts.making import ZTF_SCHEMA, container, ztf_record

MOMENT = datetime(2026, 3, 10, tzinfo=timezone.utc)
ROOT = Path(__file__).parents[3]


class Clock:
    """CPU that passes as it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def spend(patience: FastavroFirst, clock: Clock, secs: float) -> None:
    with patience.spending():
        clock.now += secs


@pytest.mark.parametrize(("kept", "enough_secs"), [(True, LOADING_SECS), (False, COMPILING_SECS)])
def test_it_begins_when_fastavro_has_taken_as_long_as_the_beginning_would(kept: bool, enough_secs: float) -> None:
    clock = Clock()
    patience = FastavroFirst(lambda: kept, clock)
    assert not patience.compiled
    spend(patience, clock, enough_secs - 0.01)
    assert not patience.compiled
    spend(patience, clock, 0.02)
    assert patience.compiled
    spend(patience, clock, 0.0)
    assert patience.compiled


def test_nobody_asks_for_what_is_kept_before_it_matters() -> None:
    asked: list[int] = []
    clock = Clock()
    patience = FastavroFirst(lambda: bool(asked.append(1)), clock)
    spend(patience, clock, LOADING_SECS - 0.01)
    assert not patience.compiled
    assert not asked  # to ask is to load numba
    spend(patience, clock, 0.02)
    assert [patience.compiled, patience.compiled] == [False, False]
    assert asked == [1]


def never() -> FastavroFirst:
    """One that leaves all to fastavro."""
    return FastavroFirst(lambda: False, lambda: 0.0)


def both_ways(
    packets: Sequence[Packet], monkeypatch: pytest.MonkeyPatch, want: Projection = EVERYTHING
) -> tuple[Decoded, Decoded]:
    compiled = decode(packets, run_id="r", ingested_at=MOMENT, want=want)
    with monkeypatch.context() as patched:
        patched.setattr(decoding, "PATIENCE", never())
        return compiled, decode(packets, run_id="r", ingested_at=MOMENT, want=want)


def in_order(rows: pa.RecordBatch) -> pa.Table:
    """Rows by what no two packets share: those that only fastavro can read come last in a compiled batch."""
    return pa.Table.from_batches([rows]).sort_by([("source", "ascending"), ("packet_digest", "ascending")])


def told(letter: Any) -> Any:
    # fastavro's messages name Python objects by their address.
    return replace(letter, failed_at=MOMENT, message=re.sub(" at 0x[0-9a-f]+", "", letter.message))


def assert_equal(compiled: Decoded, by_fastavro: Decoded) -> None:
    assert compiled.rows.keys() == by_fastavro.rows.keys()
    for survey, rows in compiled.rows.items():
        other = by_fastavro.rows[survey]
        other.validate(full=True)
        assert rows.schema == other.schema
        # As text: NaN is not equal to itself.
        assert list(map(repr, in_order(rows).to_pylist())) == list(map(repr, in_order(other).to_pylist()))
    letters = [sorted(map(repr, map(told, one.failures))) for one in (compiled, by_fastavro)]
    assert letters[0] == letters[1]
    assert (compiled.unknown_fields, compiled.off_the_sky) == (by_fastavro.unknown_fields, by_fastavro.off_the_sky)


def packets_in(*paths: Path) -> list[Packet]:
    found = []
    for path in paths:
        with path.open("rb") as file:
            found += [one for one in read_input(file, str(path), WireSchemas()) if isinstance(one, Packet)]
    return found


@pytest.mark.parametrize("night", NIGHTS)
def test_real_nights_are_the_same_rows(real_data: Any, night: str, monkeypatch: pytest.MonkeyPatch) -> None:
    packets = packets_in(real_data / night)[:64]
    compiled, by_fastavro = both_ways(packets, monkeypatch)
    assert sum(rows.num_rows for rows in by_fastavro.rows.values()) == len(packets)
    assert_equal(compiled, by_fastavro)
    assert not +by_fastavro.one_by_one, "it is no fault of the packets"


@pytest.mark.parametrize("pattern", FILES)
def test_real_files_are_the_same_rows(real_data: Any, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_equal(*both_ways(packets_in(*real_data.glob(pattern)), monkeypatch))


@pytest.mark.parametrize("want", [Projection(history=False), Projection(stamps=False), Projection(history=False, stamps=False)])
def test_what_is_not_wanted_is_left_out_by_both(real_data: Any, want: Projection, monkeypatch: pytest.MonkeyPatch) -> None:
    packets = packets_in(real_data / "ztf/nightly/ztf_public_20200202.tar.gz")
    assert_equal(*both_ways(packets, monkeypatch, want))


@pytest.mark.parametrize("behind", [b"", bytes(64)], ids=["alone", "among others"])
def test_damaged_packets_are_the_same_letters(behind: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    packets = [
        Packet(packet.data[: packet.start] + datum + behind, packet.start, packet.start + len(datum), packet.schema, f"{number}")
        for number, (packet, datum) in enumerate(damaged())
    ]
    compiled, by_fastavro = both_ways(packets, monkeypatch)
    assert len(compiled.failures) > 5
    assert_equal(compiled, by_fastavro)


def damaged() -> list[tuple[Packet, bytes]]:
    [packet] = [one for one in open_packets(container([ztf_record(1)]), "a", WireSchemas()) if isinstance(one, Packet)]
    datum = bytes(packet.datum)
    whole = [datum[:length] for length in range(0, len(datum) + 1, 7)] + [datum, datum + b"\0"]
    return [(packet, one) for one in whole + [datum[:at] + b"\xff" + datum[at + 1 :] for at in range(0, len(datum), 5)]]


def test_a_packet_of_more_values_than_fastavro_may_make_is_the_same_row(monkeypatch: pytest.MonkeyPatch) -> None:
    record = ztf_record(2)
    [before, behind] = packets_of_bytes(2, 100)
    long_history = {**record, "prv_candidates": record["prv_candidates"][:1] * 19_000}
    [long] = [one for one in open_packets(container([long_history]), "long", WireSchemas()) if isinstance(one, Packet)]
    assert weigh_without_limit(long, monkeypatch) > MAX_ALERT_VALUES
    compiled, by_fastavro = both_ways([before, long, behind], monkeypatch)
    assert not compiled.failures
    assert not by_fastavro.failures
    assert in_order(by_fastavro.rows["ztf"]).equals(in_order(compiled.rows["ztf"]))


def weigh_without_limit(packet: Packet, monkeypatch: pytest.MonkeyPatch) -> int:
    with monkeypatch.context() as patched:
        patched.setattr(weighing, "MAX_ALERT_VALUES", 2**40)
        return weighing.weigh(packet.data, packet.start, packet.schema.nodes).values


def test_a_packet_that_only_fastavro_could_read_and_may_not_is_the_same_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    datums = [with_history(history(entries), number) for number, entries in enumerate([1, 350_000, 2])]
    packets = [Packet(datum, 0, len(datum), WRITER, f"{number}") for number, datum in enumerate(datums)]
    compiled, by_fastavro = both_ways(packets, monkeypatch)
    [letter] = by_fastavro.failures
    assert letter.message == f"the alert holds more than {MAX_ALERT_VALUES:,} values, the limit"
    assert_equal(compiled, by_fastavro)


@pytest.mark.parametrize("beyond", [0, 1])
def test_fastavro_is_first_for_what_cannot_be_beyond_its_limits(beyond: int, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 300_000
    [packet] = packets_of_bytes(1, size)
    longest = (MAX_ALERT_VALUES - MAX_ALERT_DEPTH) // weighing.VALUES_PER_BYTE
    packets = packets_of_bytes(2, size + longest - (packet.stop - packet.start) + beyond)
    assert {one.stop - one.start for one in packets} == {longest + beyond}
    patience = never()
    monkeypatch.setattr(decoding, "PATIENCE", patience)
    assert decode(packets).rows["ztf"].num_rows == 2
    assert patience.compiled == bool(beyond)


def test_no_more_is_held_at_once_than_one_alert_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    packets = packets_of_bytes(40, 60_000)
    held: list[int] = []
    one_by_one = decoding._decode_records

    def counted(chunk: list[Packet], *others: Any) -> Any:
        held.append(sum(len(packet.data) - packet.start for packet in chunk))
        return one_by_one(chunk, *others)

    monkeypatch.setattr(decoding, "PATIENCE", never())
    monkeypatch.setattr(decoding, "_decode_records", counted)
    decode(packets)
    assert sum(held) == sum(len(packet.data) - packet.start for packet in packets)
    assert len(held) > 1
    assert 2 * max(held) <= MAX_ALERT_VALUES


def packets_of_bytes(count: int, size: int) -> list[Packet]:
    """Packets with a stamp of so many bytes."""
    made = []
    for number in range(count):
        record = ztf_record(number + 1)
        record["cutoutScience"] = {"fileName": "a", "stampData": bytes(size)}
        made += [
            one for one in open_packets(container([record], ZTF_SCHEMA), f"{number}", WireSchemas()) if isinstance(one, Packet)
        ]
    return made


def test_a_batch_is_read_on_by_the_compiled_decoder_once_that_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    packets = packets_of_bytes(40, 60_000)
    clock = Clock()
    patience = FastavroFirst(lambda: True, clock)
    one_by_one = decoding._decode_records
    by_fastavro: Counter[str] = Counter()

    def costly(chunk: list[Packet], *others: Any) -> Any:
        clock.now += LOADING_SECS / 2
        by_fastavro["packets"] += len(chunk)
        return one_by_one(chunk, *others)

    monkeypatch.setattr(decoding, "PATIENCE", patience)
    monkeypatch.setattr(decoding, "_decode_records", costly)
    rows = decode(packets).rows["ztf"]
    assert rows.column("alert_id").to_pylist() == list(range(1, 41))
    assert 0 < by_fastavro["packets"] < 40
    assert patience.compiled


_FEW = """
import sys
from alerts.avro.decode import decode
from alerts.avro.inputs import read_input
from alerts.avro.wire_schemas import WireSchemas
with open(sys.argv[1], "rb") as file:
    found = decode(list(read_input(file, sys.argv[1], WireSchemas())))
loaded = [name for name in ("numba", "llvmlite", "astropy") if name in sys.modules]
print(sum(rows.num_rows for rows in found.rows.values()), *loaded)
"""


def test_a_few_packets_load_no_compiler_and_no_astropy(real_data: Any) -> None:
    night = real_data / "ztf/nightly/ztf_public_20200202.tar.gz"
    done = subprocess.run([sys.executable, "-c", _FEW, str(night)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["12"]


def test_neither_does_a_plain_container_that_is_longer_than_any_of_its_packets(tmp_path: Path) -> None:
    record = {**ztf_record(1), "cutoutScience": {"fileName": "a", "stampData": bytes(60_000)}}
    night = tmp_path / "night.avro"
    night.write_bytes(container([{**record, "candid": number} for number in range(12)], per_block=1))
    assert night.stat().st_size > MAX_ALERT_VALUES // weighing.VALUES_PER_BYTE
    done = subprocess.run([sys.executable, "-c", _FEW, str(night)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["12"]
