"""Writer schemas: parsed once per process, and found by number for wire messages, which carry only a number."""

from __future__ import annotations

import functools
import http.client
import json
import math
import os
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro.schema

from alerts.errors import UnknownSchema, UnreadableInput
from alerts.secrets import basic_authorization, holds_credential
from alerts.surveys import SURVEYS
from alerts.surveys.survey import record_name
from schemas import known_schemas, parse_text
from schemas.avro_files import AvroSchema

REGISTRY_USER, REGISTRY_PASSWORD = "PITT_BROKER_REGISTRY_USER", "PITT_BROKER_REGISTRY_PASSWORD"
"""Environment variables with what a registry asks for (of Confluent Cloud: an API key and its secret)."""
_REGISTRY_TIMEOUT_SECS = 10
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
    def unjudged(self) -> Any:
        """The schema for finding where a datum ends: without logical types, so that no value in it is refused."""
        return parse_text(json.dumps(_without_logical_types(self.declared)))

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


def _without_logical_types(schema: AvroSchema) -> AvroSchema:
    if isinstance(schema, list):
        return [_without_logical_types(one) for one in schema]
    if isinstance(schema, dict):
        return {key: _without_logical_types(value) for key, value in schema.items() if key != "logicalType"}
    return schema


@functools.lru_cache(maxsize=256)
def writer_schema(text: bytes, wire_id: int | None = None) -> WriterSchema:
    """The writer schema for a schema text. Raises ``UnreadableInput`` when the text is no valid Avro schema."""
    schema = WriterSchema(text, wire_id)
    try:
        schema.parsed  # noqa: B018 - parse now, so that a bad schema fails here
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
        self._refused: dict[int, tuple[float, str]] = {}

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
        if not self.location.startswith(("http://", "https://")):
            file = Path(self.location) / f"{wire_id}.avsc"
            try:
                return file.read_bytes() if file.is_file() else None
            except OSError as error:
                raise UnknownSchema(f"no schema for wire schema id {wire_id} from {file}: {error}") from error
        url = f"{self.location.rstrip('/')}/schemas/ids/{wire_id}"
        try:
            with urllib.request.urlopen(_request(url), timeout=_REGISTRY_TIMEOUT_SECS) as answer:  # noqa: S310 - scheme checked above
                return str(json.load(answer)["schema"]).encode()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise UnknownSchema(f"the registry answered {error.code} for wire schema id {wire_id} at {url}") from error
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            raise UnknownSchema(f"no schema for wire schema id {wire_id} from {url}: {error}") from error

    def __reduce__(self) -> tuple[object, tuple[str | None]]:
        return WireSchemas, (self.location,)


def _request(url: str) -> urllib.request.Request:
    request = urllib.request.Request(url)  # noqa: S310 - of a scheme that was checked
    if password := os.environ.get(REGISTRY_PASSWORD):
        # For this host alone: a redirect may lead anywhere.
        request.add_unredirected_header("Authorization", basic_authorization(os.environ.get(REGISTRY_USER, ""), password))
    return request


@functools.cache
def _built_in(wire_id: int) -> bytes | None:
    for survey in SURVEYS.values():
        if wire_id in survey.wire_schemas:
            return json.dumps(known_schemas(survey.name)[survey.wire_schemas[wire_id]]).encode()
    return None
