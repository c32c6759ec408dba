"""From packets to rows: what every alert must have, what may be missing, and what a row says of it."""

from __future__ import annotations

import copy
import io
import json
import math
from datetime import date, datetime, timezone
from typing import Any

import fastavro
import pytest

from alerts.avro.decode import decode
from alerts.avro.packets import Packet, open_packets
from alerts.avro.wire_schemas import WireSchemas
from alerts.surveys import SURVEYS
from schemas import known_schemas
from tests.alerts.making import (
    LSST_SCHEMA,
    ZTF_SCHEMA,
    container,
    filled,
    ingest,
    lsst_record,
    tar_of,
    wire_message,
    ztf_packet,
    ztf_record,
)
from tests.compare import assert_row_equals_record

BUILT_IN = [(survey, version) for survey in SURVEYS for version in known_schemas(survey)]


def with_field(schema: Any, name: str, kind: Any, record: str | None = None) -> Any:
    """A schema with another field, or another type for a field, in the packet or in one of its records."""
    schema = copy.deepcopy(schema)
    fields = schema["fields"]
    if record:
        kinds = next(field["type"] for field in fields if field["name"] == record)
        fields = next(one for one in [kinds, *(kinds if isinstance(kinds, list) else [])] if "fields" in one)["fields"]
    fields[:] = [*(field for field in fields if field["name"] != name), {"name": name, "type": kind}]
    return schema


@pytest.mark.parametrize(("survey", "version"), BUILT_IN)
@pytest.mark.parametrize("null", [False, True], ids=["full", "null"])
def test_a_packet_of_every_built_in_schema_is_a_row_equal_to_it(survey, version, null):
    schema = known_schemas(survey)[version]
    record = filled(schema, 5, null)
    part = record.get("candidate") or record["diaSource"]
    time = 2458451.7 if SURVEYS[survey].time_format == "jd" else 60000.5
    part.update({path.split(".")[-1]: time for path in SURVEYS[survey].time if path.split(".")[-1] in part})
    part.update({name: degrees for name, degrees in (("ra", 10.0), ("dec", -5.0), ("decl", -5.0)) if name in part})
    file = container([record], schema)
    outcome = ingest(file)
    (row,) = outcome.rows
    assert_row_equals_record(row, next(fastavro.reader(io.BytesIO(file))), survey)
    assert row["extra"] is None
    assert not outcome.decoded.unknown_fields


@pytest.mark.parametrize("jd", [math.nan, math.inf, -math.inf, 0.0, -999.0, 2458451.7 - 2400000.5, 1e300, 2436934.4, 2488069.5])
def test_an_alert_without_a_time_on_our_calendar_is_a_dead_letter(jd):
    night = {"1.avro": ztf_packet(1), "2.avro": ztf_packet(2, jd=jd), "3.avro": ztf_packet(3)}
    outcome = ingest(tar_of(night), "n.tar")
    letter = outcome.one_letter()
    assert outcome.alert_ids == [1, 3]
    assert letter.message == f"the observation time candidate.jd is {jd!r}, not a JD (UTC) between 1960 and 2100"
    assert (letter.stage, letter.survey, letter.source) == ("decode", "ztf", "n.tar#2.avro")
    assert letter.payload == night["2.avro"]


@pytest.mark.parametrize(
    ("kind", "candid", "shown"),
    [
        (["null", "long"], None, "null"),
        ("double", 2.560123456789012e18, "2.560123456789012e+18, not an integer"),
        ("double", 7.0, "7.0, not an integer"),
        ("string", "2560123456789012345", "'2560123456789012345', not an integer"),
        (["null", "string", "long"], "7", "'7', not an integer"),
        ("boolean", True, "True, not an integer"),
    ],
)
def test_an_alert_whose_id_is_no_integer_is_a_dead_letter(kind, candid, shown):
    schema = with_field(ZTF_SCHEMA, "candid", kind)
    outcome = ingest(container([{**ztf_record(), "candid": candid}, {**ztf_record(), "candid": candid}], schema))
    assert not outcome.rows
    assert {letter.message for letter in outcome.letters} == {f"the alert id candid is {shown}"}
    assert len(outcome.letters) == 2


