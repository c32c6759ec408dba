"""What goes wrong with filters though they can be run: looked for in the tree, each told with what to do.

What cannot be right is an error, what is suspicious a warning. The kinds are those of filters that ran in public and selected
something else than they said: a column twice, a sign forgotten, a unit or a sentinel taken for something else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from alerts.filters.cost import too_dear
from alerts.filters.findings import Finding
from alerts.filters.functions import FUNCTIONS
from alerts.filters.ranges import contradictions, is_number
from alerts.filters.row import Lists
from alerts.filters.tree import Literal, Node, Operation, Path, Query, Subquery, walk
from alerts.filters.write import text_of
from alerts.limits import MAX_COLUMNS_BYTES
from alerts.surveys import Survey

_WIDTHS = {"BOOL": 5, "INT64": 22, "FLOAT64": 24, "TIMESTAMP": 34, "DATE": 12}
"""Bytes that a value takes as JSON, at most; 64-bit ids are texts."""
_TEXT_BYTES = 64
"""Of texts, which have no bound: as names and links of surveys are."""
_COMPARING = ("eq", "ne", "lt", "le", "gt", "ge", "in")
_BOTH_SIDES = ("eq", "ne", "lt", "le", "gt", "ge", "sub", "div")
_GUARDS = ("coalesce", "is_null", "is_true", "is_false")
_SENTINELS = (-99.0, -999.0, -9999.0, -99999.0)
_AWAY = re.compile(r"(ss)?dist.*|near.*|separation_arcsec")
_FLUX = re.compile(r"(?!chi2).*(Flux|_njy).*")
_MAGNITUDE = re.compile(r"mag(psf|ap|nr|gaia.*)|.*_mag|s[griz]mag[123]?|ssmagnr")
_MAGNITUDES = (8.0, 30.0)
"""Constants that people write for magnitudes of sources."""


def check(query: Query, survey: Survey, lists: Lists) -> list[Finding]:
    """What there is to say of a filter of one survey's alerts, errors first."""
    nodes = [*walk(query.where), *(node for column in query.columns for node in walk(column.node))]
    found = [
        *contradictions(query.where),
        *_twice(nodes),
        *_sentinels(nodes),
        *_units(nodes, survey),
        *_signs(query, survey),
        *_ages(nodes, survey),
        *_timed(nodes, lists),
        *_swallowed(query.where, is_guarded=False),
        *too_dear(query, survey),
        *_beyond_a_header(query),
    ]
    return sorted(dict.fromkeys(found), key=lambda finding: not finding.is_error)


def _beyond_a_header(query: Query) -> Iterator[Finding]:
    """Columns that may be more than stand beside a message: where the line is crossed."""
    size = 2
    for column in query.columns:
        size += len(json.dumps(column.name)) + len(": , ") + _WIDTHS.get(column.node.type, _TEXT_BYTES)
        if size > MAX_COLUMNS_BYTES:
            told = f"with {column.name} the columns may be longer than {MAX_COLUMNS_BYTES:,} bytes as JSON"
            yield Finding(f"{told}: messages then have them only in the format json, and say columns_truncated", column.node.at)
            return


def _shown(node: Node) -> str:
    return text_of(node).replace("alerts.", "")


def _twice(nodes: list[Node]) -> Iterator[Finding]:
    for node in nodes:
        if not isinstance(node, Operation):
            continue
        if node.name in _BOTH_SIDES and node.arguments[0] == node.arguments[1]:
            told = f"both sides of {FUNCTIONS[node.name].sql} are {_shown(node.arguments[0])}; was another one meant?"
            yield Finding(told, node.at, is_error=True)
        elif node.name in ("and", "or", "coalesce", "least", "greatest"):
            for place, argument in enumerate(node.arguments):
                if argument in node.arguments[:place]:
                    yield Finding(f"{_shown(argument)} stands there twice; was another one meant?", argument.at)


def _compared(nodes: list[Node]) -> Iterator[tuple[Operation, Path, Literal]]:
    """Comparisons of a field with constants."""
    for node in nodes:
        if isinstance(node, Operation) and node.name in _COMPARING:
            paths = [argument for argument in node.arguments if isinstance(argument, Path)]
            for constant in node.arguments:
                if len(paths) == 1 and isinstance(constant, Literal):
                    yield node, paths[0], constant


def _sentinels(nodes: list[Node]) -> Iterator[Finding]:
    for node, path, constant in _compared(nodes):
        name = ".".join(path.names)
        if constant.value in path.last.missing:
            told = f"{name} is NULL where the packet has {constant.value!r}; write {name} IS NULL, or IS NOT NULL"
            yield Finding(told, node.at, is_error=True)
        elif constant.value in _SENTINELS:
            yield Finding(f"{constant.value!r} stands for none in many packets; what is not there is NULL in {name}", node.at)
        if constant.value is None and node.name != "in":
            yield Finding(f"nothing is {FUNCTIONS[node.name].sql} NULL; write {name} IS NULL", node.at, is_error=True)


