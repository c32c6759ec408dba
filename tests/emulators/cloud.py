"""A cloud on loopback: emulators that run, and Google's clients pointed at them, for the tests and for ``make cloud-demo``."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.cloud import bigquery, storage

from tests.emulators import processes, settings
from tests.emulators.faults import FaultyProxy
from tests.emulators.rpc_faults import FaultyRpcProxy


@dataclass(frozen=True)
class Cloud:
    """A project with a bucket; whoever makes a client in this process reaches it. Made by ``running``."""

    project: str
    bucket: str
    """``gs://...``"""
    has_pubsub: bool
    faults: FaultyProxy
    """Stands before BigQuery, and can be told to fail."""
    storage_faults: FaultyProxy
    """Stands before Cloud Storage, and can be told to fail."""
    write_faults: FaultyRpcProxy
    """Stands before BigQuery's Storage Write API, and can be told to fail."""
    variables: dict[str, str]
    """The environment of processes that use this cloud; they call ``settings.point_clients`` too."""
    objects: Path
    """Where the buckets' objects lie as plain files."""

    def client(self) -> bigquery.Client:
        """A BigQuery client."""
        return bigquery.Client(project=self.project)

    def dataset(self) -> str:
        """A name for a new dataset."""
        return f"alerts_{uuid.uuid4().hex[:8]}"

    def folder(self) -> str:
        """The URI of a new folder in the bucket."""
        return f"{self.bucket}/{uuid.uuid4().hex[:8]}"

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a query."""
        with contextlib.closing(self.client()) as client:
            return [dict(row.items()) for row in client.query(sql).result()]


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Cloud]:
    """The cloud of ``started``, with the clients of this process pointed at it as long as the context lasts."""
    with started(folder) as cloud, settings.point_clients(cloud.variables):
        yield cloud


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Cloud]:
    """Emulators of Cloud Storage and BigQuery, and of Pub/Sub where it can run, as long as the context lasts.

    Their logs, and the objects of the bucket, are in ``folder``, best a temporary one. What ``PUBSUB_EMULATOR_HOST`` names
    is used as it is. Call it from the main thread: they end with the thread that started them.
    """
    pubsub_host = settings.given_pubsub()
    stores, tables = processes.storage(folder), processes.bigquery(folder)
    emulators = [stores, tables]
    if pubsub_host is None and processes.pubsub_missing() is None:
        emulators.append(processes.pubsub(folder))
    with contextlib.ExitStack() as undo:
        for one in emulators:
            undo.callback(one.stop)
            one.spawn()
        for one in emulators:
            one.wait()
        if len(emulators) == 3:
            pubsub_host = emulators[2].hosts[0]
        faults, storage_faults = (undo.enter_context(FaultyProxy(one.hosts[0])) for one in (tables, stores))
        write_faults = undo.enter_context(FaultyRpcProxy(tables.hosts[1]))
        variables = settings.environment(
            project=processes.PROJECT,
            storage=storage_faults.host,
            bigquery=faults.host,
            bigquery_read=tables.hosts[1],
            bigquery_write=write_faults.host,
            pubsub=pubsub_host,
        )
        bucket = f"bucket-{uuid.uuid4().hex[:8]}"
        with settings.point_clients(variables), contextlib.closing(storage.Client(project=processes.PROJECT)) as client:
            client.create_bucket(bucket)
        yield Cloud(
            project=processes.PROJECT,
            bucket=f"gs://{bucket}",
            has_pubsub=pubsub_host is not None,
            faults=faults,
            storage_faults=storage_faults,
            write_faults=write_faults,
            variables=variables,
            objects=folder / "objects",
        )
