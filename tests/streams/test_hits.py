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


def test_the_key_is_of_the_object_or_of_the_alert() -> None:
    def key(object_id: str | None, kind: str | None) -> str:
        return PassedAlert("ztf", 5, object_id, kind, None, AT, AT).key

    assert [key("7", "dia"), key("ZTF18aaa", None), key(None, None)] == ["dia:7", "object:ZTF18aaa", "alert:5"]
