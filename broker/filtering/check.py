"""``broker filter check``: whether files are filters, what is suspicious about them, and whether they hold their own packets."""

from __future__ import annotations

import argparse
import glob
import sys
from collections.abc import Iterable
from pathlib import Path

from alerts.filters.check import check
from alerts.filters.cost import over_decoding
from alerts.filters.errors import FilterError
from alerts.filters.findings import Finding
from alerts.filters.own_packets import judge_own_packets
from alerts.filters.parse import parse
from alerts.filters.row import NO_LISTS, row_of
from alerts.filters.text import FilterText, read_filter, version_of
from alerts.filters.tree import Query
from alerts.filters.write import canonical
from alerts.surveys import survey


def main(arguments: argparse.Namespace) -> int:
    """Check all files; gives the exit status: 0 where all are good, 2 where one is not."""
    statuses = [_check(Path(file), arguments) for pattern in arguments.files for file in files_of(pattern)]
    return max(statuses)


def files_of(pattern: str) -> list[str]:
    """Those that a pattern stands for, where the shell has not told; else the name itself, which then is not there."""
    return sorted(glob.glob(pattern)) or [pattern]


def read(path: Path) -> tuple[FilterText, dict[str, Query]]:
    """A filter, and what it is for each of its surveys. Raises ``FilterError`` and ``OSError``."""
    told = read_filter(path)
    return told, {name: parse(told.text, row_of(survey(name))) for name in told.surveys}


def say_why_not(path: Path, error: FilterError | OSError) -> None:
    """Why a file is no filter, with the part of its text that is meant."""
    if isinstance(error, FilterError):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
        print(error.told(str(path), text), file=sys.stderr)
    else:
        print(f"{path}: {error.strerror}", file=sys.stderr)


def _check(path: Path, arguments: argparse.Namespace) -> int:
    try:
        told, queries = read(path)
        own = judge_own_packets(path.with_suffix(""), queries)
    except (FilterError, OSError) as error:
        say_why_not(path, error)
        return 2
    is_wrong = _say(own.findings, path, told, arguments.strict)
    for name, query in queries.items():
        findings = check(query, survey(name), NO_LISTS)
        is_wrong_here = _say(findings, path, told, arguments.strict)
        is_wrong = is_wrong or is_wrong_here
        columns = ", ".join(f"{column.name} {column.node.type}" for column in query.columns) or "none"
        verdict = "wrong" if is_wrong_here else "good" if not findings else "can be run, with warnings"
        cost = f"{over_decoding(query, survey(name)):.2g} of decoding an alert"
        print(f"{path}: {verdict} for {name}, version {version_of(canonical(query))}, cost {cost}, columns: {columns}")
    if own.passes or own.rejects:
        print(f"{path}: of its own packets {own.passes:,} pass and {own.rejects:,} do not, as they must")
    return 2 if is_wrong else 0


def _say(findings: Iterable[Finding], path: Path, told: FilterText, strict: bool) -> bool:
    """Tell what there is to say; gives whether something is wrong."""
    wrong = False
    for finding in findings:
        print(finding.told(str(path), told.text), file=sys.stderr)
        wrong = wrong or finding.is_error or strict
    return wrong
