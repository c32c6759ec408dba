"""``broker filter try``: what a filter would have made of nights that are in a warehouse, and a sample of what it passes."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path

import warehouses
from alerts.filters.errors import FilterError
from alerts.filters.judge import judge
from alerts.filters.shown import as_text
from alerts.filters.steps import Steps
from alerts.secrets import redact
from alerts.surveys import survey
from broker.filtering.explain import say_without_features
from broker.filtering.reading import FilterFile, read, say_why_not, surveys_asked
from broker.filtering.sampled import PassedSample, SampledAlert
from pipelines.errors import OptionsError
from pipelines.nights import nights
from pipelines.status import DONE, WRONG_OPTIONS
from warehouses.errors import QueryError
from warehouses.filter_rows import FilterRows
from warehouses.warehouse import Warehouse

_HEAD = ("night", "seen", "passed", "rate", "rejected by NULL", "failed", "µs per alert")
_WIDTHS = (18, 11, 11, 9, 17, 8, 13)
_MOST_FAILURES = 3


def main(arguments: argparse.Namespace) -> int:
    """Try, and print; gives the exit status."""
    path = Path(arguments.file)
    try:
        asked = read(path)
        if arguments.stamps is not None:
            _check_place(Path(arguments.stamps))
        with warehouses.open(arguments.warehouse, arguments.maximum_bytes_billed) as opened:
            _try(asked, opened, arguments)
    except (FilterError, OSError) as error:
        say_why_not(path, error)
        return WRONG_OPTIONS
    except (QueryError, OptionsError) as error:
        print(f"broker filter try: {redact(str(error))}", file=sys.stderr)
        return WRONG_OPTIONS
    return DONE


def _check_place(page: Path) -> None:
    """Before nights are read: whether the page can be written. Raises ``OptionsError``."""
    if page.suffix.lower() not in (".html", ".htm"):
        raise OptionsError(f"--stamps {page} is to be a page; let its name end in .html")
    if page.is_dir() or not page.absolute().parent.is_dir():
        raise OptionsError(f"--stamps {page} cannot be written: {page.absolute().parent} is no folder, or a folder is there")


def _try(asked: FilterFile, opened: Warehouse, arguments: argparse.Namespace) -> None:
    most = arguments.sample if arguments.sample is not None else 20 if arguments.stamps else 0
    told, samples = list[tuple[str, ...]](), list[tuple[str, SampledAlert]]()
    for name in surveys_asked(asked, opened, arguments):
        tried = _OfSurvey(asked, opened, name, most)
        found = tried.asked_for(arguments.night)
        print(f"{asked.path}, version {asked.version(name)}, over {name} alerts of {opened.uri}")
        print(_line(_HEAD))
        for cells in tried.lines(found):
            print(_line(cells), flush=True)
            told.append((f"{name} {cells[0]}", *cells[1:]))
        tried.say()
        samples += [(name, alert) for alert in tried.sample.alerts]
    for name, alert in samples:
        values = ", ".join(f"{column} = {as_text(value)}" for column, value in alert.columns.items())
        print(f"{name} alert {alert.alert_id}, object {alert.object_id}, night {alert.night}: {values}")
    if arguments.stamps is not None:
        _write_page(asked, opened, Path(arguments.stamps), [_HEAD, *told], samples)


class _OfSurvey:
    """A filter over the nights of one survey."""

    def __init__(self, asked: FilterFile, opened: Warehouse, name: str, most: int) -> None:
        query = asked.queries[name]
        self.rows = FilterRows(opened, survey(name), [query])
        self.sample = PassedSample(most, query.columns)
        self._opened, self._program = opened, Steps({"": query})
        self._failures = list[str]()

    def asked_for(self, text: str | None) -> dict[date, int]:
        """The nights that ``--night`` names, or the newest, and how many rows they have. Raises ``QueryError``."""
        newest = None if text else self.rows.newest_night()
        return self.rows.nights((newest, newest) if newest else nights(text))

    def lines(self, found: Mapping[date, int]) -> Iterator[tuple[str, ...]]:
        """A line for each night, and one for all where there are several."""
        total, secs = Counter[str](), 0.0
        for night, number in found.items():
            counts, spent = self._night(night, number)
            total += counts
            secs += spent
            yield _cells(str(night), counts, spent)
        if len(found) > 1:
            yield _cells(f"{len(found)} nights", total, secs)

    def _night(self, night: date, number: int) -> tuple[Counter[str], float]:
        """What it says of a night's alerts, and the CPU seconds of that alone."""
        counts, secs = Counter[str](), 0.0
        for batch in self.rows.of_night(night, number):
            begin = time.process_time()
            judged = judge(batch, self._program)[""]
            secs += time.process_time() - begin
            counts.update(judged.counts)
            self.sample.add(batch, judged)
            for row, why in list(judged.failures.items())[: _MOST_FAILURES - len(self._failures)]:
                self._failures.append(f"alert {batch.column('alert_id')[row].as_py()} failed: {why}")
        return counts, secs

    def say(self) -> None:
        """What is to be known beside the counts."""
        for failure in self._failures:
            print(failure, file=sys.stderr)
        say_without_features(self.rows, self._opened)


def _cells(night: str, counts: Counter[str], secs: float) -> tuple[str, ...]:
    seen = counts["seen"]
    numbers = (f"{counts[name]:,}" for name in ("rejected_by_null", "failed"))
    return (
        night,
        f"{seen:,}",
        f"{counts['passed']:,}",
        f"{counts['passed'] / seen:.5f}" if seen else "",
        *numbers,
        f"{secs / seen * 1e6:.2f}" if seen else "",
    )


def _line(cells: tuple[str, ...]) -> str:
    first, *others = zip(cells, _WIDTHS, strict=True)
    return f"{first[0]:<{first[1]}}" + "".join(f"{cell:>{width}}" for cell, width in others)


def _write_page(
    asked: FilterFile, opened: Warehouse, path: Path, told: list[tuple[str, ...]], samples: list[tuple[str, SampledAlert]]
) -> None:
    from broker.filtering.page import page  # noqa: PLC0415 - brings matplotlib

    title = f"Filter {asked.told.name}: {asked.told.about}" if asked.told.about else f"Filter {asked.told.name}"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines(page(title, asked.told.text, told, samples, opened))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    print(f"{path}: {len(samples)} alerts with stamps and light curves")
