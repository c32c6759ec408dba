"""The tables of the warehouse; ``docs/tables.md`` is made of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from schemas.avro_files import AvroSchema
from schemas.filter_tables import FILTER_TABLES
from schemas.outbox import OUTBOX
from schemas.shared_columns import ALERT_ID, NIGHT, OBJECT_ID, PACKET_DIGEST, RUN_ID, SURVEY
from schemas.table import Column, Table, columns_from_avro, drop, union

CUTOUTS = ("science", "template", "difference")
"""The roles of a packet's three stamps."""

ENVELOPE: tuple[Column, ...] = (
    ALERT_ID,
    OBJECT_ID,
    Column(
        "object_kind",
        "STRING",
        "NULLABLE",
        "dia or solar_system, which use different id spaces; NULL where the packet does not say.",
    ),
    PACKET_DIGEST,
    Column(
        "null_arrays", "STRING", "REPEATED", "Dotted paths of arrays that were null or absent in the packet; here they read []."
    ),
    RUN_ID,
    SURVEY,
    Column("schema_version", "STRING", "NULLABLE", "Schema version as the packet says."),
    Column("observed_at", "TIMESTAMP", "REQUIRED", "UTC time of the observation to 1 us."),
    NIGHT,
    Column("ra_deg", "FLOAT64", "NULLABLE", "Right ascension of the detection, ICRS, degrees, as sent, but for 360, which is 0."),
    Column("dec_deg", "FLOAT64", "NULLABLE", "Declination of the detection, ICRS, degrees, as sent."),
    Column("healpix29", "INT64", "NULLABLE", "Nested HEALPix index of order 29; NULL where the position is not on the sky."),
    Column("source", "STRING", "REQUIRED", "URI of the file (with #member inside an archive) or the Pub/Sub message id."),
    Column("published_at", "TIMESTAMP", "NULLABLE", "UTC time at which the message was published; NULL for files."),
    Column("ingested_at", "TIMESTAMP", "REQUIRED", "UTC time at which the packet was decoded."),
    Column("extra", "JSON", "NULLABLE", "Fields of the packet that no known schema version has, by dotted path."),
)


def alerts_table(survey: str, schemas: Iterable[AvroSchema], stamps: Collection[str], time_note: str, night_note: str) -> Table:
    """``{survey}_alerts``: the envelope, then the union of the packet's fields over ``schemas``, without its stamps.

    ``stamps`` are the dotted paths of the cutouts' bytes. A packet's field that is named like one of our columns, or like one
    but for upper and lower case, has the column ``packet_{name}``. Raises ``ValueError`` when versions disagree on a type.
    """
    packet = _apart_from_ours(drop(union(columns_from_avro(schema) for schema in schemas), stamps))
    notes = {"observed_at": time_note, "night": night_note}
    envelope = tuple(
        Column(c.name, c.type, c.mode, f"{c.description} {notes[c.name]}") if c.name in notes else c for c in ENVELOPE
    )
    return Table(
        f"{survey}_alerts",
        envelope + packet,
        f"Alerts of {survey}, one row per packet as it was sent, stamps left out.",
        partition_by="night",
        cluster_by=("object_id",),
    )


_FILE_NAME = "filename"
"""What DuckDB calls the file that a row stands in, when it is asked for it: no column of a table has this name."""


def _apart_from_ours(packet: tuple[Column, ...]) -> tuple[Column, ...]:
    """The packet's columns, renamed where ours have the name: those of the envelope, and stamps that go along with a row."""
    ours = {column.name for column in ENVELOPE} | set(CUTOUTS) | {_FILE_NAME}
    taken = ours | {column.name.casefold() for column in packet}
    columns = []
    for column in packet:
        name = column.name
        if name.casefold() in ours:
            while name.casefold() in taken:
                name = f"packet_{name}"
            taken.add(name.casefold())
            column = replace(column, name=name, sent_as=column.name)  # noqa: PLW2901
        columns.append(column)
    return tuple(columns)


_WHOSE_STAMPS = "That of the packet they came in: of several with one alert_id it tells whose they are. NULL before 0.2."


def cutouts_table(survey: str) -> Table:
    """``{survey}_cutouts``: the three stamps of each alert, bytes as sent."""
    digest = replace(PACKET_DIGEST, mode="NULLABLE", description=_WHOSE_STAMPS)
    stamps = tuple(
        Column(role, "BYTES", "NULLABLE", f"The {role} stamp as sent; NULL where the packet has none.") for role in CUTOUTS
    )
    return Table(
        f"{survey}_cutouts",
        (ALERT_ID, OBJECT_ID, digest, NIGHT, *stamps),
        f"Image stamps of {survey}'s alerts.",
        partition_by="night",
        cluster_by=("object_id",),
    )


_FEATURES = "What its light curve looks like, by band and as a whole; NULL where that could not be computed."