def test_an_integer_among_ids_of_several_types_is_an_id():
    schema = with_field(ZTF_SCHEMA, "candid", ["null", "string", "long"])
    outcome = ingest(container([{**ztf_record(), "candid": candid} for candid in (1, "2", 3, None)], schema))
    assert outcome.alert_ids == [1, 3]
    assert len(outcome.letters) == 2


@pytest.mark.parametrize(
    ("ra", "dec"),
    [
        (math.nan, 5.0),
        (5.0, math.nan),
        (360.001, 5.0),
        (-0.001, 5.0),
        (5.0, 90.001),
        (5.0, -91.0),
        (math.inf, 0.0),
        (-999.0, -999.0),
    ],
)
def test_an_alert_off_the_sky_stays_an_alert_that_no_position_finds(ra, dec):
    outcome = ingest(container([ztf_record(1), ztf_record(2, ra=ra, dec=dec)]))
    there, lost = outcome.rows
    assert there["healpix29"] is not None
    assert lost["healpix29"] is None
    assert_row_equals_record(lost, ztf_record(2, ra=ra, dec=dec), "ztf")
    assert outcome.decoded.off_the_sky == {"ztf": 1}
    assert not outcome.letters


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 90.0), (359.9999999, -90.0), (0.0, 0.0), (-0.0, 45.0)])
def test_the_edges_of_the_sky_are_on_it(ra, dec):
    (row,) = ingest(ztf_packet(ra=ra, dec=dec)).rows
    assert row["healpix29"] is not None


def test_a_right_ascension_of_360_is_0():
    """Beside ordinary, absent and impossible ones, which stay as they came; the packet's own field stays too."""
    schema = with_field(ZTF_SCHEMA, "ra", ["null", "double"], record="candidate")
    sent = [360.0, 12.5, None, math.nan, 361.0]
    outcome = ingest(container([ztf_record(number, ra=ra, dec=-35.0) for number, ra in enumerate(sent)], schema))
    rows = outcome.rows
    assert [repr(row["ra_deg"]) for row in rows] == ["0.0", "12.5", "None", "nan", "361.0"]
    assert [repr(row["candidate"]["ra"]) for row in rows] == [repr(ra) for ra in sent]
    (zero,) = ingest(ztf_packet(ra=0.0, dec=-35.0)).rows
    assert rows[0]["healpix29"] == zero["healpix29"]
    assert [row["healpix29"] is None for row in rows] == [False, False, True, True, True]
    assert outcome.decoded.off_the_sky == {"ztf": 3}


def test_a_position_that_a_rewritten_packet_lacks_is_null():
    schema = with_field(ZTF_SCHEMA, "ra", ["null", "double"], record="candidate")
    outcome = ingest(container([ztf_record(1, ra=None)], schema))
    assert (outcome.rows[0]["ra_deg"], outcome.rows[0]["healpix29"]) == (None, None)
    assert outcome.decoded.off_the_sky == {"ztf": 1}


@pytest.mark.parametrize(
    ("dia", "solar_system", "object_id", "kind"),
    [
        (5, 7, "5", "dia"),
        (0, 7, "7", "solar_system"),
        (None, 7, "7", "solar_system"),
        (0, 0, None, None),
        (None, None, None, None),
        (2**60 + 1, None, str(2**60 + 1), "dia"),
    ],
)
def test_which_object_a_rubin_alert_belongs_to(dia, solar_system, object_id, kind):
    (row,) = ingest(wire_message(lsst_record(diaObjectId=dia, ssObjectId=solar_system))).rows
    assert (row["object_id"], row["object_kind"]) == (object_id, kind)


def test_an_object_id_that_went_through_a_float_is_no_object_id():
    schema = with_field(LSST_SCHEMA, "diaObjectId", ["null", "double"], record="diaSource")
    (row,) = ingest(container([lsst_record(diaObjectId=1.7011204452935277e17, ssObjectId=7)], schema)).rows
    assert (row["object_id"], row["object_kind"]) == ("7", "solar_system")
    assert json.loads(row["extra"])["diaSource.diaObjectId"] == 1.7011204452935277e17


