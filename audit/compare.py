"""The comparison of an audit, set by set: not one statement is run per alert.

Contents are ``(survey, alert_id, packet_digest, schema_version)``: what tells a copy from a conflict. Where the truth does
not know digest or version, they count for nothing (both sides have NULL).
"""

from __future__ import annotations

from dataclasses import dataclass

from audit.books import Books
from schemas.tables import FAILED
from schemas.views import newest_matches_sql

FAULTS = (
    "missing",
    "altered",
    "doubled",
    "dead_lettered",
    "missing_letters",
    "unexpected",
    "without_cutouts",
    "without_crossmatch",
    "failed_crossmatch",
    "not_judged",
    "wrong_verdicts",
    "not_in_outbox",
    "not_sent",
    "without_letter",
    "not_in_manifest",
)
"""Kinds of faults, in the order in which they are told."""

_SAME = (
    "a.survey = b.survey AND a.alert_id = b.alert_id AND a.packet_digest IS NOT DISTINCT FROM b.packet_digest "
    "AND a.schema_version IS NOT DISTINCT FROM b.schema_version"
)
_CONTENTS = "survey, alert_id, packet_digest, schema_version"
_BEHIND = "(starts_with({source}, scopes.uri || '#') OR starts_with({source}, scopes.uri || '/') OR {source} = scopes.uri)"


@dataclass(frozen=True)
class Rules:
    """What counts as what."""

    knows_sources: bool
    knows_digests: bool
    knows_versions: bool
    whole_nights: bool
    """Whether the truth is all of the nights that were read, so that what it lacks is unexpected."""
    replaces: bool
    """Whether the warehouse replaces what an earlier run wrote: then a file's row that is there twice is a fault."""
    cutouts: bool
    look_into_cutouts: bool
    catalogs: tuple[str, ...] | None
    """None: all that the rows of a night name."""


def compare_contents(books: Books, rules: Rules) -> None:
    """Tables ``expected``, ``found``, ``present``, ``absent``, ``extra`` of contents; the faults ``altered`` and ``doubled``."""
    digest = "packet_digest" if rules.knows_digests else "NULL::BLOB AS packet_digest"
    version = "schema_version" if rules.knows_versions else "NULL::VARCHAR AS schema_version"
    books.run(
        f"CREATE TABLE expected AS SELECT {_CONTENTS}, COUNT(*) AS sent, MIN(source) AS source, MIN(origin) AS origin, "
        f"MIN(night) AS night, BIT_OR(stamps) AS stamps FROM truth GROUP BY {_CONTENTS}"
    )
    books.run(
        f"CREATE TABLE found AS SELECT survey, alert_id, {digest}, {version}, COUNT(*) AS number, MIN(source) AS source, "
        "MIN(night) AS night, MAX(night) AS last_night, BOOL_OR(on_sky) AS on_sky, "
        "BOOL_OR(COALESCE(runs.cutouts, true)) AS cutouts "
        "FROM rows LEFT JOIN (SELECT run_id, BOOL_AND(cutouts) AS cutouts FROM runs GROUP BY run_id) AS runs USING (run_id) "
        "GROUP BY ALL"
    )
    books.run(
        "CREATE TABLE present AS SELECT a.*, b.number, b.on_sky, b.cutouts, b.night AS stored_night, b.last_night, "
        f"b.source AS stored_source FROM expected AS a JOIN found AS b ON {_SAME}"
    )
    books.run(f"CREATE TABLE absent AS SELECT * FROM expected AS a WHERE NOT EXISTS (FROM found AS b WHERE {_SAME})")
    books.run(f"CREATE TABLE extra AS SELECT * FROM found AS a WHERE NOT EXISTS (FROM expected AS b WHERE {_SAME})")
    books.run(
        "CREATE TABLE seen AS SELECT DISTINCT origin FROM (SELECT origin, source FROM truth UNION SELECT origin, source "
        "FROM unreadable) WHERE source IN (SELECT source FROM rows UNION ALL SELECT source FROM letters)"
    )
    _find_altered(books)
    books.run(
        "INSERT INTO faults BY NAME SELECT 'altered' AS kind, survey, alert_id, source, night, 'it stands in the night ' || "
        "CASE WHEN stored_night <> night THEN stored_night ELSE last_night END AS message FROM present "
        "WHERE stored_night <> night OR last_night <> night"
    )
    _find_doubled(books, rules)


