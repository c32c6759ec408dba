"""``broker publish``: packets of archives, or of a simulated night, onto a Pub/Sub topic at a given pace."""

from __future__ import annotations

import argparse
import itertools
import sys
import time

from alerts.secrets import redact

_EXAMPLES = """examples:
  broker publish --input night/ --topic projects/PROJECT/topics/NAME --rate 256/s
  broker publish --input night/ --topic projects/PROJECT/topics/NAME --cadence lsst"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``broker publish``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    parser.add_argument("--input", action="append", required=True, metavar="URI", help="archives, files, folders or globs")
    parser.add_argument("--topic", required=True, metavar="NAME", help="projects/PROJECT/topics/NAME")
    parser.add_argument("--rate", metavar="N/s", help="so many messages a second, evenly (default: as fast as it goes)")
    parser.add_argument("--cadence", metavar="NAME", help="bursts as a survey sends them: lsst is 10,000 every 39 s")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="publish everything so many times (default 1)")


def main(arguments: argparse.Namespace) -> int:
    """Publish, and say how much; gives the exit status."""
    from pipelines.messages import messages  # noqa: PLC0415 - brings Beam
    from pipelines.publish import PublishError, pace, publish  # noqa: PLC0415 - brings Google's client

    begin = time.monotonic()
    try:
        # What is wrong with the words is said before anybody asks Google for credentials.
        at = pace(arguments.rate, arguments.cadence)
        data = [messages(arguments.input) for _ in range(arguments.repeat)]
        count, size = publish(itertools.chain.from_iterable(data), arguments.topic, at, show=True)
    except PublishError as error:
        print(f"broker publish: {redact(str(error))}", file=sys.stderr)
        return 2
    except Exception as error:
        print(f"broker publish: {type(error).__name__}: {redact(str(error))}", file=sys.stderr)
        return 1
    seconds = time.monotonic() - begin
    print(
        f"published {count:,} messages ({size / 1e6:,.1f} MB) to {arguments.topic} in {seconds:.1f} s, {count / seconds:,.0f}/s"
    )
    return 0
