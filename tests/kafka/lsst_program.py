"""Reads LSST alerts with Rubin's ``lsst-alert-packet``, in an environment that knows nothing of this project.

    python lsst_program.py FILE...

Prints a line of JSON for each file: what the alert says, read by the schema that it brings and by the one that Rubin publishes
for that version.
"""

import json
import sys

from lsst.alert.packet import Schema, retrieve_alerts
from lsst.alert.packet.schema import get_schema_path

STAMPS = ("cutoutDifference", "cutoutScience", "cutoutTemplate")


def told(path: str) -> dict[str, object]:
    """What a file holds."""
    with open(path, "rb") as file:
        schema, alerts = retrieve_alerts(file)
        (alert,) = alerts
    major, minor = schema.definition["name"].partition(".v")[2].partition(".")[0].split("_")
    published = Schema.from_file(f"{get_schema_path(major, minor)}/lsst.v{major}_{minor}.alert.avsc")
    with open(path, "rb") as file:
        _, alerts = retrieve_alerts(file, published)
        (again,) = alerts
    return {
        "id": str(alert["diaSourceId"]),
        "flux": alert["diaSource"]["psfFlux"],
        "history": len(alert["prvDiaSources"] or ()),
        "stamps": [alert[name] for name in STAMPS],
        "is_valid": published.validate(alert),
        "same_by_published": again == alert,
    }


if __name__ == "__main__":
    for path in sys.argv[1:]:
        print(json.dumps(told(path)))
