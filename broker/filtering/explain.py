"""``broker filter explain``: why an alert did not pass, term by term; and over nights, how many each term has let through."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

import pyarrow as pa

import warehouses
from alerts.filters.errors import pointed
from alerts.filters.judge import judge
from alerts.filters.shown import as_text, written
from alerts.filters.steps import Steps
from alerts.filters.survivors import Survivors
from alerts.filters.terms import FAILED, Terms, ToldTerm, that_decides
from alerts.surveys import survey
from broker.filtering.judged_nights import say_what_lacks
from broker.filtering.reading import FilterFile, failed, lists_in, read, surveys_asked
from pipelines.errors import OptionsError
from pipelines.nights import nights
from pipelines.status import DONE, WRONG_OPTIONS
from warehouses.errors import QueryError
from warehouses.filter_rows import FilterRows
from warehouses.warehouse import Warehouse


def main(arguments: argparse.Namespace) -> int:
    """Explain, and print; gives the exit status."""
    try:
        asked = read(Path(arguments.file), lists_in(arguments))
        if asked is None:
            return WRONG_OPTIONS
        if (arguments.alert_id is None) == (arguments.night is None):
            raise OptionsError("give an ALERT_ID directly behind the file, or --night NIGHT for all alerts of one")
        with warehouses.open(arguments.warehouse, arguments.maximum_bytes_billed) as opened:
            names = surveys_asked(asked, opened, arguments)
            if arguments.alert_id is not None:
                _explain_alert(asked, opened, names, arguments.alert_id)
            else:
                for name in names:
                    _explain_nights(asked, opened, name, nights(arguments.night))
    except BrokenPipeError:
        raise
    except (QueryError, OptionsError, OSError) as error:
        return failed("explain", error)
    return DONE


def _explain_alert(asked: FilterFile, opened: Warehouse, names: list[str], alert_id: int) -> None:
    found: dict[str, pa.RecordBatch] = {}
    for name in names:
        rows = _rows(asked, opened, name)
        alert = rows.of_alert(alert_id)
        if alert is not None:
            found[name] = asked.with_lists(name, alert)
            say_what_lacks(rows, opened)
    if len(found) != 1:
        raise QueryError(
            f"alert {alert_id} is one of {' and of '.join(found)}; name the --survey"
            if found
            else f"{opened.uri} holds no {' or '.join(names)} alert {alert_id}"
        )
    [(name, alert)] = found.items()
    told = Terms(asked.queries[name]).told(alert)
    print(_head(asked, name, alert, told))
    decides = that_decides(told)
    width = max(len(term.answer) for term in told)
    for number, term in enumerate(told):
        mark = ">" if number == decides else " "
        print(f"{mark} {number + 1:>2}  {term.answer:<{width}}  {written(term.term)}")
        if term.why:
            print(f"      {'':<{width}}    {term.why}")
    if decides is None:
        columns = judge(alert, Steps({"": asked.queries[name]}))[""].columns
        for output, values in zip(asked.queries[name].columns, columns, strict=True):
            print(f"  {output.name} = {as_text(values[0].as_py())}")
    else:
        print(pointed(f"this decides: {told[decides].sentence}", told[decides].term.at, str(asked.path), asked.told.text))


def _rows(asked: FilterFile, opened: Warehouse, name: str) -> FilterRows:
    return FilterRows(opened, survey(name), [asked.queries[name]], also=asked.asked_lists(name).columns(survey(name)))


def _head(asked: FilterFile, name: str, alert: pa.RecordBatch, told: tuple[ToldTerm, ...]) -> str:
    row = alert.select(["alert_id", "object_id", "night"]).to_pylist()[0]
    decides = that_decides(told)
    if any(term.answer == FAILED for term in told):
        verdict = "failed, so that it has no verdict"
    elif decides is None:
        verdict = f"passed: {'its term is' if len(told) == 1 else f'all {len(told)} terms are'} TRUE"
    else:
        verdict = f"rejected: of {len(told)} terms number {decides + 1} is the first that is not TRUE"
    whose = f"{name} alert {row['alert_id']}, object {row['object_id']}, night {row['night']}"
    return f"{whose}\n{asked.path}, version {asked.version(name)}: {verdict}"


def _explain_nights(asked: FilterFile, opened: Warehouse, name: str, between: tuple[date, date]) -> None:
    query = asked.queries[name]
    rows, terms, survivors = _rows(asked, opened, name), Terms(query), Survivors()
    found = rows.nights(between)
    for night, number in found.items():
        for batch in rows.of_night(night, number):
            survivors.add(terms.answers(asked.with_lists(name, batch)))
    first, last = min(found), max(found)
    when = f"night {first}" if first == last else f"{len(found)} nights, {first} to {last}"
    print(f"{asked.path}, version {asked.version(name)}: of {survivors.seen:,} {name} alerts of {when} {survivors.passed:,} pass")
    print(f"     {'left':>10} {'FALSE':>10} {'NULL':>10} {'failed':>7} {'alone':>10}  term")
    for number, (node, counts) in enumerate(zip(terms.nodes, survivors.terms, strict=True), 1):
        numbers = f"{counts.left:>10,} {counts.false:>10,} {counts.null:>10,} {counts.failed:>7,} {counts.alone:>10,}"
        print(f"  {number:>2} {numbers}  {written(node)}")
    print("left: this term and all before it are TRUE; alone: only this term kept them from passing")
    say_what_lacks(rows, opened)