def _find_altered(books: Books) -> None:
    """Contents that are absent while others stand under the same id: pairs of the same source first.

    Where the warehouse has seen this input, a row from elsewhere is not the packet that is sought.
    """
    for same, condition in (
        ("survey, alert_id, source", "true"),
        ("survey, alert_id", "(a.origin IS NULL OR a.origin NOT IN (FROM seen))"),
    ):
        ranked = f"SELECT *, ROW_NUMBER() OVER (PARTITION BY {same} ORDER BY source, packet_digest, schema_version) AS place"
        books.run(
            f"CREATE OR REPLACE TEMP TABLE pairs AS SELECT a.* EXCLUDE (place), b.packet_digest AS found_digest, "
            f"b.schema_version AS found_version, b.source AS found_source FROM ({ranked} FROM absent) AS a "
            f"JOIN ({ranked} FROM extra) AS b USING ({same}, place) WHERE {condition}"
        )
        books.run(
            "INSERT INTO faults BY NAME SELECT 'altered' AS kind, survey, alert_id, found_source AS source, night, "
            "packet_digest AS expected_digest, found_digest, CASE WHEN packet_digest = found_digest THEN "
            "'the schema version is ' || COALESCE(found_version, 'NULL') || ', the packet''s is ' || "
            "COALESCE(schema_version, 'NULL') END AS message FROM pairs"
        )
        books.run(f"DELETE FROM absent AS a USING pairs AS b WHERE {_SAME}")
        books.run(
            "DELETE FROM extra AS a USING pairs AS b WHERE a.survey = b.survey AND a.alert_id = b.alert_id "
            "AND a.packet_digest IS NOT DISTINCT FROM b.found_digest AND a.schema_version IS NOT DISTINCT FROM b.found_version"
        )


def _find_doubled(books: Books, rules: Rules) -> None:
    """Rows of one source and one content beyond the packets that were sent there.

    Only of files: Pub/Sub delivers a message at least once, and what comes again is another row by design.
    """
    by = "survey, alert_id, packet_digest, schema_version, source"
    books.run(
        f"CREATE TABLE repeated AS SELECT a.*, COALESCE(b.sent, 1) AS sent FROM (SELECT {by}, MIN(night) AS night, "
        f"COUNT(*) AS number FROM rows WHERE from_file GROUP BY {by} HAVING COUNT(*) > 1) AS a LEFT JOIN (SELECT {by}, "
        f"COUNT(*) AS sent FROM truth GROUP BY {by}) AS b ON {_SAME} AND a.source = b.source "
        "WHERE a.number > COALESCE(b.sent, 1) AND (a.survey, a.alert_id) IN (SELECT survey, alert_id FROM present)"
    )
    if rules.replaces:
        books.run("INSERT INTO faults BY NAME SELECT 'doubled' AS kind, * EXCLUDE (packet_digest, schema_version) FROM repeated")
    books.run(
        "INSERT INTO faults BY NAME SELECT CASE WHEN w.number = 0 THEN 'missing' ELSE 'doubled' END AS kind, w.survey, "
        "w.alert_id, w.number, p.source, p.night, "
        "1 AS sent, 'the view ' || w.survey || '_alerts_unique shows it ' || w.number || ' times' AS message "
        "FROM wrongly_shown AS w JOIN (SELECT survey, alert_id, MIN(source) AS source, MIN(night) AS night FROM present "
        "GROUP BY ALL) AS p USING (survey, alert_id)"
    )


