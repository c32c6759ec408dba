"""The text of a schema changed at random: the packet is a row or a dead letter, and nothing ends the process."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.alerts.attacks import DATUM, PACKET, with_schema
from tests.alerts.making import ZTF_SCHEMA, examples, ingest, tar_of
from tests.fuzz.making import accidents, assert_accounted, in_time, suffer

TEXT = json.dumps(ZTF_SCHEMA)
WORDS = [
    *(
        "type",
        "name",
        "namespace",
        "fields",
        "items",
        "values",
        "symbols",
        "size",
        "logicalType",
        "version",
        "default",
        "aliases",
    ),
    *("record", "error", "enum", "fixed", "array", "map", "union", "error_union", "request", "null", "bytes", "string", "long"),
    *(
        "ztf.alert",
        "ztf.alert.candidate",
        "candidate",
        "candid",
        "objectId",
        "prv_candidates",
        "stampData",
        "decimal",
        "precision",
    ),
    *("__fastavro_parsed", "__named_schemas", "..", "", "a.b.c", "'; DROP TABLE x", "../../x", "\ud800", "\0"),
]
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(WORDS),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from([0, 1, -1, 2**31]),
)
anything = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)),
    max_leaves=8,
)
changes = st.lists(
    st.tuples(st.sampled_from(["replace", "drop", "double", "rename", "wrap"]), st.integers(0, 10**6), anything),
    min_size=1,
    max_size=3,
)


def changed(schema: Any, some: list[tuple[str, int, Any]]) -> Any:
    """The schema with some of its parts replaced, dropped, doubled, renamed or wrapped."""
    schema = json.loads(json.dumps(schema))
    for kind, number, value in some:
        places = list(_places(schema))
        if not places:
            return value
        holder, key = places[number % len(places)]
        if kind == "replace":
            holder[key] = value
        elif kind == "drop":
            del holder[key]
        elif kind == "double" and isinstance(holder, list):
            holder.insert(key, holder[key])
        elif kind == "rename" and isinstance(holder, dict):
            holder[str(value)[:20]] = holder.pop(key)
        else:
            holder[key] = {"type": holder[key], "name": str(value)[:20]}
    return schema


def _places(schema: Any) -> Any:
    for key, one in schema.items() if isinstance(schema, dict) else enumerate(schema) if isinstance(schema, list) else ():
        yield schema, key
        yield from _places(one)


@examples(300)
@given(changes)
def test_a_changed_schema_makes_a_row_or_a_dead_letter(some):
    text = json.dumps(changed(ZTF_SCHEMA, some)).encode()
    with in_time():
        outcome = ingest(with_schema(text))
        assert_accounted(outcome)
        assert len(outcome.rows) + len(outcome.letters) == 1
        several = ingest(with_schema(text, 3 * DATUM, 3))
        assert_accounted(several)
        among = ingest(tar_of({"1.avro": PACKET, "2.avro": with_schema(text)}), "n.tar")
    assert [row["alert_id"] for row in among.rows if row["source"] == "n.tar#1.avro"] == [1]
    assert all(row["survey"] in ("ztf", "decam", "winter", "pgir", "elasticc", "lsst") for row in outcome.rows)


@examples(150)
@given(accidents())
def test_a_damaged_text_of_a_schema_makes_a_row_or_a_dead_letter(some):
    with in_time():
        outcome = ingest(with_schema(suffer(TEXT.encode(), some)))
    assert_accounted(outcome)
    assert len(outcome.rows) + len(outcome.letters) == 1
