"""``broker filter check``: whether files are filters, what is suspicious about them, and whether they hold their own packets."""

from __future__ import annotations

import argparse
import glob
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import warehouses
from alerts.filters.check import check
from alerts.filters.cost import over_decoding
from alerts.filters.findings import Finding
from alerts.filters.own_packets import judge_own_packets
from alerts.filters.python_form import version_of_python
from alerts.lists.own_lists import OwnLists
from alerts.surveys import survey
from broker.filtering.judged_nights import JudgedNights
from broker.filtering.reading import FilterFile, failed, lists_in, read, surveys_asked
from pipelines.errors import OptionsError
from pipelines.status import DONE, WRONG_OPTIONS
from transforms.files import open_file
from warehouses.errors import QueryError


def main(arguments: argparse.Namespace) -> int:
    """Check all files; gives the exit status: 0 where all are good, 2 where one is not."""
    if arguments.warehouse is not None and arguments.reference_night is None:
        return failed("check", OptionsError("--warehouse is asked about --reference_night NIGHT; give that, too"))
    try:
        lists = lists_in(arguments)
    except OptionsError as error:
        return failed("check", error)
    return max(_check(Path(file), lists, arguments) for pattern in arguments.files for file in _files(pattern))


def _files(pattern: str) -> list[str]:
    """Those that a pattern stands for, where the shell has not told; else the name itself, which then is not there."""
    return sorted(glob.glob(pattern)) or [pattern]


def _check(path: Path, lists: OwnLists, arguments: argparse.Namespace) -> int:
    checked = read(path, lists)
    if checked is None:
        return WRONG_OPTIONS
    if checked.told.is_python:
        version = version_of_python(checked.told.text)
        surveys = ", ".join(checked.told.surveys)
        more = "it is Python, which is not executed here, so that no more is known of it"
        print(f"{path}: can be run for {surveys}, version {version}; {more}")
        return DONE
    try:
        own = judge_own_packets(path.with_suffix(""), checked.queries, lists, open_file)
    except OSError as error:
        return failed("check", error)
    is_wrong = _say(own.findings, checked, arguments.strict)
    for name, query in checked.queries.items():
        findings = check(query, survey(name), lists.names)
        is_wrong_here = _say(findings, checked, arguments.strict)
        is_wrong = is_wrong or is_wrong_here
        columns = ", ".join(f"{column.name} {column.node.type}" for column in query.columns) or "none"
        verdict = "wrong" if is_wrong_here else "good" if not findings else "can be run, with warnings"
        cost = f"{over_decoding(query, survey(name)):.2g} of decoding an alert"
        print(f"{path}: {verdict} for {name}, version {checked.version(name)}, cost {cost}, columns: {columns}")
    if own.passes or own.rejects:
        print(f"{path}: of its own packets {own.passes:,} pass and {own.rejects:,} do not, as they must")
    if arguments.reference_night is not None:
        try:
            is_too_many = _say(_rates(checked, arguments), checked, arguments.strict)
        except (QueryError, OptionsError) as error:
            return failed("check", OptionsError(f"{path}: {error}".replace("--night", "--reference_night")))
        is_wrong = is_wrong or is_too_many
    return WRONG_OPTIONS if is_wrong else DONE


def _rates(checked: FilterFile, arguments: argparse.Namespace) -> Iterator[Finding]:
    """Hold ``max_rate`` against each reference night, and tell its rate. Raises ``QueryError`` and ``OptionsError``."""
    most = checked.told.max_rate
    if most is None:
        yield Finding("it has no max_rate to be held on the reference nights; write a line such as -- max_rate: 0.02", None)
        return
    with warehouses.open(arguments.warehouse or "./warehouse", arguments.maximum_bytes_billed) as opened:
        for name in surveys_asked(checked, opened, arguments):
            nights = JudgedNights(checked, opened, name)
            for night, counts, _ in nights.judged(nights.asked_for(arguments.reference_night)):
                seen, passed = counts["seen"], counts["passed"]
                told = f"of {seen:,} {name} alerts of night {night} {passed:,} pass, a part of {passed / seen:.5f}"
                if passed > most * seen:
                    yield Finding(f"{told}; {most:g} is the most", checked.told.max_rate_at, is_error=True)
                else:
                    print(f"{checked.path}: {told}")
            nights.say()


def _say(findings: Iterable[Finding], checked: FilterFile, strict: bool) -> bool:
    """Tell what there is to say; gives whether something is wrong."""
    wrong = False
    for finding in findings:
        print(finding.told(str(checked.path), checked.told.text), file=sys.stderr)
        wrong = wrong or finding.is_error or strict
    return wrong