def match_letters(books: Books, rules: Rules) -> None:
    """What of the truth cannot be read must have an open letter: table ``accounted``; the letters left over: ``unused``.

    By source and payload, one to one. By the payload alone where the warehouse has not seen this input under its name: it
    was moved, or came through Pub/Sub.
    """
    books.run("CREATE TABLE unused AS SELECT *, ROW_NUMBER() OVER () AS row FROM letters")
    # The same bytes twice under one source are one letter.
    books.run(
        "CREATE TABLE waiting AS SELECT origin, source, payload_md5, MIN(stage) AS stage, MIN(error_type) AS error_type, "
        "MIN(message) AS message, SUM(records) AS records, ROW_NUMBER() OVER () AS row FROM unreadable "
        "GROUP BY origin, source, payload_md5, CASE WHEN payload_md5 IS NULL THEN message END"
    )
    books.run("CREATE TABLE accounted (stage VARCHAR, error_type VARCHAR, message VARCHAR, survey VARCHAR, source VARCHAR)")
    for same, condition in (
        ("source, payload_md5", "true"),
        ("payload_md5", "payload_md5 IS NOT NULL AND origin NOT IN (FROM seen)"),
    ):
        ranked = f"SELECT *, ROW_NUMBER() OVER (PARTITION BY {same} ORDER BY row) AS place"
        on = " AND ".join(f"a.{column} IS NOT DISTINCT FROM b.{column}" for column in [*same.split(", "), "place"])
        books.run(
            f"CREATE OR REPLACE TEMP TABLE pairs AS SELECT a.row AS waiting, b.row AS unused FROM ({ranked} FROM waiting "
            f"WHERE {condition}) AS a JOIN ({ranked} FROM unused WHERE refused_by IS NULL) AS b ON {on}"
        )
        books.run(
            "INSERT INTO accounted SELECT stage, error_type, message, survey, source FROM unused WHERE row IN (SELECT unused "
            "FROM pairs)"
        )
        books.run("DELETE FROM waiting WHERE row IN (SELECT waiting FROM pairs)")
        books.run("DELETE FROM unused WHERE row IN (SELECT unused FROM pairs)")
    _find_replayed(books, rules)
    books.run("INSERT INTO faults BY NAME SELECT 'missing_letters' AS kind, source, stage, error_type, message FROM waiting")


def _find_replayed(books: Books, rules: Rules) -> None:
    """Rows of what the audit cannot read, but a replay could: with schemas that the audit was not given."""
    books.run(
        "CREATE TABLE replayed AS SELECT e.* FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY source ORDER BY alert_id) AS place "
        "FROM extra) AS e JOIN (SELECT source, SUM(records) AS records FROM waiting GROUP BY source) AS w USING (source) "
        "WHERE e.place <= w.records"
    )
    if rules.knows_sources:
        books.run("DELETE FROM waiting WHERE source IN (SELECT source FROM replayed)")
        books.run(f"DELETE FROM extra AS a USING replayed AS b WHERE {_SAME} AND a.source = b.source")


def find_missing(books: Books) -> None:
    """The faults ``dead_lettered`` and ``missing``: what is absent, with the letter that holds it or without one.

    ``kept`` has the contents of the letters left over. Of a letter without payload the source must do.
    """
    books.run(
        f"CREATE TABLE lying AS SELECT a.*, u.row, u.stage, u.error_type, u.message FROM absent AS a JOIN kept AS b ON {_SAME} "
        "JOIN unused AS u USING (letter) UNION ALL SELECT a.*, u.row, u.stage, u.error_type, u.message FROM absent AS a "
        "JOIN unused AS u USING (source) WHERE u.payload_md5 IS NULL"
    )
    books.run(
        "INSERT INTO faults BY NAME SELECT 'dead_lettered' AS kind, survey, alert_id, source, night, stage, error_type, message "
        f"FROM lying QUALIFY ROW_NUMBER() OVER (PARTITION BY {_CONTENTS} ORDER BY row) = 1"
    )
    books.run(f"DELETE FROM absent AS a USING lying AS b WHERE {_SAME}")
    books.run("DELETE FROM unused WHERE row IN (SELECT row FROM lying)")
    # An archive that could be read to its middle only has one letter, which tells why what comes behind is not there.
    books.run(
        "INSERT INTO faults BY NAME SELECT 'missing' AS kind, a.survey, a.alert_id, a.source, a.night, a.sent, u.message "
        "FROM absent AS a LEFT JOIN (SELECT source, MIN(message) AS message FROM unused GROUP BY source) AS u "
        "ON u.source = split_part(a.source, '#', 1)"
    )


