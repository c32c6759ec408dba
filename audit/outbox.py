"""What was to be sent against what the outbox, the dead letters and the topic manifests tell.

What the receivers have is theirs to prove: ``broker listen --verify`` holds it against the same manifests.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from audit.books import Books
from audit.compare import Rules
from streams.addresses import parse_address
from streams.errors import StreamProblem
from streams.manifests import NoManifest, from_json, topic_of_manifests
from streams.outbox_rows import EVERY_VERSION
from streams.outlets import EVERY_ALERT, parse_outlets
from warehouses.audited import MANIFESTS_SQL, OUTBOX_SQL, ROWS_AT_ONCE, RUNS_SQL, Nights, passed_sql
from warehouses.warehouse import Warehouse

_MANIFESTS_AT_ONCE = 16
_ID_SQL = "sha256(survey || chr(10) || alert_id || chr(10) || filter || chr(10) || filter_version)[:32]"
"""As ``streams.hits.hit_id``."""
_SCOPE = "(SELECT run_id FROM rows UNION SELECT run_id FROM filter_counts)"
"""The runs that have written, or asked about, alerts of these nights."""
_OF_MANIFESTS = "(ends_with(topic, '-manifest') OR ends_with(topic, '/_manifest'))"


def write_outbox(books: Books, warehouse: Warehouse, nights: Nights) -> None:
    """What the warehouse has to tell of these nights' hits, into the books. Raises ``QueryError``."""
    if "outbox" not in warehouse.tables:
        return
    values = {"since": nights.since}
    for table, sql in (("outbox", OUTBOX_SQL), ("passed", passed_sql(nights))):
        for rows in warehouse.ask(sql, values if table == "outbox" else {}, rows_at_once=ROWS_AT_ONCE):
            books.add(table, rows)
    runs: dict[str, list[tuple[str, str]]] = {str(row[0]): [] for row in books.rows(_SCOPE[1:-1])}
    for run, survey, name in books.rows(_FILTERS):
        runs[str(run)].append((str(survey), str(name)))
    if "runs" in warehouse.tables:
        for rows in warehouse.ask(RUNS_SQL, values, rows_at_once=ROWS_AT_ONCE):
            _add_promises(books, rows.to_pylist(), runs)
    for (topic,) in books.rows(f"SELECT DISTINCT topic FROM outbox WHERE {_OF_MANIFESTS} ORDER BY topic"):
        _add_manifests(books, warehouse, str(topic), values)


_FILTERS = (
    "SELECT DISTINCT run_id, survey, filter FROM passed "
    f"UNION SELECT DISTINCT run_id, survey, '{EVERY_ALERT}' FROM rows ORDER BY ALL"
)
"""What runs may have sent hits of; every alert that they have written."""


def _told(value: Any) -> Mapping[str, Any]:
    found: Any = json.loads(value) if isinstance(value, str) else value
    return found if isinstance(found, dict) else {}


