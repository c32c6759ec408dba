"""``make cloud-demo``: a simulated night through Pub/Sub and in one batch into BigQuery, all of it on this machine.

Google's services are emulators (``tests.emulators``); the clients, the pipeline and the commands are the real ones.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path

from broker import cli, warehouse
from pipelines.messages import messages
from tests.cloud.streams import Topic, run_until
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
    wanted = sum(1 for _ in messages([str(night)]))
    print("\n== and from there into BigQuery, by the Storage Write API")
    begin = time.monotonic()
    run_until(topic, [["--warehouse", place, "--survey", "ztf"]], lambda: _rows(place) >= wanted)
    print(f"all {wanted} messages are rows or dead letters after {time.monotonic() - begin:.0f} s")
    return True


def _rows(place: str) -> int:
    """Rows and dead letters; a heartbeat of the topic is no alert."""
    letters = "SELECT COUNT(*) FROM dead_letters WHERE message NOT LIKE '%heartbeat%'"
    sql = f"SELECT (SELECT COUNT(*) FROM ztf_cutouts) + ({letters}) AS n"
    try:
        with warehouse.open(place) as opened:
            return int(opened.query(sql).column("n")[0].as_py())
    except warehouse.QueryError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