def find_unexpected(books: Books, rules: Rules) -> None:
    """Rows that the truth lacks: of its nights, or of its sources."""
    if rules.whole_nights:
        condition = "true"
    elif rules.knows_sources:
        condition = (
            "source IN (SELECT source FROM truth UNION ALL SELECT source FROM unreadable) "
            f"OR EXISTS (FROM scopes WHERE {_BEHIND.format(source='extra.source')})"
        )
    else:
        return
    books.run(
        "INSERT INTO faults BY NAME SELECT 'unexpected' AS kind, survey, alert_id, source, night, number, "
        f"packet_digest AS found_digest FROM extra WHERE {condition}"
    )


def compare_cutouts(books: Books, rules: Rules) -> None:
    """The fault ``without_cutouts``: fewer rows than contents with stamps, or (looked into) without a stamp that was sent.

    Each packet's rows by its digest; where the truth knows no digests, or a row of the alert has none (it was written before
    there was such a column), all rows of the alert together.
    """
    if not rules.cutouts:
        return
    # Written at all: some are there, or a run says that it wrote them.
    books.run(
        "CREATE TABLE written AS SELECT DISTINCT survey FROM cutouts UNION SELECT DISTINCT survey FROM rows "
        "WHERE run_id IN (SELECT run_id FROM runs WHERE cutouts)"
    )
    books.run("CREATE TABLE nameless AS SELECT DISTINCT survey, alert_id FROM cutouts WHERE packet_digest IS NULL")
    together = "(packet_digest IS NULL OR (survey, alert_id) IN (FROM nameless))"
    _find_without_cutouts(books, rules, "survey, alert_id", together)
    _find_without_cutouts(books, rules, "survey, alert_id, packet_digest", f"NOT {together}")


def _find_without_cutouts(books: Books, rules: Rules, key: str, condition: str) -> None:
    look = "OR c.stamps & p.stamps <> p.stamps" if rules.look_into_cutouts else ""
    books.run(
        "INSERT INTO faults BY NAME SELECT 'without_cutouts' AS kind, p.survey, p.alert_id, p.source, p.night, "
        f"COALESCE(c.number, 0) AS number FROM (SELECT {key}, MIN(COALESCE(source, stored_source)) AS source, "
        "MIN(stored_night) AS night, COUNT(*) AS contents, BIT_OR(stamps)::BIGINT AS stamps FROM present "
        f"WHERE cutouts AND COALESCE(stamps, 7) <> 0 AND {condition} GROUP BY {key}) AS p JOIN written USING (survey) "
        f"LEFT JOIN (SELECT {key}, SUM(number) AS number, BIT_OR(stamps) AS stamps FROM cutouts GROUP BY {key}) AS c "
        f"USING ({key}) WHERE COALESCE(c.number, 0) < p.contents {look}"
    )


