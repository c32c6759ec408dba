"""``broker stream status``: what a warehouse, and Kafka where it is named, say of the streams that fill it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import warehouses
from alerts.json_text import to_json
from alerts.secrets import redact
from warehouses import QueryError
from warehouses.places import FORMS, LIMIT

if TYPE_CHECKING:
    from streams.kafka_lag import PartitionLag
    from warehouses.streamed import Group, Period, StreamKnown

_EXAMPLES = """examples:
  broker stream status --warehouse ./warehouse
  broker stream status --warehouse bigquery://PROJECT/DATASET --kafka HOST:9092
  broker stream status --warehouse ./warehouse --json"""
_WHAT = {"kafka_group": "group {} of Kafka", "watch": "{}, watched", "subscription": "{}", "topic": "{}"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("what", choices=["status"], help="the streams that fill a warehouse, wherever they run")
    parser.add_argument("--warehouse", default="./warehouse", metavar="URI", help=FORMS)
    parser.add_argument("--maximum_bytes_billed", type=int, metavar="BYTES", help=LIMIT)
    parser.add_argument("--kafka", metavar="HOST:PORT[,..]", help="Kafka's servers: asked how much is not read, and since when")
    parser.add_argument("--kafka_topic", metavar="NAME|REGEX", help="the topics that are read (default: those that were)")
    parser.add_argument("--kafka_group", metavar="NAME", help="only this group (default: all that the warehouse knows)")
    parser.add_argument("--kafka_config", metavar="FILE", help="more settings of Kafka's client as key=value lines: TLS, SASL")
    parser.add_argument("--json", action="store_true", help="all of it, as JSON")
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def main(arguments: argparse.Namespace) -> int:
    """Print it; gives the exit status: 1 where the warehouse knows of no stream, or Kafka does not answer."""
    from streams.errors import StreamProblem  # noqa: PLC0415 - not for the help

    now = datetime.now(timezone.utc)
    try:
        found = _status(arguments, now)
    except (QueryError, StreamProblem) as error:
        print(f"broker stream: {redact(str(error))}", file=sys.stderr)
        return 1 if isinstance(error, StreamProblem) else 2
    if not found["streams"] and not found["groups"]:
        print(f"broker stream: {arguments.warehouse} knows of no stream", file=sys.stderr)
        return 1
    print(to_json(_plain(found)) if arguments.json else "\n".join(_lines(found, now)))
    return 0


def _status(arguments: argparse.Namespace, now: datetime) -> dict[str, Any]:
    """What is known. Raises ``QueryError`` and ``StreamProblem``."""
    from warehouses import streamed  # noqa: PLC0415 - not for the help

    with warehouses.open(arguments.warehouse, arguments.maximum_bytes_billed) as opened:
        of_group = arguments.kafka_group
        streams = [known for known in streamed.streams(opened, now) if of_group in (None, known.name)]
        groups = [group for group in streamed.groups(opened) if of_group in (None, group.group)]
        catalogs = sorted({name for known in streams for name in known.catalogs if not name.startswith("file:")})
        return {
            "streams": streams,
            "groups": groups,
            "letters": streamed.letters(opened, now),
            "backlogs": streamed.backlogs(opened, catalogs, now),
            "lags": _lags_of(arguments, groups) if arguments.kafka else {},
        }


def _lags_of(arguments: argparse.Namespace, groups: list[Group]) -> dict[str, list[PartitionLag]]:
    """By group, how far those are behind that read this Kafka."""
    from streams.kafka_lag import OtherCluster  # noqa: PLC0415 - not for the help

    found, others = {}, []
    for group in groups:
        try:
            found[group.group] = _lags(arguments, group)
        except OtherCluster as error:
            others.append(error)
    if others and not found:
        raise others[0]
    return found


def _lags(arguments: argparse.Namespace, group: Group) -> list[PartitionLag]:
    from streams.kafka_client import KafkaSettings  # noqa: PLC0415 - not for the help
    from streams.kafka_lag import lags, topics_pattern  # noqa: PLC0415

    pattern = arguments.kafka_topic or topics_pattern(topic for topic, _ in group.done)
    settings = KafkaSettings(arguments.kafka, group.group, arguments.kafka_config)
    return lags(settings, pattern, group.cluster_id, group.done)


def _lines(found: dict[str, Any], now: datetime) -> Iterator[str]:
    """It for a person to read."""
    for known in found["streams"]:
        yield _WHAT[known.kind].format(known.name)
        yield from _stream_lines(known, now)
        if known.kind == "kafka_group":
            for group in found["groups"]:
                if group.group == known.name:
                    yield from _group_lines(group, found["lags"].get(group.group), now)
    told = {known.name for known in found["streams"] if known.kind == "kafka_group"}
    for group in found["groups"]:
        if group.group not in told:
            yield f"group {group.group} of Kafka, no round in a week"
            yield from _group_lines(group, found["lags"].get(group.group), now)
    letters = ", ".join(f"{stage} {number:,}" for stage, number in found["letters"].items())
    yield f"dead letters of a week  {letters or 'none'}"
    for backlog in found["backlogs"]:
        yield f"{backlog.catalog}  {backlog.unanswered:,} of {backlog.alerts:,} alerts of a week have no answer"


def _stream_lines(stream: StreamKnown, now: datetime) -> Iterator[str]:
    last = stream.last
    secs = (last.ended_at - last.started_at).total_seconds()
    failed = ", failed" if last.status != "done" else ""
    counts = f"{last.records:,} read, {last.alerts:,} alerts, {last.letters:,} dead letters, {secs:.1f} s{failed}"
    yield f"  {'last round':<12} {last.ended_at:%Y-%m-%d %H:%M:%S} UTC, {_ago(now - last.ended_at)}: {counts}"
    yield _period_line("last hour", stream.hour, 3600.0)
    yield _period_line("last day", stream.day, 86_400.0)


def _period_line(name: str, period: Period, secs: float) -> str:
    failed = f" ({period.failed:,} failed)" if period.failed else ""
    return (
        f"  {name:<12} {period.rounds:,} rounds{failed}, {period.records:,} read ({period.records / secs:,.2f}/s), "
        f"{period.alerts:,} alerts, {period.letters:,} dead letters"
    )


def _group_lines(group: Group, lags: list[PartitionLag] | None, now: datetime) -> Iterator[str]:
    topics = len({topic for topic, _ in group.done})
    yield f"  {'read':<12} {len(group.done):,} partitions of {topics:,} topics of cluster {group.cluster_id}"
    if lags is None:
        return
    behind = [lag for lag in lags if lag.messages]
    oldest = min((lag.oldest_at for lag in behind if lag.oldest_at), default=None)
    since = f", the oldest {_minutes(now - oldest)} min old" if oldest else ""
    yield f"  {'lag':<12} {sum(lag.messages for lag in lags):,} messages{since}"
    for lag in behind:
        age = f", {_minutes(now - lag.oldest_at)} min" if lag.oldest_at else ""
        yield f"    {lag.topic}/{lag.partition}: {lag.messages:,} messages{age} (at {lag.done:,} of {lag.end:,})"


def _minutes(age: timedelta) -> str:
    return f"{max(0.0, age.total_seconds() / 60):,.1f}"


def _ago(age: timedelta) -> str:
    secs = age.total_seconds()
    return f"{secs:,.0f} s ago" if secs < 120 else f"{secs / 60:,.0f} min ago" if secs < 7200 else f"{secs / 3600:,.0f} h ago"


def _plain(found: Any) -> Any:
    """Values as JSON has them."""
    from dataclasses import fields, is_dataclass  # noqa: PLC0415 - only for JSON

    if is_dataclass(found) and not isinstance(found, type):
        return {field.name: _plain(getattr(found, field.name)) for field in fields(found)}
    if isinstance(found, dict):
        return {"/".join(map(str, key)) if isinstance(key, tuple) else key: _plain(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [_plain(part) for part in found]
    return found
