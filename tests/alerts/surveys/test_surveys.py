"""Whose alert it is: by the name of its schema, else by its fields, and never by a guess."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from alerts.errors import UnknownSurvey
from alerts.surveys import SURVEYS, identify, survey
from alerts.surveys.survey import has_path, record_name, type_at
from schemas import known_schemas

BUILT_IN = [(name, version) for name in SURVEYS for version in known_schemas(name)]


def renamed(schema: Any, name: str = "topLevelRecord") -> Any:
    """A schema as Spark rewrites it: another name, every field nullable."""
    fields = [{**field, "type": nullable(field["type"])} for field in schema["fields"]]
    return {"type": "record", "name": name, "fields": fields}


def nullable(kind: Any) -> Any:
    return kind if isinstance(kind, list) else [kind, "null"]


@pytest.mark.parametrize(("name", "version"), BUILT_IN)
def test_every_built_in_schema_is_known_by_its_name(name, version):
    schema = known_schemas(name)[version]
    assert [one.name for one in SURVEYS.values() if one.is_named(schema)] == [name]
    assert identify(schema) is SURVEYS[name]


@pytest.mark.parametrize(("name", "version"), BUILT_IN)
def test_every_built_in_schema_is_known_by_its_fields_when_its_name_is_lost(name, version):
    schema = renamed(known_schemas(name)[version])
    assert [one.name for one in SURVEYS.values() if one.fits(schema)] == [name]
    for anonymous in ("topLevelRecord", "topLevelRecord.value", "", "spark_schema", "alert"):
        assert identify({**schema, "name": anonymous}) is SURVEYS[name]


@pytest.mark.parametrize(
    "named", ["BabamulZtfAlert", "rapid.v01_00.alert", "babamul.alert", "my.topLevelRecord", "lsst.v10_0.diaSource"]
)
@pytest.mark.parametrize("name", SURVEYS)
def test_a_name_that_is_no_surveys_decides_whatever_the_fields_are(name, named):
    schema = renamed(list(known_schemas(name).values())[-1], named)
    with pytest.raises(UnknownSurvey, match=f"schema '{named}' is of none of ztf, lsst"):
        identify(schema)


def with_fields(schema: Any, record: str, *names: str) -> Any:
    """An anonymous schema whose record has further fields."""
    schema = copy.deepcopy(renamed(schema))
    [kind] = [field["type"] for field in schema["fields"] if field["name"] == record]
    [inner] = [branch for branch in kind if isinstance(branch, dict)]
    inner["fields"] += [{"name": name, "type": "int"} for name in names]
    return schema


def test_a_field_among_the_measurements_that_no_version_has_contradicts():
    # The Roman telescope's diaSource has all by which LSST's is known, and this.
    roman = with_fields(known_schemas("lsst")["10.0"], "diaSource", "sca", "hp6")
    with pytest.raises(UnknownSurvey, match=r"is like lsst's, but no version of that has diaSource\.hp6, diaSource\.sca; name"):
        identify(roman)
    with pytest.raises(UnknownSurvey, match=r"is like ztf's, but no version of that has candidate\.snr"):
        identify(with_fields(known_schemas("ztf")["4.02"], "candidate", "snr"))


def test_what_a_broker_adds_beside_the_measurements_does_not():
    schema = copy.deepcopy(renamed(known_schemas("ztf")["3.3"]))
    schema["fields"] += [{"name": name, "type": "string"} for name in ("cdsxmatch", "publisher_of_ours")]
    assert identify(schema).name == "ztf"


def test_a_record_of_another_survey_contradicts():
    schema = copy.deepcopy(renamed(known_schemas("lsst")["10.0"]))
    schema["fields"].append({"name": "candidate", "type": {"type": "record", "name": "c", "fields": []}})
    with pytest.raises(UnknownSurvey, match="is like lsst's, but no version of that has candidate"):
        identify(schema)


def test_one_that_lacks_a_field_by_which_a_survey_is_known_is_nobodys():
    schema = renamed(known_schemas("ztf")["4.02"])
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "candid"]
    with pytest.raises(UnknownSurvey, match=r"'topLevelRecord' is of none of .*: its fields are candidate, cutoutDifference"):
        identify(schema)


def test_the_name_counts_more_than_the_fields():
    assert identify({**known_schemas("lsst")["10.0"], "namespace": "", "name": "ztf.alert"}).name == "ztf"


@pytest.mark.parametrize(
    ("namespace", "name", "expected"),
    [
        ("lsst.v12_3", "alert", "lsst"),
        ("", "lsst.v9_0.alert", "lsst"),
        ("elasticc.v0_9_1", "alert", None),
        ("ztf", "alert", "ztf"),
        ("ztf", "alerts", None),
        ("my.ztf", "alert", None),
        ("lsst.v10_0", "diaSource", None),
    ],
)
def test_a_new_version_of_a_known_survey_is_known_and_a_name_that_is_only_alike_is_not(namespace, name, expected):
    schema = {"type": "record", "name": name, "namespace": namespace, "fields": []}
    if expected:
        assert identify(schema).name == expected
    else:
        with pytest.raises(UnknownSurvey):
            identify(schema)


def test_a_schema_of_no_survey_is_an_error_that_names_the_known_ones_and_the_remedy():
    with pytest.raises(UnknownSurvey) as error:
        identify({"type": "record", "name": "weather.report", "fields": []})
    assert f"'weather.report' is of none of {', '.join(SURVEYS)}" in str(error.value)
    assert "--survey" in str(error.value)


def test_fields_that_fit_two_surveys_decide_nothing():
    both = renamed(known_schemas("ztf")["4.02"])
    others = copy.deepcopy(renamed(known_schemas("lsst")["10.0"])["fields"])
    both["fields"] += [field for field in others if field["name"] == "diaSource"]
    with pytest.raises(UnknownSurvey, match=r"fits ztf, lsst; name the survey with --survey"):
        identify(both)


@pytest.mark.parametrize(
    "schema", ["long", ["null", "long"], {"type": "array", "items": "long"}, {"type": "enum", "symbols": []}]
)
def test_what_is_no_record_is_no_alert(schema):
    with pytest.raises(UnknownSurvey, match="not an Avro record"):
        identify(schema)


def test_a_survey_by_its_name():
    assert survey("lsst") is SURVEYS["lsst"]
    with pytest.raises(UnknownSurvey, match=r"'Lsst' is not known; known are ztf, lsst, decam, elasticc, pgir, winter"):
        survey("Lsst")


@pytest.mark.parametrize("name", SURVEYS)
def test_a_survey_that_went_to_a_worker_is_still_itself(name):
    assert pickle.loads(pickle.dumps(SURVEYS[name])) is SURVEYS[name]


@pytest.mark.parametrize(("name", "version"), BUILT_IN)
def test_the_facts_of_a_survey_hold_for_each_of_its_versions(name, version):
    facts, schema = SURVEYS[name], known_schemas(name)[version]
    for paths, kinds in (
        (facts.alert_id, {"long"}),
        (facts.ra_deg, {"double"}),
        (facts.dec_deg, {"double"}),
        (facts.time, {"double"}),
    ):
        assert {type_at(schema, path) for path in paths if has_path(schema, path)} <= kinds
        assert any(has_path(schema, path) for path in paths), paths
    assert any(has_path(schema, path) for path, _ in facts.object_ids)


def test_where_and_how_each_survey_counts_its_time():
    facts = {one.name: (one.time_format, one.time_scale, one.night_starts_utc_hours) for one in SURVEYS.values()}
    assert (
        facts.items()
        >= {
            "ztf": ("jd", "utc", 0),  # Palomar
            "winter": ("jd", "utc", 0),
            "pgir": ("jd", "utc", 0),
            "decam": ("mjd", "utc", 12),  # Chile
            "lsst": ("mjd", "tai", 12),
            "elasticc": ("mjd", "tai", 12),
        }.items()
    )


def test_names_of_records_are_told_in_full():
    assert record_name({"name": "alert", "namespace": "lsst.v10_0"}) == "lsst.v10_0.alert"
    assert record_name({"name": "lsst.v10_0.alert", "namespace": "other"}) == "lsst.v10_0.alert"
    assert record_name({"name": "alert"}) == "alert"
    assert record_name({}) == ""


def test_paths_follow_names_and_nulls_but_not_arrays():
    inner = {"type": "record", "name": "x.inner", "fields": [{"name": "b", "type": ["null", "long"]}]}
    schema = {
        "type": "record",
        "name": "outer",
        "fields": [
            {"name": "first", "type": {"type": "array", "items": inner}},
            {"name": "second", "type": ["null", "x.inner"]},
            {"name": "third", "type": {"type": "map", "values": "long"}},
        ],
    }
    assert has_path(schema, "second.b")
    assert type_at(schema, "second.b") == "long"
    assert not has_path(schema, "first.b")
    assert not has_path(schema, "third.b")
    assert not has_path(schema, "second.b.c")
    assert not has_path("long", "a")
