"""What is public: the alert and each item of its history, in batches and in rows alike."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from typing import Any

import fastavro
import pyarrow as pa
import pytest

from alerts.avro.decode import decode
from alerts.avro.inputs import read_input
from alerts.avro.layout import Projection
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from alerts.surveys import SURVEYS
from alerts.surveys.public import is_public, is_public_packet, public_but_for_histories, public_part, public_rows
from schemas import known_schemas
from simulation import simulate_packets
from tests.alerts.making import Outcome, container, ingest, outcome_of
from tests.conftest import RealData

ZTF = SURVEYS["ztf"]
SCHEMA = known_schemas("ztf")["4.02"]


def simulated(survey: str = "ztf", alerts: int = 30) -> list[dict[str, Any]]:
    """The packets of a made-up night, decoded by fastavro."""
    packets = simulate_packets(survey=survey, alerts=alerts, seed=4)
    return [next(fastavro.reader(io.BytesIO(packet.data))) for packet in packets]


def told(outcome: Outcome, survey: str = "ztf") -> list[bool]:
    """What is said of each row; of the batch, of a part of it and of its rows it must be the same."""
    rows = outcome.decoded.rows[survey]
    assert not outcome.letters
    mask = public_rows(rows, SURVEYS[survey]).tolist()
    assert mask == [is_public(row, SURVEYS[survey]) for row in outcome.rows]
    assert public_rows(rows.slice(1), SURVEYS[survey]).tolist() == mask[1:]
    return mask


def programs(value: Any) -> Iterator[int]:
    """Every program that is named anywhere in a packet or a row."""
    if isinstance(value, dict):
        yield from ([value["programid"]] if "programid" in value else [])
        for inner in value.values():
            yield from programs(inner)
    elif isinstance(value, list):
        for item in value:
            yield from programs(item)


def test_a_simulated_night_is_public() -> None:
    records = simulated()
    assert any(record["prv_candidates"] for record in records)
    assert any(record["fp_hists"] for record in records)
    assert told(ingest(container(records, SCHEMA))) == [True] * len(records)


def of_candidate(record: dict[str, Any], number: int) -> None:
    record["candidate"]["programid"] = number


def of_first_entry(record: dict[str, Any], number: int) -> None:
    record["prv_candidates"][0]["programid"] = number


def of_last_forced(record: dict[str, Any], number: int) -> None:
    record["fp_hists"][-1]["programid"] = number


@pytest.mark.parametrize("number", [0, 2, 3])
@pytest.mark.parametrize("taint", [of_candidate, of_first_entry, of_last_forced])
def test_one_measurement_of_another_program_keeps_the_whole_alert_back(
    taint: Callable[[dict[str, Any], int], None], number: int
) -> None:
    """The packet of a public exposure carries what the partnership measured of the object before."""
    records = simulated()
    chosen = [index for index, record in enumerate(records) if record["prv_candidates"] and record["fp_hists"]][1::2]
    assert chosen
    for index in chosen:
        taint(records[index], number)
    expected = [index not in chosen for index in range(len(records))]
    assert [is_public_packet(record, ZTF) for record in records] == expected
    assert told(ingest(container(records, SCHEMA))) == expected


def test_an_item_that_is_null_hides_none_of_the_others() -> None:
    """Its whole array then stands in ``extra``."""
    records = [record for record in simulated() if record["prv_candidates"]][:3]
    for record in records:
        record["prv_candidates"].append(None)
    records[1]["prv_candidates"][0]["programid"] = 2
    schema = copy.deepcopy(SCHEMA)
    [history] = [field for field in schema["fields"] if field["name"] == "prv_candidates"]
    [array] = [branch for branch in history["type"] if isinstance(branch, dict)]
    array["items"] = ["null", array["items"]]
    outcome = ingest(container(records, schema))
    assert [row["prv_candidates"] for row in outcome.rows] == [[], [], []]
    assert told(outcome) == [True, False, True]


def with_history(field: Any) -> Any:
    """ZTF's schema with an array more, of records with this field."""
    items = {"type": "record", "name": "ef", "fields": [field]}
    return SCHEMA | {"fields": [*SCHEMA["fields"], {"name": "ef_hists", "type": {"type": "array", "items": items}}]}


@pytest.mark.parametrize(
    ("items", "public"),
    [([], True), ([{"programid": 1}], True), ([{"programid": 1}, {"programid": 2}], False), ([{"programid": None}], False)],
)
def test_a_history_that_came_later_is_judged_too(items: list[dict[str, Any]], public: bool) -> None:
    schema = with_history({"name": "programid", "type": ["null", "int"]})
    records = [record | {"ef_hists": items} for record in simulated(alerts=2)]
    assert told(ingest(container(records, schema))) == [public, public]


def test_a_later_history_that_names_no_program_is_not_public() -> None:
    schema = with_history({"name": "flux", "type": "float"})
    records = [record | {"ef_hists": [{"flux": 1.0}]} for record in simulated(alerts=2)]
    assert told(ingest(container(records, schema))) == [False, False]


