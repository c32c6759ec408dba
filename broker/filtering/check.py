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
from alerts.filters.row import NO_LISTS
from alerts.surveys import survey
from broker.filtering.reading import FilterFile, read, say_why_not


def main(arguments: argparse.Namespace) -> int:
    """Check all files; gives the exit status: 0 where all are good, 2 where one is not."""
    return max(_check(Path(file), arguments) for pattern in arguments.files for file in _files(pattern))


def _files(pattern: str) -> list[str]:
    """Those that a pattern stands for, where the shell has not told; else the name itself, which then is not there."""
    return sorted(glob.glob(pattern)) or [pattern]


def _check(path: Path, arguments: argparse.Namespace) -> int:
    try:
        checked = read(path)
        own = judge_own_packets(path.with_suffix(""), checked.queries)
    except (FilterError, OSError) as error:
        say_why_not(path, error)
        return 2
    is_wrong = _say(own.findings, checked, arguments.strict)
    for name, query in checked.queries.items():
        findings = check(query, survey(name), NO_LISTS)
        is_wrong_here = _say(findings, checked, arguments.strict)
        is_wrong = is_wrong or is_wrong_here
        columns = ", ".join(f"{column.name} {column.node.type}" for column in query.columns) or "none"
        verdict = "wrong" if is_wrong_here else "good" if not findings else "can be run, with warnings"
        cost = f"{over_decoding(query, survey(name)):.2g} of decoding an alert"
        print(f"{path}: {verdict} for {name}, version {checked.version(name)}, cost {cost}, columns: {columns}")
    if own.passes or own.rejects:
        print(f"{path}: of its own packets {own.passes:,} pass and {own.rejects:,} do not, as they must")
    return 2 if is_wrong else 0


def _say(findings: Iterable[Finding], checked: FilterFile, strict: bool) -> bool:
    """Tell what there is to say; gives whether something is wrong."""
    wrong = False
    for finding in findings:
        print(finding.told(str(checked.path), checked.told.text), file=sys.stderr)
        wrong = wrong or finding.is_error or strict
    return wrong