def compare_matches(books: Books, rules: Rules) -> None:
    """The faults ``without_crossmatch`` and ``failed_crossmatch``, and the table ``asked``: alert, catalog, status."""
    if rules.catalogs is None:
        wanted = "SELECT DISTINCT survey, night, catalog FROM matches"
    else:
        books.run("CREATE TABLE named AS SELECT UNNEST(?::VARCHAR[]) AS catalog", [list(rules.catalogs)])
        wanted = "SELECT DISTINCT p.survey, p.stored_night AS night, named.catalog FROM present AS p, named"
    # Of rows of one instant the status decides; what else the view's order names tells apart rows that say the same.
    told = "(SELECT *, 0 AS radius_arcsec, 0 AS ra_deg, 0 AS dec_deg, '' AS object_id FROM matches)"
    books.run(
        "CREATE TABLE asked AS SELECT p.*, w.catalog, m.status, m.error FROM (SELECT survey, alert_id, "
        f"MIN(stored_night) AS night FROM present WHERE on_sky GROUP BY ALL) AS p JOIN ({wanted}) AS w USING (survey, night) "
        f"LEFT JOIN (SELECT survey, alert_id, catalog, status, error FROM ({newest_matches_sql(told)})) AS m "
        "USING (survey, alert_id, catalog)"
    )
    books.run(
        "INSERT INTO faults BY NAME SELECT CASE WHEN a.status IS NULL THEN 'without_crossmatch' ELSE 'failed_crossmatch' END "
        "AS kind, a.survey, a.alert_id, a.night, a.catalog, a.error AS message, "
        "MIN(COALESCE(p.source, p.stored_source)) AS source FROM asked AS a JOIN present AS p USING (survey, alert_id) "
        f"WHERE a.status IS NULL OR a.status = '{FAILED}' GROUP BY ALL"
    )


def compare_filters(books: Books, rules: Rules) -> None:
    """The faults ``not_judged`` and ``wrong_verdicts``, one for each filter of a run and night.

    A run that asks filters asks each about every alert that it writes; what it has passed or failed is in ``verdicts``. Where
    another run has asked the same version about all of the night since, what the first has left out is made up for.
    """
    # What BigQuery took twice was asked about once.
    number = "COUNT(*)" if rules.replaces else "COUNT(DISTINCT (alert_id, packet_digest, schema_version, source))"
    books.run(
        f"CREATE TABLE of_runs AS SELECT run_id, night, survey, {number} AS number FROM rows GROUP BY run_id, night, survey"
    )
    key = "run_id, night, survey, filter, filter_version"
    books.run(
        "INSERT INTO faults BY NAME SELECT 'not_judged' AS kind, f.survey, f.night, f.filter, r.number - f.seen AS number, "
        "'run ' || f.run_id || ' wrote ' || r.number || ' alerts and asked about ' || f.seen AS message "
        "FROM filter_counts AS f JOIN of_runs AS r USING (run_id, night, survey) WHERE f.seen < r.number AND NOT EXISTS "
        "(FROM filter_counts AS g WHERE (g.night, g.survey, g.filter, g.filter_version) = (f.night, f.survey, f.filter, "
        "f.filter_version) AND g.run_id > f.run_id AND g.seen >= (SELECT COUNT(DISTINCT alert_id) FROM rows AS o WHERE "
        "(o.night, o.survey) = (f.night, f.survey)))"
    )
    more = "v.number <> f.passed + f.failed" if rules.replaces else "v.number < f.passed + f.failed"
    books.run(
        "INSERT INTO faults BY NAME SELECT 'wrong_verdicts' AS kind, survey, night, filter, COALESCE(v.number, 0) AS number, "
        "'run ' || run_id || ' counted ' || COALESCE(f.seen, 0) || ' seen, ' || COALESCE(f.passed, 0) || ' passed, ' || "
        "COALESCE(f.failed, 0) || ' failed, ' || COALESCE(f.rejected, 0) || ' rejected' AS message "
        f"FROM (SELECT {key}, seen, passed, failed, rejected FROM filter_counts) AS f "
        f"FULL JOIN (SELECT {key}, number FROM verdicts) AS v USING ({key}) "
        "WHERE f.seen IS NULL OR f.seen <> f.passed + f.failed + f.rejected "
        f"OR COALESCE({more}, f.passed + f.failed > 0)"
    )
