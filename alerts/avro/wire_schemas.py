"""Writer schemas: parsed once per process, and found by number for wire messages, which carry only a number."""

from __future__ import annotations

import functools
import json
import math
import os
import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro.schema

from alerts.avro.schema_limits import load_schema
from alerts.avro.weigh import Nodes, nodes_of
from alerts.errors import AlertError, UnknownSchema, UnreadableInput
from alerts.limits import (
    MAX_KEPT_SCHEMAS_BYTES,
    MAX_REGISTRY_ANSWER_BYTES,
    MAX_SCHEMA_BYTES,
    MAX_WIRE_REFUSALS,
    REGISTRY_DEADLINE_SECS,
)
from alerts.secrets import holds_credential
from alerts.surveys import SURVEYS
from alerts.surveys.survey import record_name
from schemas import known_schemas, parse_text
from schemas.avro_files import AvroSchema, branches_of

REGISTRY_USER, REGISTRY_PASSWORD = "PITT_BROKER_REGISTRY_USER", "PITT_BROKER_REGISTRY_PASSWORD"
"""Environment variables with what a registry asks for (of Confluent Cloud: an API key and its secret)."""
_ASK_AGAIN_SECS = 30
"""How long a refusal is remembered."""


@dataclass(frozen=True)
class WriterSchema:
    """The schema a datum was written with. Make one with ``writer_schema``, which parses each text only once."""

    text: bytes
    wire_id: int | None = None

    @functools.cached_property
    def declared(self) -> AvroSchema:
        """The schema as JSON gives it."""
        return json.loads(self.text)

    @functools.cached_property
    def parsed(self) -> Any:
        """The schema ready for ``fastavro.schemaless_reader``."""
        return parse_text(self.text)

    @functools.cached_property
    def nodes(self) -> Nodes:
        """The schema for finding where a datum ends, ``alerts.avro.weigh``."""
        return nodes_of(self.parsed)

    @functools.cached_property
    def branches(self) -> tuple[WriterSchema, ...]:
        """Of a schema that is a union at its top, the schema of each branch by itself; none of any other schema."""
        if not isinstance(self.declared, list):
            return ()
        return tuple(writer_schema(json.dumps(branch).encode(), self.wire_id) for branch in branches_of(self.parsed))

    @functools.cached_property
    def version(self) -> str | None:
        """Schema version by the schema itself: its ``version``, else the ``v10_0`` in its name; None if it has neither."""
        if not isinstance(self.declared, dict):
            return None
        if self.declared.get("version") is not None:
            return str(self.declared["version"])
        numbers = re.search(r"\bv(\d+)_(\d+)\b", record_name(self.declared))
        return f"{numbers[1]}.{numbers[2]}" if numbers else None

    def __reduce__(self) -> tuple[object, tuple[bytes, int | None]]:
        return writer_schema, (self.text, self.wire_id)


_kept: OrderedDict[tuple[bytes, int | None], WriterSchema] = OrderedDict()
"""Schemas met lately, latest last."""
_kept_lock = threading.Lock()


def writer_schema(text: bytes, wire_id: int | None = None) -> WriterSchema:
    """The writer schema for a schema text. Raises ``UnreadableInput`` when the text is no valid Avro schema."""
    key = text, wire_id
    with _kept_lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    schema = _parsed(text, wire_id)
    with _kept_lock:
        _kept[key] = schema
        while sum(len(text) for text, _ in _kept) > MAX_KEPT_SCHEMAS_BYTES:
            _kept.popitem(last=False)
    return schema


def _parsed(text: bytes, wire_id: int | None) -> WriterSchema:
    schema = WriterSchema(text, wire_id)
    try:
        load_schema(text)
        schema.nodes  # noqa: B018 - parse now, so that a bad schema fails here
    except AlertError:
        raise
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
        fastavro.schema.SchemaParseException,
        fastavro.schema.UnknownType,
    ) as error:
        raise UnreadableInput(f"the schema is not valid Avro ({type(error).__name__}: {str(error)[:160]})") from error
    return schema


def check_registry(url: str) -> None:
    """Refuse a registry's URL that would carry a secret wherever options go. Raises ``ValueError``, in one sentence."""
    if holds_credential(url):
        raise ValueError(
            "the registry's URL holds a credential, which would be stored with the run; "
            f"give it in the environment variables {REGISTRY_USER} and {REGISTRY_PASSWORD}"
        )