def _add_promises(books: Books, rows: Iterable[Mapping[str, Any]], runs: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """Where the hits of runs (``rows`` of ``runs``) were to go, and how many of them were left out.

    ``runs``: by id the surveys and filters of those that are looked at. Rounds of a night are thousands: they go in together.
    """
    promised, withheld = list[dict[str, object]](), list[dict[str, object]]()
    for row in rows:
        if (run_id := row["run_id"]) not in runs:
            continue
        try:
            outlets = parse_outlets(map(str, _told(row["options"]).get("publish") or ()))
        except StreamProblem:  # as another version of the broker had them
            continue
        for outlet in outlets:
            for survey, name in runs[run_id]:
                if outlet.takes(name):
                    where = {"survey": survey, "filter": name, "topic": str(outlet.at(survey, name))}
                    promised.append({"run_id": run_id, **where})
        left_out = _told(row["counts"]).get("withheld") or {}
        withheld += [{"run_id": run_id, "topic": topic, "number": number} for topic, number in left_out.items()]
    for table, made in (("promised", promised), ("withheld", withheld)):
        if made:
            books.add(table, pa.Table.from_pylist(made))


def _add_manifests(books: Books, warehouse: Warehouse, topic: str, values: Mapping[str, Any]) -> None:
    """The ids that the manifests of one topic tell of."""
    try:
        address = topic_of_manifests(parse_address(topic, "outbox"))
    except StreamProblem:
        return
    for rows in warehouse.ask(MANIFESTS_SQL, {**values, "topic": topic}, rows_at_once=_MANIFESTS_AT_ONCE):
        ids = list[str]()
        for payload in rows.column("payload").to_pylist():
            with contextlib.suppress(NoManifest):
                if manifest := from_json(payload):
                    ids += manifest.ids
        books.add(
            "manifested", pa.table({"id": pa.array(ids, pa.string()), "topic": pa.array([str(address)] * len(ids), pa.string())})
        )


def compare_outbox(books: Books, rules: Rules) -> None:
    """The faults ``not_in_outbox``, ``not_sent``, ``without_letter`` and ``not_in_manifest``, one for each run or topic."""
    hits = (
        f"SELECT run_id, topic, {_ID_SQL} AS id FROM (SELECT run_id, survey, filter, filter_version, alert_id "
        f"FROM passed UNION ALL SELECT run_id, survey, '{EVERY_ALERT}', '{EVERY_VERSION}', alert_id FROM rows) JOIN promised "
        "USING (run_id, survey, filter)"
    )
    # As they were left out: an alert that came twice, twice. What BigQuery took twice was left out once.
    number = "COUNT(*)" if rules.replaces else "COUNT(DISTINCT id)"
    books.run(
        f"CREATE TABLE messages AS SELECT DISTINCT id, topic, run_id FROM outbox WHERE NOT sent AND NOT refused "
        f"AND run_id IN {_SCOPE}"
    )
    # Which of them are not public only their rows could say: how many were left out is what the run has counted. Those whose
    # packets nobody has are dead letters.
    books.run(
        "INSERT INTO faults BY NAME SELECT 'not_in_outbox' AS kind, topic, gone.number - COALESCE(w.number, 0) AS number, "
        "'run ' || run_id || ' passed ' || gone.number || ' hits that are not in the outbox, and left out ' || "
        f"COALESCE(w.number, 0) AS message FROM (SELECT run_id, topic, {number} AS number FROM ({hits}) "
        f"ANTI JOIN messages USING (run_id, topic, id) WHERE {_NAME} NOT IN ({_LETTERS}) GROUP BY run_id, topic) AS gone "
        "LEFT JOIN (SELECT run_id, topic, SUM(number) AS number FROM withheld GROUP BY ALL) AS w USING (run_id, topic) "
        "WHERE gone.number > COALESCE(w.number, 0)"
    )
    closed = "SELECT id, topic FROM outbox WHERE sent OR refused"
    books.run(
        "INSERT INTO faults BY NAME SELECT 'not_sent' AS kind, topic, COUNT(DISTINCT id) AS number FROM messages "
        f"ANTI JOIN ({closed}) USING (id, topic) GROUP BY topic"
    )
    books.run(
        f"INSERT INTO faults BY NAME SELECT 'without_letter' AS kind, topic, COUNT(*) AS number FROM ({_REFUSED}) "
        f"WHERE {_NAME} NOT IN ({_LETTERS}) GROUP BY topic"
    )
    books.run(
        "INSERT INTO faults BY NAME SELECT 'not_in_manifest' AS kind, topic, COUNT(*) AS number FROM "
        "(SELECT DISTINCT id, topic FROM outbox WHERE sent) SEMI JOIN messages USING (id, topic) "
        f"ANTI JOIN manifested USING (id, topic) WHERE NOT {_OF_MANIFESTS} GROUP BY topic"
    )


_NAME = "'outbox:' || topic || '#' || id"
"""As dead letters name a message."""
_LETTERS = "SELECT source FROM letters WHERE stage = 'publish'"
_REFUSED = (
    "SELECT DISTINCT id, topic FROM outbox SEMI JOIN messages USING (id, topic) WHERE refused "
    "AND NOT EXISTS (FROM outbox AS o WHERE (o.id, o.topic) = (outbox.id, outbox.topic) AND o.sent)"
)
"""Messages that were refused, and not taken later."""


def hits_told(books: Books) -> dict[str, int]:
    """What is no fault: how many messages the runs of these nights have written, and how many of them were refused for good."""
    number = books.number
    return {
        "hits": number(f"SELECT COUNT(DISTINCT (id, topic)) FROM messages WHERE NOT {_OF_MANIFESTS}"),
        "hits_refused": number(f"SELECT COUNT(*) FROM ({_REFUSED})"),
    }
