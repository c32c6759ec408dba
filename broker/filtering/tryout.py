"""``broker filter try``: what a filter would have made of nights that are in a warehouse, and a sample of what it passes."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path

import warehouses
from alerts.filters.shown import as_text
from broker.filtering.judged_nights import JudgedNights
from broker.filtering.reading import FilterFile, failed, lists_in, read, surveys_asked
from broker.filtering.sampled import SampledAlert
from pipelines.errors import OptionsError
from pipelines.status import DONE, WRONG_OPTIONS
from warehouses.errors import QueryError
from warehouses.warehouse import Warehouse

_HEAD = ("night", "seen", "passed", "rate", "rejected by NULL", "failed", "µs per alert")
_WIDTHS = (18, 11, 11, 9, 17, 8, 13)


def main(arguments: argparse.Namespace) -> int:
    """Try, and print; gives the exit status."""
    try:
        asked = read(Path(arguments.file), lists_in(arguments))
        if asked is None:
            return WRONG_OPTIONS
        if arguments.stamps is not None:
            _check_place(Path(arguments.stamps))
        with warehouses.open(arguments.warehouse, arguments.maximum_bytes_billed) as opened:
            _try(asked, opened, arguments)
    except BrokenPipeError:
        raise
    except (QueryError, OptionsError, OSError) as error:
        return failed("try", error)
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
        tried = JudgedNights(asked, opened, name, most)
        found = tried.asked_for(arguments.night)
        print(f"{asked.path}, version {asked.version(name)}, over {name} alerts of {opened.uri}")
        print(_line(_HEAD))
        for cells in _lines(tried, found):
            print(_line(cells), flush=True)
            told.append((f"{name} {cells[0]}", *cells[1:]))
        tried.say()
        samples += [(name, alert) for alert in tried.sample.alerts]
    for name, alert in samples:
        values = ", ".join(f"{column} = {as_text(value)}" for column, value in alert.columns.items())
        print(f"{name} alert {alert.alert_id}, object {alert.object_id}, night {alert.night}: {values}")
    if arguments.stamps is not None:
        _write_page(asked, opened, Path(arguments.stamps), [_HEAD, *told], samples)


def _lines(tried: JudgedNights, found: Mapping[date, int]) -> Iterator[tuple[str, ...]]:
    """A line for each night, and one for all where there are several."""
    total, secs = Counter[str](), 0.0
    for night, counts, spent in tried.judged(found):
        total += counts
        secs += spent
        yield _cells(str(night), counts, spent)
    if len(found) > 1:
        yield _cells(f"{len(found)} nights", total, secs)


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