class WireSchemas:
    """Writer schemas of wire messages by their id: those of ``location`` first, then the built-in ones.

    ``location`` is a folder with files ``{id}.avsc`` or the URL of a Confluent schema registry.
    """

    def __init__(self, location: str | None = None) -> None:
        self.location = location
        self._found: dict[int, WriterSchema] = {}
        self._refused: OrderedDict[int, tuple[float, str]] = OrderedDict()
        self._registry_failed: tuple[float, str] = (-math.inf, "")

    def get(self, wire_id: int) -> WriterSchema:
        """The schema of that id. Raises ``UnknownSchema``, or ``UnreadableInput`` when it is no valid schema."""
        if wire_id in self._found:
            return self._found[wire_id]
        refused_at, message = self._refused.get(wire_id, (-math.inf, ""))
        if time.monotonic() - refused_at < _ASK_AGAIN_SECS:
            raise UnknownSchema(message)
        try:
            self._found[wire_id] = writer_schema(self._text(wire_id), wire_id)
        except UnknownSchema as error:
            # A registry must not be asked, nor waited for, for every message of a night.
            self._refused[wire_id] = time.monotonic(), str(error)
            if len(self._refused) > MAX_WIRE_REFUSALS:
                self._refused.popitem(last=False)
            raise
        return self._found[wire_id]

    def _text(self, wire_id: int) -> bytes:
        text = self._supplied(wire_id) or _built_in(wire_id)
        if text is None:
            raise UnknownSchema(
                f"wire schema id {wire_id} is not known; supply it with --schemas FOLDER (holding {wire_id}.avsc) "
                "or --schemas URL (of a Confluent schema registry)"
            )
        return text

    def _supplied(self, wire_id: int) -> bytes | None:
        if self.location is None:
            return None
        if self.location.startswith(("http://", "https://")):
            return self._registered(wire_id)
        path = Path(self.location) / f"{wire_id}.avsc"
        try:
            if not path.is_file():
                return None
            with path.open("rb") as file:
                # One byte more than is allowed shows that there is more.
                return file.read(MAX_SCHEMA_BYTES + 1)
        except OSError as error:
            raise UnknownSchema(f"no schema for wire schema id {wire_id} from {path}: {error}") from error

    def _registered(self, wire_id: int) -> bytes | None:
        """The registry's text, None where it has none."""
        # Here, not at the top: few runs ask a registry.
        from alerts.catalogs.catalog import Unavailable  # noqa: PLC0415
        from alerts.catalogs.http import get  # noqa: PLC0415

        failed_at, why = self._registry_failed
        if time.monotonic() - failed_at < _ASK_AGAIN_SECS:
            # Ids are many, and each would wait as long.
            raise UnknownSchema(f"no schema for wire schema id {wire_id}: the registry failed a moment ago ({why})")
        url = f"{str(self.location).rstrip('/')}/schemas/ids/{wire_id}"
        try:
            response, body = get(
                url, deadline_secs=REGISTRY_DEADLINE_SECS, max_bytes=MAX_REGISTRY_ANSWER_BYTES, auth=_credentials()
            )
        except Unavailable as error:
            self._registry_failed = time.monotonic(), str(error)
            raise UnknownSchema(f"no schema for wire schema id {wire_id} from {url}: {error}") from error
        if response.status_code == 404:
            return None
        if response.is_redirect:
            # Not followed: it may lead anywhere, and on a machine of ours to what nobody outside may ask.
            elsewhere = response.headers["Location"]
            raise UnknownSchema(
                f"the registry leads wire schema id {wire_id} on to {elsewhere}; if that is right, give that address"
            )
        if response.status_code != 200:
            raise UnknownSchema(f"the registry answered {response.status_code} for wire schema id {wire_id} at {url}")
        try:
            return str(json.loads(body)["schema"]).encode()
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UnknownSchema(f"no schema for wire schema id {wire_id} from {url}: {error}") from error

    def __reduce__(self) -> tuple[object, tuple[str | None]]:
        return WireSchemas, (self.location,)


def _credentials() -> tuple[str, str] | None:
    """User and password for a registry, where the environment has them."""
    password = os.environ.get(REGISTRY_PASSWORD)
    return (os.environ.get(REGISTRY_USER, ""), password) if password else None


@functools.cache
def _built_in(wire_id: int) -> bytes | None:
    for survey in SURVEYS.values():
        if wire_id in survey.wire_schemas:
            return json.dumps(known_schemas(survey.name)[survey.wire_schemas[wire_id]]).encode()
    return None
