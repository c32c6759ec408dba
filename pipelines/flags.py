"""The flags of a run, with units and defaults, by groups: as argparse has them, without Beam, which takes two seconds to load.

``pipelines.options`` makes options of Beam's of them.
"""

from __future__ import annotations

import argparse

from alerts.catalogs.defaults import CATALOG_EPOCH, CROSSMATCH_URL, DEADLINE_SECS, OBSERVED_EPOCH, RADIUS_ARCSEC
from alerts.limits import MAX_FILTER_US
from alerts.lists.named import FORM, REGION_HELP, WATCHLIST_HELP
from alerts.surveys import SURVEYS
from pipelines.logs import FORMATS, TEXT
from warehouses.places import FORMS, LIMIT

WRITE_METHODS = ("file_loads", "streaming_inserts", "storage_write")


def add_run(parser: argparse.ArgumentParser) -> None:
    """The flags of ``broker ingest``."""
    _add_source(parser.add_argument_group("what to read: files, or Pub/Sub"))
    add_run_without_source(parser)


def add_run_without_source(parser: argparse.ArgumentParser) -> None:
    """Those of them that commands take that read a warehouse."""
    _add_packets(parser.add_argument_group("how to read it"))
    _add_crossmatch(parser.add_argument_group("which catalogs to ask what is known at each alert's position"))
    _add_filters(parser.add_argument_group("which filters to ask about each alert"))
    _add_sink(parser.add_argument_group("where to write"))
    _add_logs(parser.add_argument_group("what to say"))
    parser.add_argument(
        "--max_dead_letters",
        type=float,
        default=1.0,
        metavar="FRACTION",
        help="a batch run fails, after writing, when more of the records are dead letters (0 to 1, default 1: never)",
    )


def add_rounds(parser: argparse.ArgumentParser) -> None:
    """The flags of ``broker ingest`` for a stream that this machine reads in rounds."""
    group = parser.add_argument_group("a stream that is read in rounds, each a run that ends: Kafka, or a folder that fills")
    group.add_argument(
        "--watch",
        metavar="FOLDER|GLOB",
        help="read what is in a folder (or what a glob matches), and what comes there, when it is complete",
    )
    group.add_argument("--kafka", metavar="HOST:PORT[,..]", help="Kafka's servers; makes the run a stream, in rounds")
    group.add_argument(
        "--kafka_topic",
        metavar="NAME|REGEX",
        help="the topic, or a regular expression for whole names; topics that appear are read",
    )
    group.add_argument(
        "--kafka_group", metavar="NAME", help="who reads: a group goes on where it was, and nobody else may read in it"
    )
    group.add_argument(
        "--kafka_from",
        default="group",
        metavar="WHERE",
        help="where a group begins that this warehouse does not know: group (default: its offsets in Kafka, else the earliest), "
        "earliest, latest, or a time (2026-11-29T03:00:00Z)",
    )
    group.add_argument(
        "--kafka_config", metavar="FILE", help="more settings of Kafka's client as key=value lines: TLS, SASL; it stays secret"
    )
    group.add_argument(
        "--kafka_schema",
        metavar="FILE",
        help="the Avro schema (.avsc) of messages that are bare datums, without any framing (a message's key, where it is one)",
    )
    group.add_argument(
        "--every_secs",
        type=float,
        metavar="SECONDS",
        help="a round begins so long after the last one did, at once where there is a backlog (default 5; into BigQuery 30)",
    )
    group.add_argument("--once", action="store_true", help="a stream in rounds ends when it has read what there is")
    group.add_argument(
        "--round_mb", type=float, default=500.0, metavar="MB", help="a round reads about so many MB at most (default 500)"
    )
    group.add_argument(
        "--metrics_port",
        metavar="[HOST:]PORT",
        help="where Prometheus finds what the rounds count (default: nowhere; without HOST for this machine only)",
    )


def add_replay(parser: argparse.ArgumentParser) -> None:
    """The flags of ``broker replay`` besides these."""
    letters = parser.add_argument_group("which dead letters")
    letters.add_argument("--stage", metavar="NAME", help="only letters of this stage: read, decode, publish (default: all)")
    letters.add_argument(
        "--publish_config", metavar="FILE", help="of hits that Kafka has refused: settings of its client (TLS, SASL)"
    )
    letters.add_argument(
        "--max_letters", type=int, default=10_000, metavar="N", help="at most so many, oldest first (default 10000)"
    )


def add_again(parser: argparse.ArgumentParser) -> None:
    """The flags of ``broker rematch`` and ``broker refilter`` besides these."""
    which = parser.add_argument_group("which alerts")
    which.add_argument(
        "--again",
        action="store_true",
        help="ask the catalogs of --crossmatch, or the filters, about alerts that have their answer, too",
    )
    which.add_argument(
        "--night",
        metavar="NIGHT[..NIGHT]",
        help="only this night, or from one to another: 2026-11-01..2026-11-23 (default: all)",
    )


def _add_source(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--input",
        action="append",
        metavar="URI",
        help="alerts to read: .avro, .tar, .tar.gz (.bz2, .xz), a folder or a glob, local or gs://; may be given many times",
    )
    group.add_argument(
        "--subscription", metavar="NAME", help="Pub/Sub subscription, projects/PROJECT/subscriptions/NAME; makes the run a stream"
    )
    group.add_argument(
        "--topic", metavar="NAME", help="Pub/Sub topic, projects/PROJECT/topics/NAME, read by a subscription made for this run"
    )
    group.add_argument(
        "--timestamp_attribute", metavar="NAME", help="message attribute that holds the event time (ms since 1970, or RFC 3339)"
    )
    group.add_argument(
        "--id_label", metavar="NAME", help="message attribute by which the runner drops redelivered messages (Dataflow only)"
    )
    group.add_argument(
        "--stop_after_secs",
        type=float,
        metavar="SECONDS",
        help="a stream in rounds ends after this time, when its round is done (default: it runs until it is interrupted)",
    )