def test_without_its_history_an_alert_is_judged_by_itself() -> None:
    records = [record for record in simulated() if record["prv_candidates"]][:2]
    records[1]["prv_candidates"][0]["programid"] = 2
    items = list(read_input(io.BytesIO(container(records, SCHEMA)), "night.avro", WireSchemas()))
    packets = [item for item in items if isinstance(item, Packet)]
    rows = decode(packets, want=Projection(history=False, stamps=False)).rows["ztf"]
    assert public_rows(rows, ZTF).tolist() == [True, True]
    assert [is_public(row, ZTF) for row in rows.to_pylist()] == [True, True]


def test_what_is_public_of_an_alert_is_it_without_the_items_that_are_not() -> None:
    records = simulated()
    for number, record in enumerate(records):
        for name in ("prv_candidates", "fp_hists"):
            for place, item in enumerate(record[name] or ()):
                item["programid"] = 1 + (number + place) % 3
        if number % 5 == 0:
            record["prv_candidates"] = None
    expected = copy.deepcopy(records)
    for record in expected:
        for name in ("prv_candidates", "fp_hists"):
            record[name] = record[name] and [item for item in record[name] if item["programid"] == 1]
    rows = ingest(container(records, SCHEMA)).decoded.rows["ztf"]
    wanted = ingest(container(expected, SCHEMA)).decoded.rows["ztf"]
    assert public_but_for_histories(rows, ZTF).all()
    for begin in (0, 3):
        part = public_part(rows.slice(begin), ZTF)
        for name in ("prv_candidates", "fp_hists"):
            assert part.rows.column(name).type == rows.column(name).type
            assert part.rows.column(name).to_pylist() == wanted.column(name).slice(begin).to_pylist()
        assert public_rows(part.rows, ZTF).all()
        for record, kept in zip(records[begin:], part.kept, strict=True):
            for name in ("prv_candidates", "fp_hists"):
                of_program = [item["programid"] == 1 for item in record[name] or ()]
                assert kept.get(name, [True] * len(of_program)) == of_program
                assert name in kept or all(of_program)


def test_what_cannot_be_judged_is_not_public() -> None:
    rows = ingest(container(simulated(alerts=3), SCHEMA)).decoded.rows["ztf"]
    assert public_rows(rows.drop_columns(["candidate"]), ZTF).tolist() == [False] * 3
    assert public_rows(rows.drop_columns(["extra"]), ZTF).tolist() == [True] * 3
    # A program without which nobody can judge, in the alert or in its history.
    for name in ("candidate", "prv_candidates"):
        column, kind = rows.column(name), rows.column(name).type
        bare = pa.struct([field for field in (kind if name == "candidate" else kind.value_type) if field.name != "programid"])
        without = pa.array(column.to_pylist(), bare if name == "candidate" else pa.list_(bare))
        judged = public_rows(rows.set_column(rows.schema.get_field_index(name), name, without), ZTF).tolist()
        assert judged == [name != "candidate" and not entries for entries in column.to_pylist()]
    row = rows.to_pylist()[0]
    assert is_public(row, ZTF)
    assert not is_public({name: value for name, value in row.items() if name != "candidate"}, ZTF)
    assert not is_public(row | {"candidate": None}, ZTF)
    assert not is_public(row | {"candidate": {"jd": 1.0}}, ZTF)
    # As BigQuery's client gives JSON.
    assert not is_public(row | {"extra": {"ef_hists": [{"programid": 3}]}}, ZTF)
    assert is_public(row | {"extra": {"candidate.new": 7, "ef_hists": [None]}}, ZTF)


def test_all_that_rubin_sends_is_public_and_of_others_nothing_is_known(real_data: RealData) -> None:
    records = simulated("lsst", 4)
    outcome = ingest(container(records, known_schemas("lsst")["10.0"]))
    assert told(outcome, "lsst") == [True] * 4
    assert SURVEYS["lsst"].public == "all"
    [packet] = real_data.glob("other_surveys/decam/*.avro")
    assert told(ingest(packet.read_bytes(), str(packet)), "decam") == [False]


@pytest.mark.parametrize("night", ["20200202", "20231012", "20240715"])
def test_real_nights_are_public_where_every_program_in_a_packet_is(night: str, real_data: RealData) -> None:
    path = real_data / f"ztf/nightly/ztf_public_{night}.tar.gz"
    with path.open("rb") as file:
        outcome = outcome_of(read_input(file, str(path), WireSchemas()))
    found = told(outcome)
    assert found == [set(programs(row)) == {1} for row in outcome.rows]
    assert any(found)
    # And once more with one entry of each that is not.
    for row in outcome.rows:
        if row["prv_candidates"]:
            row["prv_candidates"][-1]["programid"] = 2
            assert not is_public(row, ZTF)