def test_arrays_null_empty_and_absent_are_kept_apart():
    no_history = with_field(ZTF_SCHEMA, "prv_candidates", "string")
    no_history["fields"] = [field for field in no_history["fields"] if field["name"] != "prv_candidates"]
    empty = {**ztf_record(1), "prv_candidates": [], "fp_hists": None}
    null = {**ztf_record(2), "prv_candidates": None, "fp_hists": []}
    first, second = ingest(container([empty, null])).rows
    (third,) = ingest(container([ztf_record(3)], no_history)).rows
    assert [(row["prv_candidates"], len(row["fp_hists"])) for row in (first, second, third)] == [([], 0), ([], 0), ([], 2)]
    assert [row["null_arrays"] for row in (first, second, third)] == [["fp_hists"], ["prv_candidates"], ["prv_candidates"]]


def test_fields_nobody_knows_go_into_extra_with_their_values_and_are_counted():
    schema = with_field(ZTF_SCHEMA, "photoz", ["null", "double"], record="candidate")
    schema = with_field(schema, "gaia_id", "long")
    schema = with_field(schema, "ssmagnr", "string", record="candidate")
    records = [ztf_record(number, photoz=photoz, ssmagnr="21.5") for number, photoz in ((1, 0.5), (2, math.nan), (3, None))]
    for record in records:
        record["gaia_id"] = 2**53 + 1
    outcome = ingest(container(records, schema))
    assert [json.loads(row["extra"])["candidate.photoz"] for row in outcome.rows] == [0.5, "NaN", None]
    assert {json.loads(row["extra"])["gaia_id"] for row in outcome.rows} == {"9007199254740993"}
    assert {row["candidate"]["ssmagnr"] for row in outcome.rows} == {None}
    expected = {"ztf: gaia_id": 3, "ztf: candidate.photoz": 3, "ztf: candidate.ssmagnr": 3}
    assert outcome.decoded.unknown_fields == expected


def test_a_new_field_that_the_schema_names_twice_is_kept_once():
    schema = with_field(ZTF_SCHEMA, "photoz", "double")
    schema["fields"].append({"name": "photoz", "type": "double"})
    (row,) = ingest(container([{**ztf_record(), "photoz": 0.25}], schema)).rows
    assert json.loads(row["extra"]) == {"photoz": 0.25}


def test_a_history_sent_as_something_else_is_an_empty_history_and_in_extra():
    schema = with_field(ZTF_SCHEMA, "prv_candidates", "string")
    record = {**ztf_record(), "prv_candidates": "see http://..."}
    (row,) = ingest(container([record], schema)).rows
    assert_row_equals_record(row, record, "ztf")
    assert (row["prv_candidates"], row["null_arrays"]) == ([], ["prv_candidates"])
    assert json.loads(row["extra"]) == {"prv_candidates": "see http://..."}


def allowing_null(schema: Any) -> Any:
    """A schema as Spark writes it: null is allowed in every place."""
    if isinstance(schema, list):
        return [*(allowing_null(one) for one in schema if one != "null"), "null"]
    if isinstance(schema, str):
        return schema
    if schema["type"] == "array":
        return {**schema, "items": nullable(schema["items"])}
    if schema["type"] == "record":
        return {**schema, "fields": [{"name": one["name"], "type": nullable(one["type"])} for one in schema["fields"]]}
    return schema


def nullable(schema: Any) -> Any:
    made = allowing_null(schema)
    return made if isinstance(made, list) else [made, "null"]


def test_a_history_that_may_hold_null_and_does_not_is_the_history():
    for survey, record in (("ztf", ztf_record(1)), ("lsst", lsst_record(1))):
        schema = allowing_null(ZTF_SCHEMA if survey == "ztf" else LSST_SCHEMA)
        packet = container([record], schema)
        (row,) = ingest(packet, survey=SURVEYS[survey]).rows
        assert_row_equals_record(row, next(fastavro.reader(io.BytesIO(packet))), survey, unions=False)
        assert row["extra"] is None
        assert len(row["prv_candidates" if survey == "ztf" else "prvDiaSources"]) == 2


