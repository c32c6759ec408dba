"""Files as the messages that a survey would have sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from alerts.avro.inputs import Skipped
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from pipelines.publish import PublishError
from transforms.elements import ReadTask
from transforms.files import find_inputs
from transforms.read import plan_units, read_task
from warehouses.units import Unit


def messages(inputs: Iterable[str], schemas: str | None = None, *, empty: bool = False) -> Iterator[bytes]:
    """What files hold, one message per packet, as it was sent; what cannot be read goes out as it is, too.

    ``empty``: also packets of no bytes, which Pub/Sub does not take. Raises ``PublishError``, before anything is read, when an
    input matches no file.
    """
    found = [(uri, find_inputs(uri)) for uri in inputs]
    for uri, files in found:
        if not files:
            raise PublishError(f"--input {uri} matches no file")
    units, _ = plan_units(file for _, files in found for file in files)
    return _sent(units, WireSchemas(schemas), empty)


def _sent(units: Iterable[Unit], wire_schemas: WireSchemas, empty: bool) -> Iterator[bytes]:
    for unit in units:
        for item in read_task(ReadTask(unit), wire_schemas):
            if isinstance(item, Packet):
                yield item.as_sent()
            elif not isinstance(item, Skipped) and item.payload is not None and (item.payload or empty):
                yield item.payload
