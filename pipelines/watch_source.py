"""A folder that fills as the source of a stream in rounds: the files that have come since are the next round's units."""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from types import TracebackType
from typing import ClassVar

from apache_beam.options.pipeline_options import PipelineOptions

from alerts.avro.archives import is_alert_name
from pipelines.errors import OptionsError
from pipelines.options import BrokerOptions, RoundsOptions
from pipelines.round_source import Round
from pipelines.sources import checked_schemas
from schemas.tables import WATCHED_FILES
from streams.errors import StreamAway
from transforms.elements import TableBatch
from transforms.files import absolute, find_versions
from transforms.read import ReadPackets, plan_units
from warehouses import watched
from warehouses.files import StoredFile
from warehouses.units import Unit, printable
from warehouses.unrecorded import unrecorded_runs
from warehouses.warehouse import Warehouse
from warehouses.watched import Version

_LOG = logging.getLogger(__name__)
_SETTLED_SECS = 5.0
"""A file of this machine is complete when it has not changed while it was watched for so long, .."""
_OLD_SECS = 60.0
""".. or when it was changed so long ago."""
_UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".swp")


@dataclass
class WatchedFiles:
    """The files of a folder or glob, those that will be there among them. Also a context manager."""

    pattern: str
    schemas: str | None = None
    settled_secs: float = _SETTLED_SECS
    _read: dict[str, Version] = field(default_factory=dict)
    _seen: dict[str, tuple[Version, float]] = field(default_factory=dict)
    """Files that may still grow, and since when they are as they are."""
    _closed: set[str] = field(default_factory=set)
    """Files that cannot be opened."""
    _skipped: set[str] = field(default_factory=set)
    _planned: _Plan | None = None
    """A round that is not done."""

    counted: ClassVar[str] = "files"
    comes_again: ClassVar[bool] = False

    @classmethod
    def from_options(cls, options: PipelineOptions) -> WatchedFiles:
        """Check the options. Raises ``OptionsError``."""
        pattern = absolute(options.view_as(RoundsOptions).watch)
        if "://" not in pattern and not any(char in pattern for char in "*?[") and not os.path.isdir(pattern):
            raise OptionsError(f"--watch {pattern} is no folder; make it, or give a glob such as {pattern}/*.tar.gz")
        try:
            find_versions(pattern)
        except Exception as error:  # Beam's filesystems raise what the service's client raises
            raise OptionsError(f"--watch {pattern} cannot be listed: {error}") from error
        return cls(pattern, checked_schemas(options.view_as(BrokerOptions).schemas))

    @property
    def name(self) -> str:
        """What is watched."""
        return f"watch:{self.pattern}"

    @property
    def claims(self) -> frozenset[str]:
        """Nobody else reads what appears there."""
        return frozenset({self.name})

    @property
    def flag(self) -> str:
        """As it was given."""
        return f"--watch {self.pattern}"

    @property
    def waits(self) -> bool:
        """Whether there are files that may not be complete."""
        return bool(self._seen.keys() - self._closed)

    def __enter__(self) -> WatchedFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return

    def begin(self, place: Warehouse) -> None:
        """Which files were read the warehouse knows."""
        self._read = dict(watched.read(place, self.pattern))
        self._planned = self._kept(place)
        print(f"{self.pattern} is watched; {len(self._read):,} of its files were read before", flush=True)

    def unrecorded(self, place: Warehouse) -> Mapping[str, datetime]:
        """See ``RoundSource``."""
        return unrecorded_runs(place, WATCHED_FILES, {"watch": self.pattern})

    def next(self, place: Warehouse, most_bytes: float) -> Round | None:
        """Files that are complete and were not read as they are, or those of a round that died."""
        found = self._complete()
        if self._planned is None:
            plan = _Plan.of(_first(found, most_bytes))
            if not plan.files:
                return None
            place.keep_plan(self.name, plan.to_json())
            self._planned = plan
        return self._round(self._planned, max(0, len(found) - len(self._planned.files)))

    def _kept(self, place: Warehouse) -> _Plan | None:
        text = place.kept_plan(self.name)
        if text is None:
            return None
        plan = _Plan.from_json(text)
        return None if all(self._is_read(uri, version) for uri, version in plan.files.items()) else plan

    def _is_read(self, uri: str, version: Version) -> bool:
        """Whether a file was read as it is; the warehouse knows it by its printable name."""
        return self._read.get(printable(uri)) == version

    def _complete(self) -> dict[str, Version]:
        """Files to read, in the order of their names."""
        try:
            there = find_versions(self.pattern)
        except Exception as error:  # Beam's filesystems raise what the service's client raises
            raise StreamAway(f"{self.pattern} cannot be listed: {error}") from error
        new = {uri: version for uri, version in sorted(there.items()) if not self._is_read(uri, version) and self._is_alert(uri)}
        now = time.monotonic()
        self._seen = {
            uri: before if (before := self._seen.get(uri)) and before[0] == version else (version, now)
            for uri, version in new.items()
            if not _is_old(uri, version)
        }
        self._closed &= set(new)
        complete = {uri: version for uri, version in new.items() if self._settled(uri, now) and self._opens(uri)}
        for uri in complete:
            self._seen.pop(uri, None)
        return complete

    def _settled(self, uri: str, now: float) -> bool:
        seen = self._seen.get(uri)
        return seen is None or now - seen[1] >= self.settled_secs

    def _opens(self, uri: str) -> bool:
        """Whether a file of this machine may be read; one that may not now is no file that was read."""
        if "://" in uri:
            return True
        try:
            # Who opens a pipe waits for whoever writes to it.
            with open(os.open(uri, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise OSError(errno.EINVAL, "it is no regular file")
        except FileNotFoundError:
            return False
        except OSError as error:
            if uri not in self._closed:
                self._closed.add(uri)
                _LOG.warning("%s cannot be read (%s); it is when it can", printable(uri), error.strerror)
            return False
        self._closed.discard(uri)
        return True

    def _is_alert(self, uri: str) -> bool:
        name = uri.rpartition("/")[2]
        if name.startswith((".", "_")) or name.endswith(_UNFINISHED):
            return False
        if not is_alert_name(uri):
            if uri not in self._skipped:
                self._skipped.add(uri)
                _LOG.warning("%s is no file of alerts by its name, and is not read", uri)
            return False
        return True

    def _round(self, plan: _Plan, behind: int) -> Round:
        def beside(run_id: str) -> list[TableBatch]:
            return [
                TableBatch(
                    WATCHED_FILES.name,
                    unit.key,
                    watched.watched_rows(self.pattern, [(printable(uri), plan.files[uri]) for uri in unit.inputs], run_id),
                )
                for unit in plan.units
            ]

        def done(size_bytes: int) -> None:
            self._planned = None
            self._read.update((printable(uri), version) for uri, version in plan.files.items())

        return Round(
            ReadPackets(plan.units, self.schemas), plan.units, len(plan.files), len(plan.files), behind, beside, done=done
        )


@dataclass(frozen=True)
class _Plan:
    """What one round reads: units, and how their files were."""

    units: tuple[Unit, ...]
    files: dict[str, Version]

    @classmethod
    def of(cls, files: dict[str, Version]) -> _Plan:
        units, _ = plan_units(StoredFile(uri, version.size_bytes) for uri, version in files.items())
        return cls(tuple(units), files)

    def to_json(self) -> str:
        files = [
            [uri, version.size_bytes, version.modified_at and version.modified_at.isoformat()]
            for uri, version in self.files.items()
        ]
        return json.dumps({"units": [unit.inputs for unit in self.units], "files": files})

    @classmethod
    def from_json(cls, text: str) -> _Plan:
        found = json.loads(text)
        files = {uri: Version(size, when and datetime.fromisoformat(when)) for uri, size, when in found["files"]}
        return cls(tuple(Unit(tuple(inputs)) for inputs in found["units"]), files)


def _first(found: dict[str, Version], most_bytes: float) -> dict[str, Version]:
    """The first files, of so many bytes at most, but one at least."""
    taken: dict[str, Version] = {}
    size_bytes = 0
    for uri, version in found.items():
        if taken and size_bytes + version.size_bytes > most_bytes:
            break
        taken[uri] = version
        size_bytes += version.size_bytes
    return taken


def _is_old(uri: str, version: Version) -> bool:
    """Whether a file needs no watching: in a bucket it appears when it is complete."""
    if "://" in uri:
        return True
    return version.modified_at is not None and (datetime.now(timezone.utc) - version.modified_at).total_seconds() > _OLD_SECS
