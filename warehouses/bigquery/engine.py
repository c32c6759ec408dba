"""SQLAlchemy's engine for a warehouse in BigQuery."""

from __future__ import annotations

import sqlalchemy as sa
from google.api_core.exceptions import GoogleAPIError, NotFound
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery
from google.cloud.bigquery.retry import DEFAULT_RETRY
from requests.exceptions import RequestException
from sqlalchemy import event
from sqlalchemy.pool import StaticPool

from warehouses.bigquery.billing import too_much
from warehouses.errors import QueryError
from warehouses.reachable import ANSWER_SECS, why


def engine_of(uri: str, project: str, dataset: str, maximum_bytes_billed: int) -> sa.Engine:
    """An engine for the tables of a dataset; ``uri`` names it in errors.

    Raises ``QueryError`` where it cannot be reached, and for a query that would be billed more than it may.
    """
    reference = bigquery.DatasetReference(project, dataset)
    try:
        settings = bigquery.QueryJobConfig(maximum_bytes_billed=maximum_bytes_billed)
        client = bigquery.Client(project=project, default_query_job_config=settings)
        client.get_dataset(reference, timeout=ANSWER_SECS, retry=DEFAULT_RETRY.with_timeout(ANSWER_SECS))
    except (GoogleAPIError, GoogleAuthError, RequestException) as error:
        raise QueryError(f"{uri} cannot be opened: {why(error)}") from error
    url = sa.URL.create("bigquery", host=project, database=dataset, query={"user_supplied_client": "true"})
    # The Storage Read API would need rights of its own.
    arguments = {"client": client, "prefer_bqstorage_client": False}
    tables_of_dataset = {"schema_translate_map": {None: dataset}}
    engine = sa.create_engine(url, connect_args=arguments, poolclass=StaticPool, execution_options=tables_of_dataset)
    event.listen(engine, "engine_disposed", lambda _: client.close())

    @event.listens_for(engine, "handle_error")
    def explain(context: sa.engine.ExceptionContext) -> None:
        cause = next(iter(context.original_exception.args), None)
        if refusal := too_much(cause, maximum_bytes_billed):
            raise QueryError(refusal)
        if isinstance(cause, NotFound):
            raise QueryError(f"{uri} lacks a table, which the first ingest of a survey makes: {cause.message}")

    return engine
