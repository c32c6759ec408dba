"""A filter read from its file, and the warehouse that it is asked over: what ``try`` and ``explain`` have in common."""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from alerts.filters.errors import FilterError
from alerts.filters.inputs import used_fields
from alerts.filters.parse import parse
from alerts.filters.row import row_of
from alerts.filters.text import FilterText, parse_text, read_filter, version_of
from alerts.filters.tree import Query
from alerts.filters.write import canonical
from alerts.lists.columns import AskedLists, ListColumns
from alerts.lists.own_lists import OwnLists
from alerts.secrets import redact
from alerts.surveys import survey
from pipelines.errors import OptionsError
from pipelines.lists import lists_of
from pipelines.status import WRONG_OPTIONS
from transforms.files import open_file
from warehouses.errors import QueryError
from warehouses.warehouse import Warehouse


@dataclass(frozen=True)
class FilterFile:
    """A filter, and what it is for each of its surveys; of one in Python nothing."""

    path: Path
    told: FilterText
    queries: Mapping[str, Query]
    lists: OwnLists
    """What it may ask about."""

    def asked_lists(self, survey_name: str) -> AskedLists:
        """Those of its lists that it asks about."""
        return AskedLists.of(self.lists, used_fields([self.queries[survey_name]]))

    def with_lists(self, survey_name: str, alerts: pa.RecordBatch) -> pa.RecordBatch:
        """Alerts with what its lists say of them. Raises ``OptionsError`` where these are not what they were."""
        told = ListColumns(self.asked_lists(survey_name), survey(survey_name), open_file).add(alerts)
        for why in told.problems.values():
            raise OptionsError(why)
        return told.alerts

    def version(self, survey_name: str) -> str:
        """What it is for a survey, as a hash (``alerts.filters.text.version_of``)."""
        return version_of(canonical(self.queries[survey_name]))


def read(path: Path, lists: OwnLists) -> FilterFile | None:
    """The filter of a file; None where it is none, which then has been said, with the part of its text that is meant."""
    text = ""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".py":
            told = parse_text(path.stem, text, is_python=True)
            _check_python(text)
            return FilterFile(path, told, {}, lists)
        told = read_filter(path)
        queries = {name: parse(told.text, row_of(survey(name), lists.names)) for name in told.surveys}
        return FilterFile(path, told, queries, lists)
    except FilterError as error:
        print(error.told(str(path), text), file=sys.stderr)
    except OSError as error:
        print(f"{path}: {error.strerror}", file=sys.stderr)
    return None


def _check_python(text: str) -> None:
    """That a text is Python and has a function ``passes``, without executing it: it may be anybody's. Raises ``FilterError``."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FilterError(f"it cannot be read: {type(error).__name__}: {error}") from None
    if not any(isinstance(node, ast.FunctionDef) and node.name == "passes" for node in tree.body):
        raise FilterError("it has no function passes(alerts: pa.RecordBatch) -> pa.BooleanArray")


def lists_in(arguments: argparse.Namespace) -> OwnLists:
    """The lists that the arguments name. Raises ``OptionsError``."""
    return lists_of(arguments.watchlist, arguments.sky_region, arguments.radius_arcsec)


def failed(command: str, error: Exception) -> int:
    """Why something cannot be done, as a sentence; gives the exit status."""
    print(f"broker filter {command}: {redact(str(error))}", file=sys.stderr)
    return WRONG_OPTIONS


def surveys_asked(filter_file: FilterFile, warehouse: Warehouse, arguments: argparse.Namespace) -> list[str]:
    """The surveys of a filter whose alerts the warehouse holds, or the one named. Raises ``QueryError`` where there is none."""
    if filter_file.told.is_python:
        raise QueryError(f"{filter_file.path} is in Python, which only runs ask: broker ingest --filters, broker refilter")
    known = list(filter_file.queries)
    if arguments.survey is not None and arguments.survey not in known:
        raise QueryError(f"--survey {arguments.survey}: {filter_file.path} is a filter of {', '.join(known)}")
    wanted = known if arguments.survey is None else [arguments.survey]
    held = [each.name for each in warehouse.surveys]
    found = [name for name in wanted if name in held]
    if not found:
        told = f"holds those of {', '.join(held)}" if held else "holds none"
        raise QueryError(f"{filter_file.path} is a filter of {' and '.join(wanted)} alerts, and {warehouse.uri} {told}")
    return found
