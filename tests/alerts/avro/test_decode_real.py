"""Every field of every real alert, as fastavro reads it and as it stands in the row."""

from __future__ import annotations

import io
import tarfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import fastavro
import pytest

from alerts.avro.inputs import read_input
from alerts.avro.wire_schemas import WireSchemas
from alerts.surveys import SURVEYS
from schemas import known_schemas
from tests.alerts.making import Outcome, outcome_of
from tests.compare import assert_row_equals_record

NIGHTS = {
    "ztf/nightly/ztf_commissioning_20171218.tar.gz": 821,
    "ztf/nightly/ztf_public_20180626.tar.gz": 100,
    "ztf/nightly/ztf_public_20180819_mod1000.tar.gz": 30,
    "ztf/nightly/ztf_public_20181129.tar.gz": 498,
    "ztf/nightly/ztf_public_20200202.tar.gz": 12,
    "ztf/nightly/ztf_public_20231012.tar.gz": 24,
    "ztf/nightly/ztf_public_20231018.tar.gz": 220,
    "ztf/nightly/ztf_public_20240715.tar.gz": 10,
    "lsst/nightly/lsst_20260310_v10_0.tar.gz": 24,
    "lsst/nightly/lsst_test_v9_0.tar.gz": 16,
    "lsst/nightly/lsst_test_v7_4.tar.gz": 10,
    "elasticc/elasticc_v0_9.tar.gz": 1500,
}
FILES = {
    "ztf/by_version/*.avro": 10,
    "ztf/multi_record/*.avro": 85,
    "lsst/ocf/*.avro": 1,
    "lsst/official_samples/*.avro": 14,
    "lsst/spark_rewritten/*.avro": 4,
    "lsst/wire_confluent/*.bin": 20,
    "other_surveys/decam/*.avro": 1,
    "other_surveys/pgir/*.avro": 4,
    "other_surveys/winter/*.avro": 3,
}


def broker_reads(*paths: Path) -> Outcome:
    """What the broker makes of input files."""
    items = []
    for path in paths:
        with path.open("rb") as file:
            items += list(read_input(file, str(path), WireSchemas()))
    return outcome_of(items)


