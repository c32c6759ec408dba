"""The command line of a run: flags with units and defaults, checked before anything starts, to a ``Job`` of plain values."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import NoReturn

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

from alerts.errors import UnknownSurvey
from alerts.surveys import SURVEYS, Survey, survey
from transforms.elements import Unit
from transforms.files import FoundFile, absolute, find_inputs
from transforms.parquet_files import TEMPORARY
from transforms.read import plan_units


class OptionsError(ValueError):
    """The options are wrong; the message says which and what to do, in one sentence."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OptionsError(message)


class BrokerOptions(PipelineOptions):
    """The broker's own flags; every Beam flag (--runner, --project, ...) may stand beside them."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        source = parser.add_argument_group("what to read")
        source.add_argument(
            "--input",
            action="append",
            metavar="URI",
            help="alerts to read: .avro, .tar, .tar.gz, a folder or a glob, local or gs://; may be given many times",
        )
        source.add_argument(
            "--survey", default="auto", metavar="NAME", help=f"auto (default: each packet tells), or one of {', '.join(SURVEYS)}"
        )
        source.add_argument(
            "--schemas",
            metavar="FOLDER|URL",
            help="schemas of wire messages that are not built in: a folder with {id}.avsc, or a Confluent registry's URL",
        )
        sink = parser.add_argument_group("where to write")
        sink.add_argument(
            "--warehouse", default="./warehouse", metavar="FOLDER", help="a folder or gs://bucket/folder (default ./warehouse)"
        )
        sink.add_argument(
            "--cutouts", action="store_true", default=True, help="write the image stamps to {survey}_cutouts (default)"
        )
        sink.add_argument("--no_cutouts", dest="cutouts", action="store_false", help="leave the image stamps out")
        parser.add_argument(
            "--max_dead_letters",
            type=float,
            default=1.0,
            metavar="FRACTION",
            help="a batch run fails, after writing, when more of the records are dead letters (0 to 1, default 1: never)",
        )


@dataclass(frozen=True)
class Job:
    """One run, as plain values. Only here is decided what the options mean."""

    run_id: str
    started_at: datetime
    units: tuple[Unit, ...]
    skipped: tuple[str, ...]
    """Files of a folder or glob that are no alerts by their name."""
    survey: Survey | None
    schemas: str | None
    warehouse: str
    cutouts: bool
    max_dead_letters: float
    progress_folder: str | None
    options: dict[str, object]
    """The options that were given, for the ``runs`` table."""

    @classmethod
    def from_options(cls, options: PipelineOptions) -> Job:
        """Check the options and find the inputs. Raises ``OptionsError``."""
        broker = options.view_as(BrokerOptions)
        if not broker.input:
            raise OptionsError("--input is missing: give a file, a folder or a glob of alerts, for example --input night.tar.gz")
        if not 0 <= broker.max_dead_letters <= 1:
            raise OptionsError(f"--max_dead_letters is {broker.max_dead_letters:g}; give a fraction between 0 and 1")
        units, skipped = plan_units(file for uri in broker.input for file in _find(uri))
        started_at = datetime.now(timezone.utc)
        local = _set_local_runner(options)
        job = cls(
            run_id=f"{started_at:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}",
            started_at=started_at,
            units=tuple(units),
            skipped=tuple(skipped),
            survey=_survey(broker.survey),
            schemas=_schemas(broker.schemas),
            warehouse=absolute(broker.warehouse).rstrip("/"),
            cutouts=broker.cutouts,
            max_dead_letters=broker.max_dead_letters,
            progress_folder=tempfile.mkdtemp(prefix="broker-progress-") if local else None,
            options=options.get_all_options(drop_default=True),
        )
        _check_writable(job.warehouse)
        return job

    def clean_up(self) -> None:
        """Remove what only the run itself needed."""
        if self.progress_folder:
            shutil.rmtree(self.progress_folder, ignore_errors=True)


def parse(argv: Sequence[str]) -> PipelineOptions:
    """Pipeline options from command-line arguments. Raises ``OptionsError`` for a flag nobody knows."""
    options = PipelineOptions(list(argv))
    parser = _Parser(add_help=False, allow_abbrev=False)
    for group in PipelineOptions.__subclasses__():
        group._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(list(argv))
    if unknown:
        raise OptionsError(f"{unknown[0]!r} is no option of broker ingest or of Beam; see broker ingest --help")
    return options


def _find(uri: str) -> list[FoundFile]:
    try:
        found = find_inputs(uri)
    except Exception as error:  # Beam's filesystems raise what the service's client raises
        raise OptionsError(f"--input {uri} cannot be listed: {error}") from error
    if not found:
        raise OptionsError(f"--input {uri} matches no file")
    return found


def _survey(name: str) -> Survey | None:
    try:
        return None if name == "auto" else survey(name)
    except UnknownSurvey as error:
        raise OptionsError(f"--{error}; or leave it out, each packet tells") from error


def _schemas(location: str | None) -> str | None:
    if location is None or location.startswith(("http://", "https://")):
        return location
    if not os.path.isdir(location):
        raise OptionsError(f"--schemas {location} is neither a folder with files {{id}}.avsc nor the URL of a schema registry")
    return os.path.abspath(location)


def _set_local_runner(options: PipelineOptions) -> bool:
    """Choose the in-process runner for a local run; whether the run is one.

    Beam's DirectRunner would first try to download Prism; any other runner is left as it was given.
    """
    standard = options.view_as(StandardOptions)
    if standard.runner not in (None, "DirectRunner", "FnApiRunner"):
        return False
    standard.runner = "FnApiRunner"
    direct = options.view_as(DirectOptions)
    if direct.direct_num_workers != 1 and direct.direct_running_mode in (None, "in_memory"):
        direct.direct_running_mode = "multi_processing"
    return True


def _check_writable(warehouse: str) -> None:
    try:
        if "://" in warehouse:
            FileSystems.exists(f"{warehouse}/{TEMPORARY}")
            return
        folder = Path(warehouse)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except Exception as error:  # see _find
        raise OptionsError(f"--warehouse {warehouse} cannot be written to: {error}") from error
