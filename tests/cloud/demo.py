"""``make cloud-demo``: a simulated night through Pub/Sub and in one batch into BigQuery, all of it on this machine.

Google's services are emulators (``tests.emulators``); the clients, the pipeline and the commands are the real ones.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from pathlib import Path

from broker import cli
from tests.cloud.streams import Topic
from tests.emulators import cloud, processes

_ALERTS = 300
_COUNTS = """
    SELECT 'alerts' AS what, COUNT(*) AS rows_written FROM ztf_alerts
    UNION ALL SELECT 'alerts, each once', COUNT(*) FROM ztf_alerts_unique
    UNION ALL SELECT 'cutouts', COUNT(*) FROM ztf_cutouts
    UNION ALL SELECT 'dead letters', COUNT(*) FROM dead_letters WHERE message NOT LIKE '%heartbeat%'
"""


def main() -> int:
    """Run the demo; gives the exit status."""
    warnings.simplefilter("ignore", ResourceWarning)
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="cloud-demo-") as folder, cloud.running(Path(folder, "emulators")) as here:
        night = Path(folder, "night")
        flags = ["--survey", "ztf", "--alerts", str(_ALERTS), "--duplicates", "20", "--damaged", "6", "--out", str(night)]
        if cli.main(["simulate", *flags]):
            return 1
        streamed = _stream(here, night) if here.has_pubsub else _no_stream()
        place = f"bigquery://{here.project}/batch"
        batch = ["--warehouse", place, "--survey", "ztf", "--write_method", "storage_write"]
        for title in ("the same night in one batch, by the Storage Write API", "and once more: nothing is written twice"):
            print(f"\n== {title}")
            if cli.main(["ingest", "--input", str(night), *batch]):
                return 1
        for name in [*(["stream"] if streamed else []), "batch"]:
            print(f"\n== what bigquery://{here.project}/{name} holds")
            if cli.main(["query", "--warehouse", f"bigquery://{here.project}/{name}", _COUNTS]):
                return 1
    return 0


def _no_stream() -> bool:
    print(f"\n== no stream: {processes.pubsub_missing()}")
    return False


def _stream(here: cloud.Cloud, night: Path) -> bool:
    place = f"bigquery://{here.project}/stream"
    topic = Topic(here.project)
    print("\n== onto a topic")
    if cli.main(["publish", "--input", str(night), "--topic", topic.name]):
        raise RuntimeError("the night could not be published")
    print("\n== and from there into BigQuery, in rounds, by the Storage Write API; it ends when all is read")
    flags = ["--subscription", topic.subscriptions[0], "--warehouse", place, "--survey", "ztf", "--every_secs", "1", "--once"]
    if cli.main(["ingest", *flags]):
        raise RuntimeError("the stream failed")
    return True


if __name__ == "__main__":
    sys.exit(main())
