"""Messages whose attributes are absurd, or pass for ours."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage

from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from alerts.dead_letters import OWN_ATTRIBUTES, dead_letter_rows
from alerts.errors import DeadLetter
from alerts.limits import MAX_ATTRIBUTES_BYTES
from audit.audit import _unreadable
from tests.alerts.making import lsst_record, wire_message
from transforms.read_pubsub import open_message

SENT = datetime(2026, 11, 23, 5, 0, tzinfo=timezone.utc)


def opened(data: bytes, attributes: dict[str, str]) -> Packet | DeadLetter:
    (item,) = open_message(PubsubMessage(data, attributes, "7", SENT), WireSchemas())
    return item


def kept(letter: DeadLetter) -> dict[str, Any]:
    """The attributes of a letter's row."""
    [row] = dead_letter_rows([letter], "run 7").to_pylist()
    found: dict[str, Any] = json.loads(row["attributes"])
    return found


@pytest.mark.parametrize("name", sorted(OWN_ATTRIBUTES))
def test_an_attribute_that_is_called_like_one_of_ours_is_not_taken_for_it(name):
    forged = opened(b"<html>", {name: "9" * 30})
    assert isinstance(forged, DeadLetter)
    assert kept(forged)[f"sent_{name}"] == "9" * 30
    assert kept(forged).get(name) == kept(opened(b"<html>", {})).get(name)
    # One letter is one alert, whatever its sender says.
    assert _unreadable([forged]).column("records") == pa.chunked_array([[1]], pa.int64())


@pytest.mark.parametrize(
    "attributes",
    [
        {f"name{number}": "x" * 1024 for number in range(200)},
        {"x": "y" * (MAX_ATTRIBUTES_BYTES + 1)},
        {"n" * MAX_ATTRIBUTES_BYTES: "value"},
        {f"{number}": "" for number in range(100_000)},
    ],
    ids=["many", "value", "name", "names"],
)
@pytest.mark.parametrize("data", [b"<html>", wire_message(lsst_record(5))], ids=["letter", "alert"])
def test_attributes_beyond_what_pubsub_allows_are_left_out(attributes, data):
    item = opened(data, attributes)
    size = sum(len(name) + len(value) for name, value in attributes.items())
    assert item.attributes == {"sent_attributes_bytes": size, "published_at": SENT.isoformat()}


def test_as_many_as_pubsub_allows_are_kept():
    attributes = {f"{number:0256}": "v" * 1024 for number in range(100)}
    assert opened(b"<html>", attributes).attributes == attributes | {"published_at": SENT.isoformat()}


@pytest.mark.parametrize(
    "name", ["", "'; DROP TABLE dead_letters; --", "\0", "ünï", "a.b", "$.letter", "googclient_x", "\x1b[31m"]
)
def test_odd_attributes_are_kept_as_they_are(name):
    assert kept(opened(b"<html>", {name: name + "!"}))[name] == name + "!"
