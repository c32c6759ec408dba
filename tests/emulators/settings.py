"""Point Google's clients, and Beam's own, at emulators: environment variables, and the four things that have none.

``point_clients`` does it in this process and undoes it. Worker processes of a Beam runner take it from the environment:
``--beam_plugins=tests.emulators.worker``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

import google.auth
import google.cloud.bigquery_storage_v1 as storage_api
import grpc
from apache_beam.internal.gcp import auth
from apache_beam.io.gcp.internal.clients.bigquery import BigqueryV2
from google.auth.credentials import AnonymousCredentials
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport
from google.cloud.bigquery_storage_v1.services.big_query_write.transports import BigQueryWriteGrpcTransport

STORAGE = "STORAGE_EMULATOR_HOST"
BIGQUERY = "BIGQUERY_EMULATOR_HOST"
BIGQUERY_READ = "BIGQUERY_READ_EMULATOR_HOST"
BIGQUERY_WRITE = "BIGQUERY_WRITE_EMULATOR_HOST"
"""Ours: Google's clients have no variables for the Storage Read and Write APIs."""
PUBSUB = "PUBSUB_EMULATOR_HOST"
PROJECT = "GOOGLE_CLOUD_PROJECT"
_NOBODY = "127.0.0.1:1"
_GOOGLES = (google.auth.default, BigqueryV2.BASE_URL, storage_api.BigQueryReadClient, storage_api.BigQueryWriteClient)
"""What ``point_clients`` takes the place of."""


def environment(
    *, project: str, storage: str, bigquery: str, bigquery_read: str, bigquery_write: str, pubsub: str | None = None
) -> dict[str, str]:
    """The variables for emulators at these ``host:port``; without ``pubsub`` nobody answers there, least of all Google."""
    return {
        STORAGE: f"http://{storage}",
        BIGQUERY: f"http://{bigquery}",
        BIGQUERY_READ: bigquery_read,
        BIGQUERY_WRITE: bigquery_write,
        PUBSUB: pubsub or _NOBODY,
        PROJECT: project,
        "NO_GCE_CHECK": "true",
    }


def given_pubsub() -> str | None:
    """The Pub/Sub emulator that someone named before us."""
    host = os.environ.get(PUBSUB)
    return None if host in ("", _NOBODY) else host


@contextlib.contextmanager
def point_clients(variables: dict[str, str]) -> Iterator[None]:
    """Set ``variables`` and the patches for as long as the context lasts; clients made before keep what they had."""
    with contextlib.ExitStack() as undo:
        undo.enter_context(mock.patch.dict(os.environ, variables))
        undo.enter_context(mock.patch.object(google.auth, "default", _nobodys_credentials))
        undo.enter_context(mock.patch.object(BigqueryV2, "BASE_URL", f"{variables[BIGQUERY]}/bigquery/v2/"))
        undo.enter_context(mock.patch.object(storage_api, "BigQueryReadClient", _reading_client()))
        undo.enter_context(mock.patch.object(storage_api, "BigQueryWriteClient", _writing_client()))
        # Beam asks for credentials once per process.
        undo.enter_context(mock.patch.multiple(auth._Credentials, _credentials_init=False, _credentials=None))
        yield


@contextlib.contextmanager
def without_account(home: str) -> Iterator[None]:
    """As on a machine without a cloud and without credentials, also while ``point_clients`` lasts in this process."""
    default, base_url, reading, writing = _GOOGLES
    with contextlib.ExitStack() as undo:
        undo.enter_context(mock.patch.dict(os.environ, {"HOME": home, "NO_GCE_CHECK": "true"}))
        for name in (STORAGE, BIGQUERY, BIGQUERY_READ, BIGQUERY_WRITE, PUBSUB, PROJECT, "GOOGLE_APPLICATION_CREDENTIALS"):
            os.environ.pop(name, None)
        undo.enter_context(mock.patch.object(google.auth, "default", default))
        undo.enter_context(mock.patch.object(BigqueryV2, "BASE_URL", base_url))
        undo.enter_context(mock.patch.object(storage_api, "BigQueryReadClient", reading))
        undo.enter_context(mock.patch.object(storage_api, "BigQueryWriteClient", writing))
        undo.enter_context(mock.patch.multiple(auth._Credentials, _credentials_init=False, _credentials=None))
        yield


def _nobodys_credentials(*_: Any, **__: Any) -> tuple[AnonymousCredentials, str]:
    return AnonymousCredentials(), os.environ[PROJECT]


_ANY_SIZE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def _reading_client() -> type:
    class ReadClient(storage_api.BigQueryReadClient):
        def __init__(self, **_: Any) -> None:
            channel = grpc.insecure_channel(os.environ[BIGQUERY_READ], options=_ANY_SIZE)
            super().__init__(transport=BigQueryReadGrpcTransport(channel=channel))

    return ReadClient


def _writing_client() -> type:
    class WriteClient(storage_api.BigQueryWriteClient):
        def __init__(self, **_: Any) -> None:
            channel = grpc.insecure_channel(os.environ[BIGQUERY_WRITE], options=_ANY_SIZE)
            super().__init__(transport=BigQueryWriteGrpcTransport(channel=channel))

    return WriteClient
