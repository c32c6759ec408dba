"""``broker relay``: messages of Kafka, as they come, to a topic of Pub/Sub."""

from __future__ import annotations

import argparse
import sys

from alerts.secrets import redact

_EXAMPLES = """examples:
  broker relay --kafka HOST:9092 --kafka_topic 'ztf_.*_programid1' --kafka_group NAME \\
      --publish pubsub:projects/PROJECT/topics/NAME"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``broker relay``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    parser.add_argument("--kafka", required=True, metavar="HOST:PORT[,..]", help="Kafka's servers")
    parser.add_argument(
        "--kafka_topic",
        required=True,
        metavar="NAME|REGEX",
        help="the topic, or a regular expression for whole names; topics that appear are sent on from their beginning",
    )
    parser.add_argument(
        "--kafka_group",
        required=True,
        metavar="NAME",
        help="who reads; Kafka keeps how far it is, and one relay at a time reads in it",
    )
    parser.add_argument(
        "--kafka_from",
        default="group",
        metavar="WHERE",
        help="where a group begins that Kafka does not know: earliest (default), latest, or a time (2026-11-29T03:00:00Z)",
    )
    parser.add_argument(
        "--kafka_config", metavar="FILE", help="more settings of Kafka's client as key=value lines: TLS, SASL; it stays secret"
    )
    parser.add_argument(
        "--publish",
        required=True,
        metavar="ADDRESS",
        help="where to: pubsub:projects/PROJECT/topics/NAME, kafka:HOST:PORT[,..]/TOPIC[?config=FILE] or folder:PATH",
    )
    parser.add_argument(
        "--refused",
        metavar="folder:PATH",
        help="keeps messages that are never taken there, too large ones; without it such a message ends the relay",
    )
    parser.add_argument("--stop_after_secs", type=float, metavar="SECONDS", help="end by itself after so long")
    parser.add_argument("--once", action="store_true", help="end when everything that was there is sent on")


def main(arguments: argparse.Namespace) -> int:
    """Send on until somebody ends it; gives the exit status."""
    from pipelines.relaying import open_relay, run_relay  # noqa: PLC0415 - brings Google's client, and Kafka's
    from streams.errors import StreamProblem  # noqa: PLC0415
    from streams.kafka_client import KafkaSettings  # noqa: PLC0415

    settings = KafkaSettings(arguments.kafka, arguments.kafka_group, arguments.kafka_config)
    try:
        relay = open_relay(
            settings, arguments.kafka_topic, arguments.kafka_from, arguments.publish, arguments.refused, arguments.once
        )
    except StreamProblem as error:
        print(f"broker relay: {redact(str(error))}", file=sys.stderr)
        return 2
    problem = run_relay(relay, arguments.stop_after_secs)
    print(f"relayed {relay.messages:,} messages ({relay.size_bytes / 1e6:,.1f} MB) to {arguments.publish.partition('?')[0]}")
    if problem:
        print(f"broker relay: {redact(problem)}", file=sys.stderr)
        return 1
    return 0
