"""What a run reads, from its options: files by units, or messages."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from apache_beam.options.pipeline_options import PipelineOptions

from alerts.avro.wire_schemas import check_registry
from pipelines.errors import OptionsError
from pipelines.options import BrokerOptions, RoundsOptions
from pipelines.runner import is_local
from pipelines.runner import name as runner_name
from transforms.ends import Source
from transforms.files import find_inputs
from transforms.read import BATCH_PACKETS, ReadPackets, plan_units
from transforms.read_pubsub import ReadMessages
from warehouses.files import StoredFile
from warehouses.reachable import check_reachable
from warehouses.units import Unit

_PLACES = ("input", "subscription", "topic")
"""The flags of a run that say what to read, .."""
_IN_ROUNDS = ("kafka", "watch")
""".. and those of streams that are always read in rounds."""
_MESSAGES = ("subscription", "topic")


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


def named(options: PipelineOptions) -> str:
    """The flag, without its dashes, that says what is read. Raises ``OptionsError`` where nothing is named, or two things."""
    broker, rounds = options.view_as(BrokerOptions), options.view_as(RoundsOptions)
    given = [name for name in _PLACES if getattr(broker, name)] + [name for name in _IN_ROUNDS if getattr(rounds, name)]
    if not given:
        raise OptionsError(
            "--input is missing: give a file, a folder or a glob of alerts, for example --input night.tar.gz, or a stream: "
            "--kafka HOST:PORT, --watch FOLDER, or --subscription projects/PROJECT/subscriptions/NAME"
        )
    if len(given) > 1:
        raise OptionsError(f"--{given[0]} and --{given[1]} are given; a run reads from one of them")
    return given[0]


def in_rounds(options: PipelineOptions) -> bool:
    """Whether what is read is a stream that this machine reads in rounds. Raises ``OptionsError``."""
    name = named(options)
    # Messages are held by this process: workers of this machine find them in a file.
    return name in _IN_ROUNDS or (name in _MESSAGES and (is_local(options) or runner_name(options) == "prismrunner"))


def is_stream(options: PipelineOptions) -> bool:
    """Whether messages are read by a run that never ends. Raises ``OptionsError``."""
    return named(options) in _MESSAGES


def check_nothing_named(broker: BrokerOptions, reads: str) -> None:
    """Refuse options that name what to read, where a command reads something else. Raises ``OptionsError``."""
    for name in _PLACES:
        if getattr(broker, name):
            raise OptionsError(f"--{name} is given, but {reads}; leave it out")


def files(broker: BrokerOptions) -> Inputs:
    """The files of ``--input``, none where there is none. Raises ``OptionsError``."""
    units, skipped = plan_units(file for uri in broker.input or [] for file in _find(uri))
    batch = min(broker.alerts_per_write or BATCH_PACKETS, BATCH_PACKETS)
    return Inputs(ReadPackets(units, checked_schemas(broker.schemas), batch, broker.max_alerts), tuple(units), tuple(skipped))


def messages(broker: BrokerOptions) -> Inputs:
    """What a subscription or topic gives to a run that never ends. Raises ``OptionsError``."""
    check_names(broker)
    schemas = checked_schemas(broker.schemas)
    return Inputs(ReadMessages(broker.subscription, broker.topic, broker.id_label, broker.timestamp_attribute, schemas))


def check_names(broker: BrokerOptions) -> None:
    """Refuse what is no name of a subscription or topic. Raises ``OptionsError``."""
    for flag, kind in (("subscription", "subscriptions"), ("topic", "topics")):
        name = getattr(broker, flag)
        if name and not re.fullmatch(rf"projects/[a-z][-a-z0-9:.]{{4,}}[a-z0-9]/{kind}/[a-zA-Z][\w.~+%-]{{2,}}", name):
            raise OptionsError(f"--{flag} {name} is not of the form projects/PROJECT/{kind}/NAME")


def _find(uri: str) -> list[StoredFile]:
    try:
        check_reachable(uri)
        found = find_inputs(uri)
    except Exception as error:  # Beam's filesystems raise what the service's client raises
        raise OptionsError(f"--input {uri} cannot be listed: {error}") from error
    if not found:
        raise OptionsError(f"--input {uri} matches no file")
    return found


def checked_schemas(location: str | None) -> str | None:
    """Where schemas of wire messages are, as workers find it. Raises ``OptionsError``."""
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