def _units(nodes: list[Node], survey: Survey) -> Iterator[Finding]:
    for node, path, constant in _compared(nodes):
        name, value = path.names[-1], constant.value
        table_path = ".".join(path.names)
        if path.scope == 0 and table_path in survey.row_facts.arcsec and is_number(value):
            unit = survey.row_facts.arcsec[table_path]
            yield Finding(f"{table_path} is in units of {unit:g} arcsec; {table_path}_arcsec is in arcsec", node.at)
        if not is_number(value):
            continue
        number = float(value)  # type: ignore[arg-type]
        if _FLUX.fullmatch(name) and _MAGNITUDES[0] <= abs(number) <= _MAGNITUDES[1] and "err" not in name.casefold():
            njy = 10 ** (0.4 * (31.4 - abs(number)))
            yield Finding(f"{name} is a flux: as a magnitude {number:g} would be {njy:,.0f} nJy", node.at)
        if _MAGNITUDE.fullmatch(name) and abs(number) > 40:
            yield Finding(f"{name} is a magnitude, and {number:g} is none", node.at)
        if name == "jd" and 0 < number < 1e6:
            yield Finding(f"{name} is a Julian Date such as 2460000.5, and {number:g} is none; an MJD is 2400000.5 less", node.at)
        if name.startswith("midpointMjd") and number > 1e6:
            yield Finding(f"{name} is an MJD such as 60000.0, and {number:g} is none: a Julian Date is 2400000.5 more", node.at)


def _signs(query: Query, survey: Survey) -> Iterator[Finding]:
    """Magnitudes that are read where nobody asks for the sign: they are those of |difference|."""
    if survey.photometry is None:
        return
    for series in survey.photometry.series:
        if not series.sign:
            continue
        own = [node for node in walk(query.where) if isinstance(node, Path) and node.names[0] == series.name and node.scope == 0]
        read = next((node for node in own if node.names[-1] in series.value), None)
        if read is not None and not any(node.names[-1] in series.sign for node in own):
            yield _sign(f"{series.name}.{read.names[-1]}", f"{series.name}.{series.sign[0]}", read)
        for node in walk(query.where):
            if isinstance(node, Subquery) and any(source.names == (series.name,) for source in node.sources):
                inner = [path for path in walk(node) if isinstance(path, Path) and path.scope > node.depth]
                fainter = next((path for path in inner if path.names[-1] in series.value), None)
                if fainter is not None and not any(path.names[-1] in series.sign for path in inner):
                    yield _sign(f"{series.name}.{fainter.names[-1]}", f"its entry's {series.sign[0]}", fainter)


def _sign(value: str, sign: str, node: Node) -> Finding:
    told = f"{value} is the magnitude of the difference, also of sources that are fainter than the template; ask for {sign}, too"
    return Finding(told, node.at)


def _ages(nodes: list[Node], survey: Survey) -> Iterator[Finding]:
    since = survey.photometry.first_found if survey.photometry is not None else ""
    paths = [node for node in nodes if isinstance(node, Path)]
    by_history = next((path for path in paths if path.names == ("features", "age_history_days")), None)
    if since and by_history is not None and not any(since in path.names[-1] for path in paths):
        told = "age_history_days is what the packet's history tells, which ends: what is older looks young"
        yield Finding(f"{told}; ask for age_{since}_days, too", by_history.at)


def _timed(nodes: list[Node], lists: Lists) -> Iterator[Finding]:
    asked = {path.names[1]: path for path in nodes if isinstance(path, Path) and path.names[0] == "regions"}
    for name in lists.timed:
        inside = asked.get(name) or asked.get(f"{name}_level")
        if inside is not None and not any(other.startswith(f"{name}_days_") for other in asked):
            told = (
                f"regions.{name} has an event with a time; ask for regions.{name}_days_since, too, or everything old in it passes"
            )
            yield Finding(told, inside.at)


def _swallowed(node: Node, *, is_guarded: bool) -> Iterator[Finding]:
    """Where NULL decides that an alert does not pass, though its author may have meant the opposite."""
    if isinstance(node, Subquery):
        return
    if isinstance(node, Operation):
        is_guarded = is_guarded or _is_guard(node)
        if not is_guarded and node.name == "not" and not any(_is_guard(inner) for inner in walk(node)):
            unknown = next((inner for inner in walk(node) if isinstance(inner, Path) and _may_be_missing(inner)), None)
            if unknown is not None:
                told = f"where {_shown(unknown)} is NULL, NOT of it is NULL, too, and the alert does not pass"
                yield Finding(f"{told}; write NOT COALESCE(..., FALSE) if it should", node.at)
                return
        if not is_guarded and node.name in ("gt", "ge", "lt", "le"):
            yield from _nothing_near(node)
        for argument in node.arguments:
            yield from _swallowed(argument, is_guarded=is_guarded)


def _nothing_near(node: Operation) -> Iterator[Finding]:
    """A distance that is to be large: of what has nothing at all beside it there is none."""
    first, second = node.arguments
    path = first if node.name in ("gt", "ge") else second
    constant = second if path is first else first
    if isinstance(path, Path) and path.last.missing and _AWAY.fullmatch(path.names[-1]) and isinstance(constant, Literal):
        told = f"where there is nothing near, {_shown(path)} is NULL and the alert does not pass"
        yield Finding(f"{told}; write COALESCE({_shown(node)[1:-1]}, TRUE) if it should", node.at)


def _is_guard(node: Node) -> bool:
    return isinstance(node, Operation) and node.name in _GUARDS


def _may_be_missing(path: Path) -> bool:
    return path.scope == 0 and (bool(path.last.missing) or path.names[0] in ("features", "scores"))