def features_table(survey: str, features: tuple[Column, ...]) -> Table:
    """``{survey}_features``: what each alert looks like; ``features`` are the fields of the column of that name."""
    envelope = {column.name: column for column in ENVELOPE}
    return Table(
        f"{survey}_features",
        (
            *(envelope[name] for name in ("alert_id", "packet_digest", "object_id", "object_kind", "night", "observed_at")),
            Column("features", "RECORD", description=_FEATURES, fields=features),
            Column("computed_at", "TIMESTAMP", "REQUIRED", "UTC time at which they were computed; the newest of a packet count."),
            Column("version", "STRING", "REQUIRED", "Stands for the definitions: another one where a formula, unit or name is."),
            RUN_ID,
        ),
        f"Features (age, rise, color, ...) of {survey}'s alerts.",
        partition_by="night",
        cluster_by=("object_id",),
    )


DEAD_LETTERS = Table(
    "dead_letters",
    (
        Column("stage", "STRING", "REQUIRED", "Where it failed: read, decode, write, ..."),
        Column("error_type", "STRING", "REQUIRED", "Class of the error."),
        Column("message", "STRING", "REQUIRED", "What is wrong, in one sentence."),
        Column("survey", "STRING", "NULLABLE", "Name of the survey, where it is known."),
        Column("source", "STRING", "REQUIRED", "URI of the file (with #member) or the Pub/Sub message id."),
        Column(
            "payload",
            "BYTES",
            "NULLABLE",
            "The input as it came; NULL where it is too large to keep (read it again from source).",
        ),
        Column(
            "attributes", "JSON", "NULLABLE", "What else is known: run_id, letter (the same for one input that fails again), ..."
        ),
        Column("failed_at", "TIMESTAMP", "REQUIRED", "UTC time of the failure."),
    ),
    "Every input that did not become a row, with enough to run it again.",
    partition_by="failed_at",
)

MATCHED, NO_MATCH, FAILED = "matched", "no_match", "failed"
"""The states of a cross-match: three different facts, never folded into one value."""

CROSSMATCHES = Table(
    "crossmatches",
    (
        SURVEY,
        ALERT_ID,
        OBJECT_ID,
        NIGHT,
        Column("ra_deg", "FLOAT64", "REQUIRED", "Right ascension that was asked for: the alert's, ICRS, degrees."),
        Column("dec_deg", "FLOAT64", "REQUIRED", "Declination that was asked for: the alert's, ICRS, degrees."),
        Column("catalog", "STRING", "REQUIRED", "The catalog as it was named: vizier:II/246/out, simbad, file:stars.parquet."),
        Column(
            "radius_arcsec",
            "FLOAT64",
            "REQUIRED",
            "Sources up to this separation are matches; where sources have radii of their own, the largest that was looked for.",
        ),
        Column("status", "STRING", "REQUIRED", "matched, no_match (asked, and nothing is there) or failed (nobody knows)."),
        Column("error", "STRING", "NULLABLE", "Why it failed, in one sentence; NULL unless failed."),
        Column("asked_at", "TIMESTAMP", "REQUIRED", "UTC time of the question; the newest row of an alert and catalog counts."),
        Column(
            "matches",
            "RECORD",
            "REPEATED",
            "All sources within the radius, nearest first.",
            (
                Column("source_id", "STRING", "NULLABLE", "The catalog's own id; NULL where we know no column that holds it."),
                Column("ra_deg", "FLOAT64", "NULLABLE", "Right ascension the separation is measured to, ICRS, degrees."),
                Column("dec_deg", "FLOAT64", "NULLABLE", "Declination the separation is measured to, ICRS, degrees."),
                Column("separation_arcsec", "FLOAT64", "REQUIRED", "Angle between alert and source, arcsec."),
                Column(
                    "position_epoch_jyear",
                    "FLOAT64",
                    "NULLABLE",
                    "Epoch of the source's position (Julian year); NULL where the catalog gives none.",
                ),
                Column("columns", "JSON", "REQUIRED", "Every column the catalog gave of the source, in the catalog's types."),
            ),
        ),
    ),
    "What is known at each alert's position: one row per alert and catalog asked, and again where it was asked again.",
    partition_by="night",
    cluster_by=("object_id",),
)

