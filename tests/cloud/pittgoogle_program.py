"""Pulls alerts with ``pittgoogle-client`` from the Pub/Sub emulator, in an environment that knows nothing of this project.

    python pittgoogle_program.py PROJECT SUBSCRIPTION SCHEMA COUNT

Prints a line of JSON for each alert: what its schema's map calls by Pitt-Google's names, and the attributes.
"""

import contextlib
import json
import sys
import time

from google.cloud import pubsub_v1

with contextlib.redirect_stdout(sys.stderr):
    import pittgoogle


def main(project: str, name: str, schema: str, count: int) -> None:
    """Pull so many."""
    # It knows no emulators: the client is Google's, which finds the one of the environment.
    client = pubsub_v1.SubscriberClient()
    auth = pittgoogle.Auth(GOOGLE_CLOUD_PROJECT=project)
    subscription = pittgoogle.Subscription(name, auth=auth, client=client, schema_name=schema)
    found, deadline = 0, time.monotonic() + 60
    while found < count and time.monotonic() < deadline:
        for alert in subscription.pull_batch(max_messages=20):
            found += 1
            told = {"objectid": alert.objectid, "sourceid": alert.sourceid, "mag": alert.get("source")["magpsf"]}
            told |= {"rows": len(alert.dataframe), "stamp": alert.get("cutout_science"), "attributes": dict(alert.attributes)}
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
