"""Hits as messages: what stands beside them in Pub/Sub."""

from __future__ import annotations

from datetime import UTC, datetime

from streams.attributes import KEY, from_attributes, to_attributes
from streams.hits import Hit, PassedAlert

AT = datetime(2026, 11, 29, tzinfo=UTC)


def test_attributes_are_the_headers_and_the_key_and_nothing_else() -> None:
    hit = Hit(PassedAlert("lsst", 2**62, "7", "dia", 2**61, AT, AT), "fast", "abc", '{"fade":1}', AT, replay=True)
    found = to_attributes(hit.message(b"x"))
    assert found == hit.headers | {KEY: "dia:7"}
    assert from_attributes(b"x", found) == hit.message(b"x")
