"""A ``broker`` command with a fault built in: ``python -m tests.faults.child OPTIONS -- ingest --input ...``.

The faults are of the machine, not of the broker, whose code runs as it is: a kill at a given step, a clock that jumps,
a disk that cannot be read.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import resource
import signal
import sys
import threading
import time
from datetime import datetime, timedelta, timezone

import time_machine

from broker import cli


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cloud", action="store_true", help="Google's services are the emulators of the environment")
    parser.add_argument(
        "--die_before", type=int, metavar="N", help="SIGKILL before the Nth file is renamed, linked or removed below --within"
    )
    parser.add_argument("--within", metavar="FOLDER")
    parser.add_argument(
        "--clock_hours",
        type=float,
        nargs="*",
        default=[],
        metavar="HOURS",
        help="the clock jumps by so much, every --clock_every_secs",
    )
    parser.add_argument("--clock_every_secs", type=float, default=1.0)
    parser.add_argument("--largest_file_bytes", type=int)
    parser.add_argument("--claims_void_secs", type=float, help="claims in a bucket are void after so long, and renewed six times")
    parser.add_argument("--refused_ids", help="alert ids whose rows have a value that BigQuery does not take")
    parser.add_argument("words", nargs="+")
    given = parser.parse_args()
    if given.cloud:
        importlib.import_module("tests.emulators.worker")
    if given.largest_file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (given.largest_file_bytes,) * 2)
    if given.die_before:
        die_before(given.die_before, given.within)
    if given.claims_void_secs:
        bucket_claims = importlib.import_module("warehouses.folder.bucket_claims")
        bucket_claims.VOID_SECS, bucket_claims.RENEW_SECS = given.claims_void_secs, given.claims_void_secs / 6
    if given.refused_ids:
        refuse(set(given.refused_ids.split(",")))
    with jumping(given.clock_hours, given.clock_every_secs) if given.clock_hours else contextlib.nullcontext():
        return cli.main(given.words)


def die_before(step: int, folder: str) -> None:
    """SIGKILL for the process group when the system is about to be asked to rename, link or remove the Nth file of a folder."""
    left = [step]

    def look(event: str, arguments: tuple) -> None:
        if event in ("os.rename", "os.link", "os.remove") and str(arguments[0]).startswith(folder):
            left[0] -= 1
            if left[0] == 0:
                os.killpg(os.getpgid(0), signal.SIGKILL)

    sys.addaudithook(look)


def refuse(ids: set[str]) -> None:
    """As if the packets of these ids held what their column does not take: then BigQuery itself refuses the rows."""
    write_bigquery = importlib.import_module("transforms.write_bigquery")
    honest = write_bigquery.json_rows

    def with_bad_values(batch):
        rows = honest(batch)
        for row in rows:
            if str(row.get("alert_id")) in ids and "candidate" in row:
                row["ra_deg"] = "not a number"
        return rows

    write_bigquery.json_rows = with_bad_values


@contextlib.contextmanager
def jumping(hours: list[float], every_secs: float):
    """The wall clock goes on as it does, and jumps now and then; the monotonic one does not, as the kernel's."""
    done = threading.Event()
    with time_machine.travel(datetime.now(timezone.utc), tick=True) as clock:

        def jump() -> None:
            for by in hours:
                if done.wait(every_secs):
                    return
                clock.shift(timedelta(hours=by))
                print(f"the clock jumps by {by:+g} h to {time.strftime('%Y-%m-%d %H:%M', time.gmtime())}", flush=True)

        thread = threading.Thread(target=jump, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


if __name__ == "__main__":
    sys.exit(main())
