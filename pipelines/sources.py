"""What a run reads, from its options: files by units, or messages."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from alerts.avro.wire_schemas import check_registry
from pipelines.errors import OptionsError
from pipelines.options import BrokerOptions
from transforms.ends import Source
from transforms.files import find_inputs
from transforms.read import BATCH_PACKETS, ReadPackets, plan_units
from transforms.read_pubsub import ReadMessages
from warehouses.files import StoredFile
from warehouses.reachable import check_reachable
from warehouses.units import Unit

_PLACES = ("input", "subscription", "topic")
"""The flags that say what to read."""


@dataclass(frozen=True)
class Inputs:
    """What a run reads."""

    read: Source
    units: tuple[Unit, ...] = ()
    """The files, by what is replaced as one; none of a stream."""
    skipped: tuple[str, ...] = ()
    """Files of a folder or glob that are no alerts by their name."""

    @property
    def number(self) -> int:
        """Of the files."""
        return sum(len(unit.inputs) for unit in self.units)


def is_stream(broker: BrokerOptions) -> bool:
    """Whether messages are read, which never end. Raises ``OptionsError`` where nothing is named, or two things."""
    given = [name for name in _PLACES if getattr(broker, name)]
    if not given:
        raise OptionsError(
            "--input is missing: give a file, a folder or a glob of alerts, for example --input night.tar.gz, "
            "--subscription projects/PROJECT/subscriptions/NAME, or --kafka HOST:PORT"
        )
    if len(given) > 1:
        raise OptionsError(f"--{given[0]} and --{given[1]} are given; a run reads from one of them")
    return given != ["input"]


def check_nothing_named(broker: BrokerOptions, reads: str) -> None:
    """Refuse options that name what to read, where a command reads something else. Raises ``OptionsError``."""
    for name in _PLACES:
        if getattr(broker, name):
            raise OptionsError(f"--{name} is given, but {reads}; leave it out")


def files(broker: BrokerOptions) -> Inputs:
    """The files of ``--input``, none where there is none. Raises ``OptionsError``."""
    units, skipped = plan_units(file for uri in broker.input or [] for file in _find(uri))
    batch = min(broker.alerts_per_write or BATCH_PACKETS, BATCH_PACKETS)
    return Inputs(ReadPackets(units, _schemas(broker.schemas), batch, broker.max_alerts), tuple(units), tuple(skipped))


def messages(broker: BrokerOptions, local: bool) -> Inputs:
    """What a subscription or topic gives, to a runner of this machine or another. Raises ``OptionsError``."""
    for flag, kind in (("subscription", "subscriptions"), ("topic", "topics")):
        name = getattr(broker, flag)
        if name and not re.fullmatch(rf"projects/[a-z][-a-z0-9:.]{{4,}}[a-z0-9]/{kind}/[a-zA-Z][\w.~+%-]{{2,}}", name):
            raise OptionsError(f"--{flag} {name} is not of the form projects/PROJECT/{kind}/NAME")
    # Local runners refuse an id label, on a thread of their own where nobody hears it.
    id_label = None if local else broker.id_label
    schemas = _schemas(broker.schemas)
    return Inputs(ReadMessages(broker.subscription, broker.topic, id_label, broker.timestamp_attribute, schemas))


def _find(uri: str) -> list[StoredFile]:
    try:
        check_reachable(uri)
        found = find_inputs(uri)
    except Exception as error:  # Beam's filesystems raise what the service's client raises
        raise OptionsError(f"--input {uri} cannot be listed: {error}") from error
    if not found:
        raise OptionsError(f"--input {uri} matches no file")
    return found


def _schemas(location: str | None) -> str | None:
    if location is None:
        return None
    if location.startswith(("http://", "https://")):
        try:
            check_registry(location)
        except ValueError as error:
            raise OptionsError(f"--schemas: {error}") from error
        return location
    if not os.path.isdir(location):
        raise OptionsError(f"--schemas {location} is neither a folder with files {{id}}.avsc nor the URL of a schema registry")
    return os.path.abspath(location)
