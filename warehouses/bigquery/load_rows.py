"""Rows by a load job of their own, without a bucket: for what the Storage Write API does not take."""

from __future__ import annotations

import io
import uuid

from google.api_core.exceptions import Conflict
from google.cloud import bigquery


def load_avro(client: bigquery.Client, table: str, content: bytes) -> None:
    """Append the rows of an Avro container to a table (``PROJECT.DATASET.TABLE``), and wait until they are there.

    Raises ``google.api_core.exceptions.GoogleAPICallError``; then none is.
    """
    # By its own id a job that is asked for twice, since an answer was lost, is done once.
    job_id = f"broker-{uuid.uuid4().hex}"
    settings = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.AVRO,
        create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
        write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
        use_avro_logical_types=True,
    )
    try:
        client.load_table_from_file(io.BytesIO(content), table, size=len(content), job_id=job_id, job_config=settings).result()
    except Conflict:
        # Without its place a job is found in the US and EU alone.
        client.get_job(job_id, location=client.get_dataset(table.rpartition(".")[0]).location).result()
