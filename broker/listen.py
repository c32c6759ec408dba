"""``broker listen``: what comes by a stream, as a line each or into a folder; whether all has come that was sent."""

from __future__ import annotations

import argparse
import sys

from alerts.secrets import redact

_EXAMPLES = """examples:
  broker listen kafka:HOST:9092/ztf-fast
  broker listen pubsub:projects/PROJECT/subscriptions/NAME --save hits
  broker listen folder:hits/ztf-fast --once --verify"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``broker listen``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "address",
        metavar="ADDRESS",
        help="kafka:HOST:PORT[,..]/TOPIC[?config=FILE], pubsub:projects/PROJECT/subscriptions/NAME or folder:PATH",
    )
    parser.add_argument(
        "--from",
        dest="begin",
        default="earliest",
        metavar="earliest|latest|TIME",
        help="where to begin in Kafka or a folder: with what is there (default), with what comes from now on, or with what was "
        "sent since a UTC time such as 2026-11-29T05:00:00Z",
    )
    parser.add_argument(
        "--save", metavar="FOLDER", help="save each message there: ID.avro or ID.json, and its headers as JSON: ID.headers"
    )
    parser.add_argument("--once", action="store_true", help="end when nothing has come for --quiet_secs")
    parser.add_argument("--quiet_secs", type=float, default=5.0, metavar="SECONDS", help="of --once and --verify (default 5)")
    parser.add_argument("--stop_after_secs", type=float, metavar="SECONDS", help="end after so long")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="then hold what came against the topic's manifests, and name what is missing (status 1); only with --from earliest",
    )
    parser.add_argument(
        "--manifest",
        metavar="ADDRESS",
        help="where manifests and heartbeats are (default: beside the topic or folder; of Pub/Sub a subscription)",
    )


def main(arguments: argparse.Namespace) -> int:
    """Listen; gives the exit status: 0, 1 where something is missing or the stream is away, 2 where the words are wrong."""
    from pipelines.listening import Listening  # noqa: PLC0415
    from streams.errors import StreamAway, StreamProblem  # noqa: PLC0415
    from streams.manifests import NoManifest  # noqa: PLC0415

    try:
        listening = Listening.of(arguments)
    except (StreamProblem, ValueError) as error:
        return _failed(error, 2)
    try:
        with listening:
            listening.run()
            return listening.verify() if arguments.verify else 0
    except (StreamAway, NoManifest, OSError) as error:
        return _failed(error, 1)
    except StreamProblem as error:
        return _failed(error, 2)


def _failed(error: Exception, status: int) -> int:
    print(f"broker listen: {redact(str(error))}", file=sys.stderr)
    return status
