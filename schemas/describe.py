"""The tables as Markdown, for ``docs/tables.md``.

python -m schemas.describe > docs/tables.md
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.table import Column
from schemas.tables import BIGQUERY_TABLES, ENVELOPE, SHARED_TABLES, cutouts_table, features_table

_HEAD = """\
# The tables

Made by `python -m schemas.describe > docs/tables.md`.

Types are BigQuery's; in Parquet, INT64 and FLOAT64 are 64 bits wide, TIMESTAMP is UTC in microseconds.
JSON is text (a STRING that JSON_VALUE and its like read).
REPEATED columns are never NULL. In JSON, integers above 2^53 are strings, NaN is "NaN", bytes are base64.
The partition column `night` stands in the name of the folder, not in the file.
"""

_MORE = {
    "{survey}_features": (
        "Copies have theirs: there are as many rows as alerts, but for those of runs with `--no_features` or `--no_history`.",
        "The fields of `features` (a record of each band, and the numbers of the alert as a whole) are those that",
        "`python -m alerts.features.describe SURVEY` tells. Surveys whose brightness nobody has told have no such table.",
        "`{survey}_features_unique` shows the newest row of each `alert_id` and `packet_digest`: features computed again",
        "replace the old ones in a folder, and stand beside them in BigQuery.",
    ),
    "verdicts": (
        "An alert that a filter rejects has no row, but where it had another verdict before: `filter_counts` says that it was",
        "asked. `verdicts_unique` shows the newest row of each packet, filter and version that was not rejected since. Alerts",
        "that are ingested again replace their rows, and not what was said of them.",
    ),
    "filter_counts": (
        "`seen` is `passed` + `failed` + `rejected`, each counted by itself; the account of a run and `broker audit` hold it.",
        "`filter_counts_unique` shows what the newest run of each unit has counted; parts of what came as messages add up, and a",
        "refilter of a night (the unit `night`) stands for all that was counted of it before.",
    ),
    "filter_history": (
        "`filter_history_unique` shows one row of each filter, version and `valid_from`, with its end if it has one.",
    ),
    "outbox": ("`outbox_open` shows what was neither sent nor refused for good, each message once.",),
    "runs": (
        "`runs_by_hour` and `runs_by_night` show the runs that began in one `hour` (UTC) or `night` (from 16:00 UTC on, when it",
        "is day in California and in Chile, under the date of that moment) as one row: how many `runs`, how many `failed`, the",
        "sums of their counts, `run_secs` in all, `longest_secs` of one, `first_started_at`, `last_ended_at`. A stream in rounds",
        "has a run each round.",
    ),
}
"""What there is to say of a table besides."""


def _rows(columns: Iterable[Column], prefix: str = "") -> list[str]:
    lines = ["| column | type | |", "|---|---|---|"]
    for column in columns:
        kind = column.type if column.mode == "NULLABLE" else f"{column.type} {column.mode}"
        lines.append(f"| `{prefix}{column.name}` | {kind} | {column.description} |")
        lines += _rows(column.fields, f"{prefix}{column.name}[].")[2:]
    return lines


def markdown() -> str:
    """The page."""
    parts = [
        _HEAD,
        "## {survey}_alerts",
        "",
        "The envelope, then the packet's own fields under their own names (`candidate.magpsf`, `prv_candidates[].jd`,",
        "`diaSource.psfFlux`): the union of the known schema versions, NULL where a packet's version lacks a field.",
        "A field named like a column of the envelope or a stamp (in any case of letters) is the column `packet_{name}`;",
        "one that differs from another field in the case of its letters only is in `extra`.",
        "Partitioned by `night`, clustered by `object_id`. `{survey}_alerts_unique` shows one row per `alert_id`: latest",
        "`published_at` (NULL last), then highest `schema_version`, then `packet_digest`.",
        "In BigQuery a query is billed by what it reads: a night in its WHERE leaves the other nights out, an object the rest of",
        "these nights. A place on the sky does neither by itself, since only the first column of a clustering is sorted:",
        "`docs/bigquery.md` says how our own questions find a place's nights and objects first, and what that costs.",
        "",
        *_rows(ENVELOPE),
    ]
    others = [
        ("{survey}_cutouts", cutouts_table("survey")),
        ("{survey}_features", features_table("survey", ())),
        *((table.name, table) for table in (*SHARED_TABLES, *BIGQUERY_TABLES)),
    ]
    for name, table in others:
        description = table.description.replace("survey's alerts", "an alert, one row for each row of the alerts table")
        parts += ["", f"## {name}", "", description, *_MORE.get(name, ()), "", *_rows(table.columns)]
    return "\n".join(parts)


if __name__ == "__main__":
    print(markdown())