@pytest.mark.parametrize("history", [[None, {"jd": 2458450.5}], [None], [{"jd": 2458450.5}], [], None])
def test_whether_an_item_of_a_history_is_null_decides_where_it_stands(history):
    # BigQuery has no NULL in arrays: a load file with one would be refused as a whole.
    entry = {"type": "record", "name": "entry", "fields": [{"name": "jd", "type": "double"}]}
    schema = with_field(ZTF_SCHEMA, "prv_candidates", ["null", {"type": "array", "items": ["null", entry]}])
    record = ztf_record(1) | {"prv_candidates": history}
    outcome = ingest(container([record, ztf_record(2) | {"prv_candidates": [{"jd": 2458451.5}]}], schema))
    row, other = outcome.rows
    in_extra = bool(history) and None in history
    assert [item["jd"] for item in row["prv_candidates"]] == ([] if in_extra else [item["jd"] for item in history or []])
    assert row["null_arrays"] == (["prv_candidates"] if history is None else [])
    assert row["extra"] is None if not in_extra else json.loads(row["extra"]) == {"prv_candidates": history}
    assert outcome.decoded.unknown_fields == ({"ztf: prv_candidates": 1} if in_extra else {})
    # Its neighbor in the batch is judged by itself.
    assert ([item["jd"] for item in other["prv_candidates"]], other["extra"]) == ([2458451.5], None)


def test_an_array_of_other_things_was_there_and_is_in_extra():
    schema = with_field(ZTF_SCHEMA, "prv_candidates", ["null", {"type": "array", "items": "string"}])
    sent = [["see", "there"], [], None]
    records = [ztf_record(number) | {"prv_candidates": history} for number, history in enumerate(sent)]
    rows = ingest(container(records, schema)).rows
    assert [row["prv_candidates"] for row in rows] == [[], [], []]
    assert [row["null_arrays"] for row in rows] == [[], [], ["prv_candidates"]]
    assert [json.loads(row["extra"])["prv_candidates"] for row in rows] == sent


def test_stamps_are_the_bytes_sent_and_null_where_there_are_none():
    with_stamps, without = {**ztf_record(1)}, {**ztf_record(2), "cutoutScience": None}
    with_stamps["cutoutScience"] = {"fileName": "s.fits.gz", "stampData": bytes(range(256)) * 50}
    first, second = ingest(container([with_stamps, without])).rows
    assert first["science"] == bytes(range(256)) * 50
    assert second["science"] is None
    assert first["cutoutScience"] == {"fileName": "s.fits.gz"}
    assert second["cutoutScience"] is None


def test_the_version_is_what_the_packet_says_else_what_its_schema_says():
    assert ingest(ztf_packet()).rows[0]["schema_version"] == "4.02"
    said = {**ztf_record(), "schemavsn": "3.2"}
    assert ingest(container([said])).rows[0]["schema_version"] == "3.2"
    schema = with_field(ZTF_SCHEMA, "schemavsn", ["null", "string"])
    assert ingest(container([{**said, "schemavsn": None}], schema)).rows[0]["schema_version"] == "4.02"
    assert ingest(wire_message(lsst_record())).rows[0]["schema_version"] == "10.0"
    assert ingest(container([filled_elasticc()], known_schemas("elasticc")["0.9"])).rows[0]["schema_version"] == "0.9"


def filled_elasticc() -> dict[str, Any]:
    record: dict[str, Any] = filled(known_schemas("elasticc")["0.9"])
    record["diaSource"]["midPointTai"] = 60000.1
    return record


def test_surveys_and_versions_come_in_one_batch_and_leave_as_one_table_each():
    files = [
        ztf_packet(1),
        wire_message(lsst_record(2)),
        ztf_packet(3),
        container([filled_elasticc()], known_schemas("elasticc")["0.9"]),
    ]
    packets = [one for data in files for one in open_packets(data, "s", WireSchemas()) if isinstance(one, Packet)]
    rows = decode(packets).rows
    assert {name: batch.num_rows for name, batch in rows.items()} == {"ztf": 2, "lsst": 1, "elasticc": 1}
    assert rows["ztf"].schema.names[: len(SURVEYS["ztf"].alerts_table.columns)] == list(SURVEYS["ztf"].alerts_table.by_name)


