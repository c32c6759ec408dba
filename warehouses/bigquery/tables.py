"""A BigQuery dataset made ready: tables from ``schemas.tables``, newer columns added, the views beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from google.api_core.exceptions import Conflict, NotFound
from google.cloud import bigquery

from alerts.surveys import SURVEYS
from alerts.tables import derived_views, own_tables
from schemas import Table
from schemas.tables import BIGQUERY_TABLES, SHARED_TABLES


def tables_of(surveys: Iterable[str]) -> list[Table]:
    """The tables that alerts of these surveys need."""
    own = [table for name in surveys for table in own_tables(SURVEYS[name])]
    return [*own, *SHARED_TABLES, *BIGQUERY_TABLES]


def prepare(client: bigquery.Client, dataset: str, surveys: Sequence[str]) -> None:
    """Make the dataset, tables and views that are missing, and add columns that tables lack; never drops anything.

    Raises ``google.api_core.exceptions.GoogleAPICallError`` where BigQuery refuses.
    """
    _make_dataset(client, f"{client.project}.{dataset}")
    existing = {item.table_id for item in client.list_tables(f"{client.project}.{dataset}")}
    for table in tables_of(surveys):
        if table.name in existing:
            _add_missing_columns(client, dataset, table)
        else:
            _create(client, dataset, table)
    views = derived_views(surveys, "bigquery", lambda table: _quoted(client, dataset, table))
    for name, (_, sql) in views.items():
        if name not in existing:
            _create_view(client, dataset, name, sql)


def _make_dataset(client: bigquery.Client, dataset: str) -> None:
    try:
        client.get_dataset(dataset)
    except NotFound:
        # Only then: whoever may write to a dataset need not be let make others.
        client.create_dataset(dataset, exists_ok=True)


def _fields(table: Table) -> list[bigquery.SchemaField]:
    return [bigquery.SchemaField.from_api_repr(field) for field in table.to_bigquery()["fields"]]


def _create(client: bigquery.Client, dataset: str, table: Table) -> None:
    new = bigquery.Table(f"{client.project}.{dataset}.{table.name}", schema=_fields(table))
    new.description = table.description
    if table.partition_by:
        new.time_partitioning = bigquery.TimePartitioning(field=table.partition_by)
    if table.cluster_by:
        new.clustering_fields = list(table.cluster_by)
    # Two jobs may begin at once.
    client.create_table(new, exists_ok=True)


def _add_missing_columns(client: bigquery.Client, dataset: str, table: Table) -> None:
    present = client.get_table(f"{client.project}.{dataset}.{table.name}")
    schema, changed = _union(present.schema, _fields(table))
    if changed:
        present.schema = schema
        client.update_table(present, ["schema"])


def _union(
    present: Sequence[bigquery.SchemaField], wanted: Sequence[bigquery.SchemaField]
) -> tuple[list[bigquery.SchemaField], bool]:
    """The fields that are there and behind them those that are wanted besides; whether there is anything new."""
    merged = {field.name.lower(): field for field in present}
    changed = False
    for field in wanted:
        key = field.name.lower()
        if key not in merged:
            # A column can be added to rows that exist only if they may lack it.
            mode = "REPEATED" if field.mode == "REPEATED" else "NULLABLE"
            merged[key] = bigquery.SchemaField.from_api_repr({**field.to_api_repr(), "mode": mode})
            changed = True
        elif field.fields:
            fields, deeper = _union(merged[key].fields, field.fields)
            if deeper:
                parts = [field.to_api_repr() for field in fields]
                merged[key] = bigquery.SchemaField.from_api_repr({**merged[key].to_api_repr(), "fields": parts})
                changed = True
    return list(merged.values()), changed


def _quoted(client: bigquery.Client, dataset: str, name: str) -> str:
    return f"`{client.project}.{dataset}.{name}`"


def _create_view(client: bigquery.Client, dataset: str, name: str, sql: str) -> None:
    view = bigquery.Table(f"{client.project}.{dataset}.{name}")
    view.view_query = sql
    try:
        client.create_table(view)
    except Conflict:
        return