def _add_packets(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--survey", default="auto", metavar="NAME", help=f"auto (default: each packet tells), or one of {', '.join(SURVEYS)}"
    )
    group.add_argument(
        "--max_alerts",
        type=int,
        metavar="N",
        help="read only the first N records of the files, one after another (default: all)",
    )
    group.add_argument(
        "--alerts_per_write",
        type=int,
        metavar="N",
        help="alerts decoded and written together: rows of one insert into BigQuery (default 500), "
        "records decoded at once (default 256)",
    )
    group.add_argument(
        "--schemas",
        metavar="FOLDER|URL",
        help="schemas of wire messages that are not built in: a folder with {id}.avsc, or a Confluent registry's URL",
    )


def _add_crossmatch(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--crossmatch",
        action="append",
        metavar="CATALOG",
        help="vizier:TABLE (vizier:II/246/out), simbad, or file:PATH (Parquet, CSV, FITS, VOTable, .., local or gs://); "
        "CATALOG?radius_arcsec=1.5 has a radius of its own; may be given many times",
    )
    group.add_argument("--watchlist", action="append", metavar=FORM, help=WATCHLIST_HELP)
    group.add_argument(
        "--radius_arcsec",
        type=float,
        default=RADIUS_ARCSEC,
        metavar="ARCSEC",
        help=f"sources up to this far from an alert are its matches (default {RADIUS_ARCSEC:g}, at most 180; of files 3600)",
    )
    group.add_argument(
        "--crossmatch_epoch",
        choices=(CATALOG_EPOCH, OBSERVED_EPOCH),
        default=CATALOG_EPOCH,
        help="look for stars where their catalog is matched (default), or where proper motion had brought them when the "
        "alert was observed",
    )
    group.add_argument(
        "--crossmatch_concurrency",
        type=int,
        default=2,
        metavar="N",
        help="calls of a service in flight at once, for the whole run (default 2; more may get you banned)",
    )
    group.add_argument(
        "--max_wait_secs",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="a stream on Dataflow gathers positions for so long before it calls a service (default 5)",
    )
    group.add_argument(
        "--crossmatch_deadline_secs",
        type=float,
        default=DEADLINE_SECS,
        metavar="SECONDS",
        help="a call of a service that takes longer has failed (default 60)",
    )
    group.add_argument(
        "--crossmatch_cache_arcsec",
        type=float,
        default=1.0,
        metavar="ARCSEC",
        help="an object's later alerts up to this far from the first need no call, and get the same rows (default 1; 0: call)",
    )
    group.add_argument(
        "--crossmatch_url",
        default=CROSSMATCH_URL,
        metavar="URL",
        help=f"another X-Match service, such as that of broker catalog-server (default {CROSSMATCH_URL})",
    )


def _add_filters(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--filters",
        metavar="FOLDER",
        help="ask the filters of this folder (its files NAME.sql, local or gs://) and write what they say to verdicts and "
        "filter_counts; a stream in rounds reads the folder again before each round",
    )
    group.add_argument(
        "--publish",
        action="append",
        metavar="ADDRESS",
        help="send what filters pass when its rows are durable: pubsub:projects/P/topics/T, kafka:HOST:PORT/TOPIC or "
        "folder:PATH, with {survey} and {filter} in names; "
        "[?format=lite|json|packet][&config=FILE][&filter=NAME][&ordered][&private]; filter=all is every alert; may be given "
        "many times",
    )
    group.add_argument("--sky_region", action="append", metavar=FORM, help=f"{REGION_HELP}; or --region NAME=FILE")
    group.add_argument(
        "--max_filter_us",
        type=float,
        default=MAX_FILTER_US,
        metavar="MICROSECONDS",
        help=f"a filter that takes more of each alert in the long run is put aside (default {MAX_FILTER_US:g})",
    )


def _add_sink(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--warehouse",
        default="./warehouse",
        metavar="URI",
        help=FORMS,
    )
    group.add_argument("--maximum_bytes_billed", type=int, metavar="BYTES", help=LIMIT)
    group.add_argument(
        "--write_method",
        choices=WRITE_METHODS,
        help="how rows go into BigQuery: file_loads (default for files), storage_write (for Pub/Sub) or streaming_inserts",
    )
    group.add_argument(
        "--load_every_secs",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="a stream on Dataflow that writes files (file_loads, or a folder) puts them in place this often (default 60)",
    )
    group.add_argument(
        "--cutouts", action="store_true", default=True, help="write the image stamps to {survey}_cutouts (default)"
    )
    group.add_argument(
        "--no_cutouts", dest="cutouts", action="store_false", help="leave the image stamps out; they are not decoded either"
    )
    group.add_argument(
        "--no_history",
        dest="history",
        action="store_false",
        help="leave out the packets' arrays of records (prv_candidates, fp_hists, prvDiaSources, ...), which are not decoded "
        "either; Parquet files then lack these columns, in BigQuery they are empty (default: all is written)",
    )
    group.add_argument(
        "--features",
        action="store_true",
        default=None,
        help="write what the alerts' light curves look like to {survey}_features (default, but with --no_history)",
    )
    group.add_argument("--no_features", dest="features", action="store_false", default=None, help="leave the features out")


def _add_logs(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--log_format",
        choices=FORMATS,
        default=TEXT,
        help="stderr has lines for a person (text, default), or one JSON object a line with severity, message, time and run_id, "
        "as Cloud Logging reads them (json); stdout has the account in both",
    )