def test_nothing_in_is_nothing_out():
    assert decode([]).rows == {}


def test_the_run_and_the_moment_stand_in_every_row():
    moment = datetime(2026, 3, 10, 4, 5, 6, 789, tzinfo=timezone.utc)
    published = datetime(2026, 3, 10, 4, 5, 5, tzinfo=timezone.utc)
    (packet,) = open_packets(ztf_packet(jd=2461109.5), "message 5", WireSchemas(), published_at=published)
    assert isinstance(packet, Packet)
    (row,) = decode([packet], run_id="run 7", ingested_at=moment).rows["ztf"].to_pylist()
    assert (row["run_id"], row["ingested_at"], row["published_at"], row["source"]) == ("run 7", moment, published, "message 5")
    assert row["night"] == date(2026, 3, 10)


@pytest.mark.parametrize(
    ("seconds_after_midday_tai", "night"),
    [(0, date(2026, 3, 9)), (36, date(2026, 3, 9)), (38, date(2026, 3, 10))],  # midday UTC is 37 s later
)
def test_a_night_in_chile_begins_at_midday_utc(seconds_after_midday_tai, night):
    (row,) = ingest(wire_message(lsst_record(midpointMjdTai=61109.5 + seconds_after_midday_tai / 86400))).rows
    assert row["night"] == night


def test_a_night_at_palomar_is_the_utc_date():
    before, after = 2461109.5 - 1e-5, 2461109.5 + 1e-5
    rows = ingest(container([ztf_record(1, jd=before), ztf_record(2, jd=after)])).rows
    assert [row["night"] for row in rows] == [date(2026, 3, 9), date(2026, 3, 10)]


def test_a_survey_that_was_named_takes_packets_whose_schema_tells_nothing():
    schema = {**ZTF_SCHEMA, "name": "alert_of_the_day", "namespace": "my.broker"}
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "objectId"]
    (row,) = ingest(container([ztf_record(5)], schema), survey=SURVEYS["ztf"]).rows
    assert (row["survey"], row["alert_id"], row["object_id"]) == ("ztf", 5, None)


def test_packets_of_no_survey_are_dead_letters_that_name_the_surveys():
    schema = {"type": "record", "name": "weather", "fields": [{"name": "rain", "type": "double"}]}
    letter = ingest(container([{"rain": 1.5}], schema)).the_letter()
    assert letter.error_type == "UnknownSurvey"
    assert "ztf, lsst, decam, elasticc" in letter.message
    assert "--survey" in letter.message


@pytest.mark.parametrize("schema", ["string", "long", {"type": "array", "items": "long"}, {"type": "map", "values": "long"}])
@pytest.mark.parametrize("survey", [None, SURVEYS["ztf"]], ids=["auto", "ztf"])
def test_containers_of_things_that_are_no_records_are_dead_letters(schema, survey):
    value: Any = {"string": "a", "long": 5}.get(str(schema), {} if "map" in str(schema) else [1])
    letter = ingest(container([value], schema), survey=survey).the_letter()
    assert "not an Avro record" in letter.message


def test_a_value_that_its_column_does_not_take_is_a_dead_letter_and_its_neighbors_are_rows():
    schema = with_field(ZTF_SCHEMA, "ra", "string", record="candidate")
    outcome = ingest(container([ztf_record(n, ra=ra) for n, ra in ((1, "10.5"), (2, "10h 30m"), (3, "11.5"))], schema))
    assert {letter.error_type for letter in outcome.letters} == {"UndecodablePacket"}
    assert all("does not fit into ztf_alerts" in letter.message for letter in outcome.letters)
    assert len(outcome.letters) == 3


def test_a_dead_letter_keeps_what_the_message_brought():
    (packet,) = open_packets(ztf_packet(jd=math.nan), "m", WireSchemas(), attributes={"topic": "t"})
    assert isinstance(packet, Packet)
    (letter,) = decode([packet]).failures
    assert letter.attributes == {"topic": "t"}
