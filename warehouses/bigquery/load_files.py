"""Files of rows that are put into a table by one load job, once: what a PENDING stream is to the Storage Write API.

A job's id is made of its files' names. So it is done once, whoever asks for it and however often; it tells what became of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from google.api_core.exceptions import Conflict, GoogleAPICallError, NotFound
from google.cloud import bigquery

from warehouses.bigquery.append import AppendRefused
from warehouses.files import exists

SCHEME = "gs://"


def is_load(names: Sequence[str]) -> bool:
    """Whether these are names of files, and not of streams."""
    return bool(names) and names[0].startswith(SCHEME)


def load(client: bigquery.Client, table: str, files: Sequence[str]) -> None:
    """Append the rows of Avro files to a table (``PROJECT.DATASET.TABLE``), all or none, and wait until they are there.

    Files that were loaded before stay so. Raises ``AppendRefused`` where BigQuery does not take them, and what its client raises.
    """
    settings = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.AVRO,
        create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
        write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
        use_avro_logical_types=True,
    )
    job_id = _job_id(files)
    try:
        try:
            client.load_table_from_uri(list(files), table, job_id=job_id, job_config=settings).result()
        except Conflict:
            client.get_job(job_id, location=_location(client, table)).result()
    except GoogleAPICallError as error:
        raise AppendRefused(f"the load job {job_id} into {table} failed: {error}") from error


def is_loaded(client: bigquery.Client, table: str, files: Sequence[str]) -> bool:
    """Whether rows of these files are in the table.

    Raises ``google.api_core.exceptions.NotFound`` where they are not and cannot be: their job failed, or files are gone; and what
    BigQuery's client raises where that cannot be told.
    """
    try:
        job = client.get_job(_job_id(files), location=_location(client, table))
    except NotFound:
        if not all(exists(file) for file in files):
            raise
        return False
    try:
        job.result()
    except GoogleAPICallError as error:
        if job.error_result is None:
            # It is the question that failed; what the job does meanwhile nobody knows.
            raise
        raise NotFound(f"the load job of these files failed: {error}") from error
    return True


def _job_id(files: Sequence[str]) -> str:
    return f"broker-{hashlib.sha256(chr(10).join(sorted(files)).encode()).hexdigest()[:40]}"


def _location(client: bigquery.Client, table: str) -> str:
    # Without its place a job is found in the US and EU alone.
    return str(client.get_dataset(table.rpartition(".")[0]).location)