def fastavro_reads(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of an input file by their source, without the broker's help."""
    if path.suffix == ".bin":
        message = path.read_bytes()
        schema_id = int.from_bytes(message[1:5], "big")
        schema = fastavro.parse_schema(known_schemas("lsst")[f"{schema_id // 100}.{schema_id % 100}"], named_schemas={})
        return {str(path): [fastavro.schemaless_reader(io.BytesIO(message[5:]), schema, None)]}
    if path.suffix == ".avro":
        with path.open("rb") as file:
            return {str(path): list(fastavro.reader(file))}
    with tarfile.open(path) as archive:
        members = [(member.name, archive.extractfile(member)) for member in archive]
        return {f"{path}#{name}": list(fastavro.reader(file)) for name, file in members if file}


def assert_same_alerts(outcome: Outcome, *paths: Path) -> None:
    """Every record is a row, and every row is its record."""
    assert not outcome.letters
    rows = defaultdict(list)
    for row in outcome.rows:
        rows[row["source"]].append(row)
    records = {source: found for path in paths for source, found in fastavro_reads(path).items()}
    assert {source: len(found) for source, found in rows.items()} == {source: len(found) for source, found in records.items()}
    for source, found in records.items():
        for row, record in zip(rows[source], found, strict=True):
            assert_row_equals_record(row, record, row["survey"], unions=False)


@pytest.mark.parametrize(("night", "alerts"), NIGHTS.items())
def test_every_alert_of_a_night_is_a_row_equal_to_its_packet(real_data, night, alerts):
    outcome = broker_reads(real_data / night)
    assert len(outcome.rows) == alerts
    assert set(outcome.decoded.rows) == {night.partition("/")[0]}
    assert not outcome.decoded.unknown_fields
    assert not outcome.decoded.off_the_sky
    assert not +outcome.decoded.one_by_one, "the fast way was not taken"
    assert_same_alerts(outcome, real_data / night)


@pytest.mark.parametrize(("pattern", "alerts"), FILES.items())
def test_every_alert_of_single_files_is_a_row_equal_to_its_packet(real_data, pattern, alerts):
    paths = real_data.glob(pattern)
    outcome = broker_reads(*paths)
    # Of what the project keeps itself, each is a file of one alert.
    assert len(outcome.rows) == (alerts if real_data.larger else len(paths))
    assert set(outcome.decoded.rows) == {pattern.split("/")[1 if pattern.startswith("other") else 0]}
    assert_same_alerts(outcome, *paths)


def test_ztf_counts_its_nights_as_we_do(real_data):
    nights = [path for path in NIGHTS if path.startswith("ztf")]
    rows = broker_reads(*(real_data / night for night in nights)).rows
    assert len(rows) == 1715
    for row in rows:
        assert (row["night"].toordinal() - 736330) == row["candidate"]["nid"], row["source"]  # 736330 is 2017-01-01


def test_rubin_counts_its_nights_as_we_do(real_data):
    rows = broker_reads(*(real_data / night for night in NIGHTS if night.startswith("lsst"))).rows
    visits = {row["diaSource"]["visit"]: row["night"] for row in rows if len(str(row["diaSource"]["visit"])) == 13}
    assert len(visits) == 8
    for visit, night in visits.items():
        assert f"{night:%Y%m%d}" == str(visit // 100000)


def test_rubin_alerts_of_asteroids_belong_to_a_solar_system_object(real_data):
    rows = broker_reads(real_data / "lsst/nightly/lsst_20260310_v10_0.tar.gz").rows
    asteroids = [row for row in rows if row["ssSource"] is not None]
    assert Counter(row["object_kind"] for row in rows) == {"dia": 18, "solar_system": 6}
    assert len(asteroids) == 6
    for row in asteroids:
        assert row["object_kind"] == "solar_system"
        assert row["object_id"] == str(row["diaSource"]["ssObjectId"])
        assert row["diaSource"]["diaObjectId"] == 0
        assert row["diaObject"] is None


def test_official_rubin_samples_are_fourteen_alerts_under_one_id(real_data):
    rows = broker_reads(*sorted((real_data / "lsst/official_samples").glob("*.avro"))).rows
    assert len(rows) == 14
    assert len({row["alert_id"] for row in rows}) == 1
    # Versions 4.0 and 5.0, 7.0 and 7.1, 9.0 and 10.0 are the same bytes under other field names: the digest is of the bytes.
    assert len({row["packet_digest"] for row in rows}) == 11
    versions = {"3.0", "4.0", "5.0", "6.0", "6.1", "7.0", "7.1", "7.2", "7.3", "7.4", "8.0", "9.0", "10.0", "11.0"}
    assert {row["schema_version"] for row in rows} == versions


def test_wire_messages_say_their_version_by_their_number(real_data):
    paths = real_data.glob("lsst/wire_confluent/*.bin")
    rows = broker_reads(*paths).rows
    assert len(rows) == len(paths) >= 13
    for row in rows:
        major, minor = row["schema_version"].split(".")
        assert f"_id{int(major) * 100 + int(minor)}_" in row["source"]


def test_rewritten_ztf_alerts_are_ztf_alerts_with_more_fields(real_data):
    outcome = broker_reads(*sorted((real_data / "ztf/multi_record").glob("*.avro")))
    assert {row["survey"] for row in outcome.rows} == {"ztf"}
    assert all(row["extra"] for row in outcome.rows)
    assert outcome.decoded.unknown_fields["ztf: cdsxmatch"] == 85


def test_two_alerts_of_one_object_in_a_night_are_two_rows(real_data):
    rows = broker_reads(real_data / "ztf/nightly/ztf_public_20200202.tar.gz").rows
    (twice,) = [name for name, count in Counter(row["object_id"] for row in rows).items() if count > 1]
    assert len({row["alert_id"] for row in rows if row["object_id"] == twice}) == 2


def test_rubin_sends_null_and_empty_histories_and_the_rows_keep_them_apart(real_data):
    rows = broker_reads(real_data / "lsst/nightly/lsst_20260310_v10_0.tar.gz").rows
    none = [row for row in rows if not row["prvDiaForcedSources"]]
    null = [row for row in none if "prvDiaForcedSources" in row["null_arrays"]]
    assert (len(null), len(none) - len(null)) == (6, 1)


def test_every_survey_has_real_packets_here():
    folders = {path.removeprefix("other_surveys/").split("/")[0] for path in [*NIGHTS, *FILES]}
    assert folders == set(SURVEYS)
