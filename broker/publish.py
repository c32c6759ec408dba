"""``broker publish``: packets of archives, or of a simulated night, to a topic or a folder at a given pace."""

from __future__ import annotations

import argparse
import itertools
import sys
import time

from alerts.secrets import redact
from warehouses.places import FORMS

_EXAMPLES = """examples:
  broker publish --input night/ --to pubsub:projects/PROJECT/topics/NAME --rate 256/s
  broker publish --input night/ --to kafka:HOST:9092/TOPIC --cadence lsst
  broker publish --input night.tar.gz --to folder:packets
  broker publish --outbox --warehouse ./warehouse"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``broker publish``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--input", action="append", metavar="URI", help="archives, files, folders or globs")
    what.add_argument("--outbox", action="store_true", help="in place of --input: hits that wait in a warehouse's outbox")
    parser.add_argument("--warehouse", default="./warehouse", metavar="URI", help=f"of --outbox: {FORMS}")
    parser.add_argument("--config", metavar="FILE", help="of --outbox: settings of Kafka's client (TLS, SASL)")
    parser.add_argument("--ordered", action="store_true", help="of --outbox: in Pub/Sub messages of one object in order")
    parser.add_argument(
        "--older_than_secs",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="of --outbox: leave out what was written less than so long ago, which the stream that wrote it sends itself",
    )
    parser.add_argument(
        "--newer_than_days",
        type=float,
        metavar="DAYS",
        help="of --outbox: look only at what was written within so many days (default: at all that was ever sent)",
    )
    to = parser.add_mutually_exclusive_group()
    to.add_argument(
        "--to",
        metavar="ADDRESS",
        help="pubsub:projects/PROJECT/topics/NAME, kafka:HOST:PORT[,..]/TOPIC[?config=FILE] or folder:PATH",
    )
    to.add_argument("--topic", metavar="NAME", help="projects/PROJECT/topics/NAME, as --to pubsub:NAME")
    parser.add_argument("--rate", metavar="N/s", help="so many messages a second, evenly (default: as fast as it goes)")
    parser.add_argument(
        "--cadence", metavar="NAME", help="bursts as a survey sends them: lsst is 10,000 every 39 s; or 100/5s: 100 every 5 s"
    )
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="publish everything so many times (default 1)")


def main(arguments: argparse.Namespace) -> int:
    """Publish, and say how much; gives the exit status."""
    if arguments.outbox:
        return _outbox(arguments)
    from pipelines.messages import messages  # noqa: PLC0415 - brings Beam
    from pipelines.publish import PublishError, pace, publish  # noqa: PLC0415
    from streams.addresses import parse_address  # noqa: PLC0415
    from streams.errors import StreamProblem  # noqa: PLC0415
    from streams.writers import open_writer  # noqa: PLC0415 - brings Google's client, or Kafka's

    begin = time.monotonic()
    try:
        # What is wrong with the words is said before anybody asks Google for credentials.
        at = pace(arguments.rate, arguments.cadence)
        if not (arguments.to or arguments.topic):
            raise PublishError("--to is missing: say where to publish")
        flag, text = ("--to", arguments.to) if arguments.to else ("--topic", f"pubsub:{arguments.topic}")
        takes_empty = not text.startswith("pubsub:")
        data = [messages(arguments.input, empty=takes_empty) for _ in range(arguments.repeat)]
        address = parse_address(text, flag, ("config",))
        writer = open_writer(address)
        writer.check()
    except (PublishError, StreamProblem) as error:
        print(f"broker publish: {redact(str(error))}", file=sys.stderr)
        return 2
    try:
        with writer:
            count, size = publish(itertools.chain.from_iterable(data), writer, at, show=True)
    except StreamProblem as error:
        print(f"broker publish: {redact(str(error))}", file=sys.stderr)
        return 1
    except Exception as error:
        print(f"broker publish: {type(error).__name__}: {redact(str(error))}", file=sys.stderr)
        return 1
    seconds = time.monotonic() - begin
    print(f"published {count:,} messages ({size / 1e6:,.1f} MB) to {address} in {seconds:.1f} s, {count / seconds:,.0f}/s")
    return 0


def _outbox(arguments: argparse.Namespace) -> int:
    """Send what is open, whatever run has written it; gives the exit status: 0 where nothing waits any more, else 1."""
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415

    import warehouses  # noqa: PLC0415
    from pipelines.open_messages import WrittenBetween  # noqa: PLC0415
    from pipelines.sending import Reach, open_addresses, send_open  # noqa: PLC0415
    from schemas.run_ids import new_run_id  # noqa: PLC0415
    from streams.errors import StreamProblem  # noqa: PLC0415
    from warehouses.errors import QueryError  # noqa: PLC0415

    now, days, secs = datetime.now(UTC), arguments.newer_than_days, arguments.older_than_secs
    written = WrittenBetween(now - timedelta(days=days) if days else None, now - timedelta(seconds=secs) if secs else None)
    try:
        with warehouses.at(arguments.warehouse) as place:
            addresses = open_addresses(place, arguments.config, ordered=arguments.ordered, written=written)
        found = send_open(arguments.warehouse, addresses, new_run_id(now), Reach(written))
    except (StreamProblem, QueryError) as error:
        print(f"broker publish: {redact(str(error))}", file=sys.stderr)
        return 2
    if not addresses:
        print(f"nothing waits in the outbox of {arguments.warehouse}")
    for topic in addresses:
        print(f"{topic}: {found.sent[topic]:,} sent, {found.refused[topic]:,} refused for good")
    for topic, why in found.waiting.items():
        print(f"broker publish: {topic}: {redact(why)}", file=sys.stderr)
    return 1 if found.waiting else 0