RUNS = Table(
    "runs",
    (
        RUN_ID,
        Column("version", "STRING", "REQUIRED", "Version of pitt-broker."),
        Column("options", "JSON", "REQUIRED", "The options of the run."),
        Column("status", "STRING", "REQUIRED", "done or failed."),
        Column("started_at", "TIMESTAMP", "REQUIRED", "UTC."),
        Column("ended_at", "TIMESTAMP", "REQUIRED", "UTC."),
        Column(
            "records_read", "INT64", "REQUIRED", "Records of container files, wire messages, inputs that could not be opened."
        ),
        Column("inputs_skipped", "INT64", "REQUIRED", "Files and archive members that are not alerts."),
        Column("alerts_written", "INT64", "REQUIRED", "Rows of all {survey}_alerts tables, copies and conflicts among them."),
        Column("copies", "INT64", "REQUIRED", "Rows with the survey, alert_id, packet_digest and schema_version of another row."),
        Column("conflicts", "INT64", "REQUIRED", "Further contents under one alert_id: another packet_digest or schema_version."),
        Column("dead_letters", "INT64", "REQUIRED", "Rows of dead_letters."),
        Column("counts", "JSON", "REQUIRED", "Alerts by survey, dead letters by stage, warnings, latency in seconds."),
    ),
    "One row per batch run.",
)

UNIT_STREAMS = Table(
    "unit_streams",
    (
        Column("unit", "STRING", "REQUIRED", "The inputs that were ingested as one: 16 hexadecimal digits that stand for them."),
        Column("table_name", "STRING", "REQUIRED", "The table that the stream's rows are for."),
        Column("write_stream", "STRING", "REQUIRED", "A PENDING stream of the Storage Write API: projects/.../streams/..."),
        RUN_ID,
        Column("written_by", "STRING", "REQUIRED", "The run that wrote the stream's rows: another where it came first."),
        Column("stream_count", "INT64", "REQUIRED", "How many streams of that run are of the unit and for this table."),
        Column("row_count", "INT64", "REQUIRED", "Rows of all of these."),
        Column("first_night", "DATE", "NULLABLE", "Of these rows; NULL where they have no night."),
        Column("last_night", "DATE", "NULLABLE", "Of these rows."),
        Column("digest", "STRING", "REQUIRED", "16 hexadecimal digits by which the same rows are known again."),
        Column("committed", "BOOL", "REQUIRED", "false: about to be committed; true: committed."),
        Column("noted_at", "TIMESTAMP", "REQUIRED", "UTC."),
    ),
    "By which streams runs have written their inputs, in BigQuery, so that running again writes nothing twice.",
    cluster_by=("unit",),
)

OFFSETS = Table(
    "offsets",
    (
        Column("cluster_id", "STRING", "REQUIRED", "The Kafka cluster's own id."),
        Column("kafka_group", "STRING", "REQUIRED", "The group that reads."),
        Column("topic", "STRING", "REQUIRED", "The topic."),
        Column("kafka_partition", "INT64", "REQUIRED", "The partition of the topic."),
        Column("first_offset", "INT64", "REQUIRED", "The first offset that was read."),
        Column("end_offset", "INT64", "REQUIRED", "The one behind the last that was read: the next round begins here."),
        Column("unit", "STRING", "REQUIRED", "What was read as one: 16 hexadecimal digits that stand for its ranges."),
        RUN_ID,
        Column("committed_at", "TIMESTAMP", "REQUIRED", "UTC time just before the commit, by which its rows came too."),
    ),
    "What was read of Kafka, a row per partition and round, committed together with the rows of its messages.",
    partition_by="committed_at",
    cluster_by=("kafka_group", "topic"),
)

WATCHED_FILES = Table(
    "watched_files",
    (
        Column("watch", "STRING", "REQUIRED", "The folder or glob that is watched."),
        Column("uri", "STRING", "REQUIRED", "A file of it."),
        Column("size_bytes", "INT64", "REQUIRED", "Its size when it was read."),
        Column("modified_at", "TIMESTAMP", "NULLABLE", "UTC; when it was changed last, before it was read."),
        RUN_ID,
        Column("committed_at", "TIMESTAMP", "REQUIRED", "UTC time just before the commit, by which its rows came too."),
    ),
    "What was read of folders that are watched, a row per file and reading, committed together with the rows of its alerts.",
    partition_by="committed_at",
    cluster_by=("watch", "uri"),
)

ROUND_PLANS = Table(
    "round_plans",
    (
        Column("stream", "STRING", "REQUIRED", "Who reads: kafka://CLUSTER_ID/GROUP, or watch:FOLDER."),
        Column("plan", "STRING", "REQUIRED", "The ranges of offsets, or the files, of its newest round, as JSON."),
        Column("planned_at", "TIMESTAMP", "REQUIRED", "UTC; the newest counts."),
    ),
    "In BigQuery, what a stream reads in its newest round: one that dies is done again with the same.",
    partition_by="planned_at",
    cluster_by=("stream",),
)

READ_TABLES = (OFFSETS, WATCHED_FILES)
"""What streams have read, committed with the rows of it and after them."""
SHARED_TABLES = (CROSSMATCHES, DEAD_LETTERS, RUNS, *READ_TABLES, *FILTER_TABLES, OUTBOX)
"""Those that every warehouse has, besides the surveys' own."""
BIGQUERY_TABLES = (ROUND_PLANS, UNIT_STREAMS)
"""Those that only a dataset has: a folder keeps as much in files."""
